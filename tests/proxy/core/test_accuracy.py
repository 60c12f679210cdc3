from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core.accuracy import PATIENCE, PLACES, UNKNOWN, WAITS, Accuracy, Score
from scalesim.proxy.core.model import AgentName, Clock, Moment, Source


def _name(number: int) -> AgentName:
    return AgentName(f"a{number}")


def _predict(accuracy: Accuracy, source: Source, number: int, at: float, clock: Clock = Clock.STEPS) -> None:
    accuracy.predicted(_name(number), [(source, Moment(clock, at))])


def _tell(accuracy: Accuracy, source: Source, *moments: float) -> None:
    for number, at in enumerate(moments):
        _predict(accuracy, source, number, at)


def _begin(accuracy: Accuracy, number: int, at: float) -> bool:
    return accuracy.began(_name(number), lambda clock: at)


def _score(order: float, time_error: float, count: int, *, wrong: float | None = None) -> Score:
    return Score(order, 1.0 - order if wrong is None else wrong, count, time_error, Clock.STEPS)


def test_the_order_is_right_if_who_begins_was_told_to_be_nearest() -> None:
    accuracy = Accuracy()
    _tell(accuracy, Source.PLAN, 1.0, 2.0, 3.0)
    _tell(accuracy, Source.GAP, 9.0, 9.0, 5.0)
    assert _begin(accuracy, 0, 1.5)
    assert accuracy.score(Source.PLAN) == _score(1.0, 0.5, 1)
    assert accuracy.score(Source.GAP) == _score(0.25, 7.5, 1, wrong=0.5), (
        "who was told to come at the same time is a coin"
    )
    assert list(accuracy.scores) == [Source.PLAN, Source.GAP]


def test_the_last_word_counts() -> None:
    accuracy = Accuracy()
    _tell(accuracy, Source.PLAN, 9.0, 2.0)
    _tell(accuracy, Source.PLAN, 1.0)
    _begin(accuracy, 0, 1.0)
    assert accuracy.score(Source.PLAN) == _score(1.0, 0.0, 1)


def test_a_prediction_is_used_up_by_the_beginning_it_told_of() -> None:
    accuracy = Accuracy()
    _tell(accuracy, Source.PLAN, 1.0, 2.0)
    assert _begin(accuracy, 0, 1.0)
    assert not _begin(accuracy, 0, 1.1)
    assert accuracy.score(Source.PLAN).count == 1


def test_sources_are_compared_only_on_what_they_told_of() -> None:
    accuracy = Accuracy()
    _tell(accuracy, Source.PLAN, 1.0, 2.0)
    _predict(accuracy, Source.GAP, 1, 0.0)
    _begin(accuracy, 0, 1.0)
    assert accuracy.score(Source.GAP) == Score(0.5, 0.0, 0, math.inf, Clock.STEPS)


def test_moments_of_two_clocks_are_not_compared_and_errors_of_the_last_one_are_kept() -> None:
    accuracy = Accuracy()
    _predict(accuracy, Source.HINTED, 0, 1.0, Clock.STEPS)
    _predict(accuracy, Source.HINTED, 1, 100.0, Clock.SECONDS)
    for number in (0, 1):
        accuracy.began(_name(number), {Clock.STEPS: 3.0, Clock.SECONDS: 107.0}.__getitem__)
    assert accuracy.score(Source.HINTED) == Score(0.5, 0.0, 0, 7.0, Clock.SECONDS)


def test_who_was_never_to_come_and_comes_first_was_told_wrong() -> None:
    accuracy = Accuracy()
    _tell(accuracy, Source.PLAN, math.inf, 2.0)
    _begin(accuracy, 0, 1.0)
    assert accuracy.score(Source.PLAN) == _score(0.0, math.inf, 1)


def test_who_left_is_compared_with_nobody() -> None:
    accuracy = Accuracy()
    _tell(accuracy, Source.PLAN, 1.0, 0.5)
    accuracy.forget(_name(1))
    accuracy.forget(_name(2))
    _begin(accuracy, 0, 1.0)
    assert accuracy.score(Source.PLAN) == _score(0.5, 0.0, 0, wrong=0.0)


def test_a_moment_that_is_no_number_was_never_told() -> None:
    accuracy = Accuracy()
    _tell(accuracy, Source.PLAN, 1.0, math.nan, 2.0)
    _tell(accuracy, Source.PLAN, math.nan)
    _begin(accuracy, 0, 1.0)
    assert accuracy.score(Source.PLAN) == _score(1.0, 0.0, 1)


def test_of_a_source_that_never_told_nothing_is_known() -> None:
    assert (Accuracy().score(Source.PATH), Accuracy().scores) == (UNKNOWN, {})


def test_a_pause_of_the_simulation_makes_no_source_an_hour_worse() -> None:
    accuracy = Accuracy()
    for round_ in range(20):
        _tell(accuracy, Source.HINTED, 10.0 * round_, 10.0 * round_ + 1.0)
        for number in (0, 1):
            _begin(accuracy, number, 10.0 * round_ + number + 0.5 + (3600.0 if round_ == 19 else 0.0))
    assert 0.5 < accuracy.score(Source.HINTED).time_error < 1.0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_source_that_is_always_right_or_always_wrong_is_found_out_among_many_agents(sign: float) -> None:
    accuracy = Accuracy()
    for round_ in range(6):
        for number in range(100):
            _predict(accuracy, Source.PLAN, number, sign * number)
            _predict(accuracy, Source.GAP, number, (number * 7919) % 101)
        for number in range(100):
            _begin(accuracy, number, 100.0 * round_ + number)
    assert accuracy.score(Source.PLAN).order == (1.0 if sign > 0 else 0.0)
    assert 0.2 < accuracy.score(Source.GAP).order < 0.8


def test_the_longest_in_a_full_sample_makes_way_in_the_end() -> None:
    accuracy = Accuracy()
    for number in range(PLACES):
        assert accuracy.follows(_name(number))
        _predict(accuracy, Source.PLAN, number, 1.0)
    for _ in range(PATIENCE):
        assert not accuracy.follows(AgentName("late"))
        _predict(accuracy, Source.PLAN, 99, 2.0)
        assert not _begin(accuracy, 99, 2.0)
    _predict(accuracy, Source.PLAN, 99, 2.0)
    _begin(accuracy, 99, 2.0)
    assert accuracy.score(Source.PLAN) == _score(0.0, 0.0, 1)


@pytest.mark.parametrize("active", [20, 1000])
def test_a_sample_full_of_such_as_never_begin_makes_way_for_those_that_do(active: int) -> None:
    accuracy = Accuracy()
    for number in range(PLACES):
        _predict(accuracy, Source.HINTED, -1 - number, 1.0)
    for at in range(8_000):
        _begin(accuracy, at % active, float(at))
        _predict(accuracy, Source.HINTED, at % active, float(at + active))
    assert min(int(name[1:]) for name in accuracy.sample) >= 0
    assert accuracy.score(Source.HINTED).count > 8


def test_who_died_in_silence_is_told_wrong_only_for_a_while() -> None:
    accuracy = Accuracy()
    for at in range(2 * WAITS):
        _tell(accuracy, Source.HINTED, *(() if at else (0.5,)))
        for number in (1, 2):
            _predict(accuracy, Source.HINTED, number, at + number)
        for number in (1, 2):
            _begin(accuracy, number, at + number)
    assert _name(0) not in accuracy.sample
    assert accuracy.score(Source.HINTED).wrong < 0.05


_TOLD = st.tuples(st.sampled_from(Source), st.sampled_from(Clock), st.integers(0, 40), st.floats())


@given(st.lists(st.one_of(_TOLD, st.integers(0, 40)), max_size=120))
def test_whatever_is_told_nothing_raises_and_the_sample_is_bounded(
    history: list[tuple[Source, Clock, int, float] | int],
) -> None:
    accuracy, again = Accuracy(), Accuracy()
    for at, told in enumerate(history):
        for one in (accuracy, again):
            if isinstance(told, tuple):
                source, clock, number, moment = told
                _predict(one, source, number, moment, clock)
            else:
                _begin(one, told, float(at))
        assert accuracy.sizes()["accuracy_agents"] == len(accuracy.sample) <= PLACES
    assert accuracy.scores == again.scores
    for score in accuracy.scores.values():
        assert score.wrong >= 0.0
        assert score.order + score.wrong <= 1.0 + 1e-9
        assert score.time_error >= 0.0

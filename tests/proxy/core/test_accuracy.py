from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core.accuracy import PATIENCE, PLACES, SOURCE_LIMIT, Accuracy, Score
from scalesim.proxy.core.model import AgentName


def _name(number: int) -> AgentName:
    return AgentName(f"a{number}")


def _tell(accuracy: Accuracy, source: str, *moments: float) -> None:
    for number, moment in enumerate(moments):
        accuracy.predicted(source, _name(number), moment)


def test_the_order_is_right_if_who_begins_was_told_to_be_nearest() -> None:
    accuracy = Accuracy()
    _tell(accuracy, "plan", 1.0, 2.0, 3.0)
    _tell(accuracy, "gap", 9.0, 9.0, 5.0)
    accuracy.began(_name(0), 1.5)
    assert accuracy.score("plan") == Score(1.0, 0.5, 1)
    assert accuracy.score("gap") == Score(0.25, 7.5, 1)


def test_the_last_word_counts() -> None:
    accuracy = Accuracy()
    _tell(accuracy, "plan", 9.0, 2.0)
    _tell(accuracy, "plan", 1.0)
    accuracy.began(_name(0), 1.0)
    assert accuracy.score("plan") == Score(1.0, 0.0, 1)


def test_a_prediction_is_used_up_by_the_beginning_it_told_of() -> None:
    accuracy = Accuracy()
    _tell(accuracy, "plan", 1.0, 2.0)
    accuracy.began(_name(0), 1.0)
    accuracy.began(_name(0), 1.1)
    assert accuracy.score("plan").count == 1


def test_sources_are_compared_only_on_what_they_told_of() -> None:
    accuracy = Accuracy()
    _tell(accuracy, "plan", 1.0, 2.0)
    accuracy.predicted("gap", _name(1), 0.0)
    accuracy.began(_name(0), 1.0)
    assert accuracy.score("gap") == Score(0.5, math.inf, 0)


def test_who_was_never_to_come_and_comes_first_was_told_wrong() -> None:
    accuracy = Accuracy()
    _tell(accuracy, "plan", math.inf, 2.0)
    accuracy.began(_name(0), 1.0)
    assert accuracy.score("plan") == Score(0.0, math.inf, 1)


def test_who_left_is_compared_with_nobody() -> None:
    accuracy = Accuracy()
    _tell(accuracy, "plan", 1.0, 0.5)
    accuracy.forget(_name(1))
    accuracy.forget(_name(2))
    accuracy.began(_name(0), 1.0)
    assert accuracy.score("plan") == Score(0.5, 0.0, 0)


def test_a_moment_that_is_no_number_was_never_told() -> None:
    accuracy = Accuracy()
    _tell(accuracy, "plan", 1.0, math.nan, 2.0)
    _tell(accuracy, "plan", math.nan)
    accuracy.began(_name(0), 1.0)
    assert accuracy.score("plan") == Score(1.0, 0.0, 1)


def test_more_sources_than_there_is_room_for_are_not_measured() -> None:
    accuracy = Accuracy()
    for number in range(SOURCE_LIMIT + 4):
        _tell(accuracy, f"s{number}", 1.0, 2.0)
    accuracy.began(_name(0), 1.0)
    assert [accuracy.score(f"s{number}").count for number in (0, SOURCE_LIMIT - 1, SOURCE_LIMIT)] == [1, 1, 0]


def test_an_unknown_source_is_as_good_as_a_coin() -> None:
    assert Accuracy().score("stars") == Score(0.5, math.inf, 0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_source_that_is_always_right_or_always_wrong_is_found_out_among_many_agents(sign: float) -> None:
    accuracy = Accuracy()
    for round_ in range(6):
        for number in range(100):
            accuracy.predicted("plan", _name(number), sign * number)
            accuracy.predicted("coin", _name(number), (number * 7919) % 101)
        for number in range(100):
            accuracy.began(_name(number), 100.0 * round_ + number)
    assert accuracy.score("plan").order == (1.0 if sign > 0 else 0.0)
    assert 0.2 < accuracy.score("coin").order < 0.8


def test_the_longest_in_a_full_sample_makes_way_in_the_end() -> None:
    accuracy = Accuracy()
    for number in range(PLACES):
        accuracy.predicted("plan", _name(number), 1.0)
    for _ in range(PATIENCE - 1):
        accuracy.predicted("plan", AgentName("late"), 2.0)
    accuracy.began(AgentName("late"), 2.0)
    assert accuracy.score("plan").count == 0
    accuracy.predicted("plan", AgentName("late"), 2.0)
    accuracy.began(AgentName("late"), 2.0)
    assert accuracy.score("plan") == Score(0.0, 0.0, 1)


_TOLD = st.tuples(st.sampled_from([f"s{n}" for n in range(20)]), st.integers(0, 40), st.floats())


@given(st.lists(st.one_of(_TOLD, st.integers(0, 40)), max_size=120))
def test_whatever_is_told_nothing_raises_and_the_sample_is_bounded(
    history: list[tuple[str, int, float] | int],
) -> None:
    accuracy, again = Accuracy(), Accuracy()
    for at, told in enumerate(history):
        for one in (accuracy, again):
            if isinstance(told, tuple):
                one.predicted(told[0], _name(told[1]), told[2])
            else:
                one.began(_name(told), float(at))
        sizes = accuracy.sizes()
        assert sizes["accuracy_agents"] <= PLACES
        assert sizes["accuracy_sources"] <= SOURCE_LIMIT
    for source in (f"s{n}" for n in range(20)):
        score = accuracy.score(source)
        assert score == again.score(source)
        assert 0.0 <= score.order <= 1.0
        assert score.time_error >= 0.0

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core.bursts import Bursts


def _told(pauses: Iterable[float], repeats: bool = False) -> Bursts:
    bursts, at = Bursts(), 0.0
    for turn, pause in enumerate(pauses):
        at += pause
        if not bursts.began(turn, at):
            bursts.repeated(repeats)
    return bursts


def _steps(count: int, size: int, *, inside: float = 0.01, barrier: float = 5.0) -> list[float]:
    return ([barrier] + [inside] * (size - 1)) * count


@pytest.mark.parametrize(("size", "inside"), [(2, 0.01), (5, 0.0), (5, 0.01), (200, 0.02), (1000, 0.0001)])
def test_bursts_with_barriers_between_them_are_steps(size: int, inside: float) -> None:
    bursts = _told(_steps(6, size, inside=inside))
    assert bursts.recognised
    assert (bursts.step, bursts.size.mean, bursts.opened_turn) == (6, size, 5 * size)
    assert bursts.clock.pace_s == pytest.approx(5.0 + (size - 1) * inside)


@given(st.lists(st.tuples(st.sampled_from((0.01, 0.02, 5.0)), st.booleans()), max_size=60))
def test_who_asks_after_each_beginning_hears_what_is_so_by_then(beginnings: list[tuple[float, bool]]) -> None:
    often, at = Bursts(), 0.0
    for turn, (pause, repeats) in enumerate(beginnings):
        at += pause
        if not often.began(turn, at):
            assert often.recognised == often._is_recognised()
            often.repeated(repeats)
        assert often.recognised == often._is_recognised()


def test_a_sequence_without_barriers_has_no_steps() -> None:
    bursts = _told([1.0, 3.0, 0.5, 2.0] * 50)
    assert not bursts.recognised
    assert bursts.step == 1


def test_bursts_in_which_agents_begin_again_and_again_are_no_steps() -> None:
    assert not _told(_steps(6, 50), repeats=True).recognised


def test_agents_that_wait_for_a_place_in_the_burst_make_it_longer_and_not_more() -> None:
    """128 at once and then one whenever another is done: the first pauses of that look like barriers, but part no bursts."""
    step = [10.0] + [0.001] * 127 + [0.05] * 400
    bursts = _told(step * 6)
    assert bursts.size.mean == pytest.approx(528, rel=0.05)
    assert bursts.recognised


def test_one_pause_before_the_first_burst_does_not_hide_the_barriers() -> None:
    assert _told([1.0, 600.0, *_steps(8, 5)]).recognised


def test_a_simulation_that_was_stopped_goes_on_in_its_steps() -> None:
    bursts = _told([*_steps(5, 10), 3600.0, *[0.01] * 9, *_steps(5, 10)])
    assert bursts.recognised
    assert bursts.step == 11


def test_a_simulation_that_runs_ten_times_faster_is_followed_after_some_steps() -> None:
    bursts, at, turn = Bursts(), 0.0, 0
    for barrier in [50.0] * 5 + [5.0] * 20:
        for agent in range(10):
            at += 0.01 if agent else barrier
            opens = bursts.began(turn, at)
            if not opens:
                bursts.repeated(turn - 10 >= bursts.opened_turn)
            turn += 1
    assert bursts.recognised
    assert bursts.clock.pace_s == pytest.approx(5.09)


def test_the_step_of_a_beginning_is_known_for_this_step_and_the_one_before() -> None:
    bursts = _told(_steps(4, 5))
    assert [bursts.step_of(turn) for turn in (9, 10, 14, 15, 19)] == [None, 3, 3, 4, 4]


def test_beginnings_of_the_next_step_are_expected_when_it_begins() -> None:
    bursts = _told(_steps(4, 5))
    first, last = bursts.moment_s(20.0), bursts.moment_s(24.0)
    assert first == pytest.approx(bursts.opened_at + 5.04)
    assert first < last < first + 0.05


@pytest.mark.slow
@given(
    st.lists(st.floats(0.0, 1e6), min_size=1, max_size=200),
    st.lists(st.booleans(), min_size=200, max_size=200),
)
def test_whatever_comes_nothing_raises_and_moments_never_fall(
    pauses: list[float], repeats: list[bool]
) -> None:
    bursts, at = Bursts(), 0.0
    for turn, pause in enumerate(pauses):
        at += pause
        if not bursts.began(turn, at):
            bursts.repeated(repeats[turn])
        assert bursts.opened_turn <= turn
        assert bursts.opened_at <= at
    if bursts.recognised:
        moments = [bursts.moment_s(len(pauses) + ahead / 4) for ahead in range(-8, 40)]
        assert all(before <= after + 1e-6 * abs(after) for before, after in pairwise(moments))

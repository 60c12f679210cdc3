from __future__ import annotations

import random
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core.periods import KEPT, LONGEST, Hours, Period


def _days(habits: Collection[Collection[int]], day: int, days: int) -> tuple[Period, list[Hours]]:
    period, agents = Period(), [Hours() for _ in habits]
    for step in range(day * days):
        for hours, habit in zip(agents, habits, strict=True):
            if step % day in habit:
                period.began(hours, step)
    return period, agents


HABITS = [(0, 5), (1, 3), (2,), (4, 9), (7, 8), (0, 10), (6, 11), (3, 9)]


def test_a_day_shows_and_everybody_is_due_at_the_hours_of_the_day_before() -> None:
    period, agents = _days(HABITS, 12, 8)
    assert period.day == 12
    assert [period.due(hours, 96) for hours in agents] == [96, 97, 98, 100, 103, 96, 102, 99]


def test_whoever_did_not_come_when_it_was_due_is_expected_at_its_next_hour() -> None:
    period, agents = _days(HABITS, 12, 8)
    assert [period.due(agents[0], step) for step in (96, 97, 101, 102)] == [96, 101, 101, None]


def test_an_agent_that_keeps_no_hours_is_not_expected_by_them() -> None:
    period, agents = _days(HABITS, 12, 8)
    odd = Hours()
    for step in (3, 10, 19, 24, 40, 57):
        period.began(odd, step)
    assert period.due(odd, 58) is None
    assert period.due(Hours(), 58) is None
    assert period.due(agents[2], 96) == 98


def test_where_gaps_are_all_alike_no_day_shows() -> None:
    period, agents = Period(), [Hours() for _ in range(12)]
    for step in range(120):
        for number, hours in enumerate(agents):
            if (step * (number + 7) + number * number) % 11 < 2 + step % 3:
                period.began(hours, step)
    assert period.day is None or period.day % 11 == 0


def test_an_hour_that_was_kept_late_once_is_due_at_its_time_on_the_next_day() -> None:
    period, agents = _days(HABITS, 12, 8)
    hours = agents[2]
    period.began(hours, 99)
    assert period.due(hours, 100) == 110
    period.began(hours, 111)
    assert period.due(hours, 112) == 123, "twice as late is another hour"


def test_two_hours_that_follow_each_other_are_not_one_that_was_kept_late() -> None:
    period, agents = _days(HABITS, 12, 8)
    for step in (103, 104):
        period.began(agents[4], step)
    assert [period.due(agents[4], step) for step in (105, 116)] == [115, 116]


def test_who_is_late_now_and_then_still_keeps_hours() -> None:
    period, agents = _days(HABITS, 12, 8)
    hours = agents[3]
    for day in range(8, 14):
        for hour in (4, 9):
            is_late = hour == 4 and day % 2 == 1
            period.began(hours, 12 * day + hour + is_late)
            assert period.due(hours, 12 * day + hour + 2) is not None


def test_the_time_after_which_most_begin_again_is_no_day_where_nearly_as_many_do_a_little_later() -> None:
    period, rng = Period(), random.Random(1)
    agents: list[tuple[Hours, list[int]]] = [(Hours(), []) for _ in range(100)]
    for _, steps in agents:
        step = rng.randrange(5)
        while step < 200:
            steps.append(step)
            step += max(1, round(rng.lognormvariate(1.5, 0.6)))
    for step in range(200):
        for hours, steps in agents:
            if step in steps:
                period.began(hours, step)
    assert period.day is None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2 * LONGEST)), max_size=60))
def test_whoever_is_due_is_so_from_now_on_and_after_its_last_beginning(
    began: list[tuple[int, int]],
) -> None:
    period, agents, step = Period(), [Hours() for _ in range(4)], 0
    period.day = 12
    for who, later in began:
        step += later
        period.began(agents[who], step)
        assert len(agents[who].steps) <= KEPT
        for hours in agents:
            due = period.due(hours, step)
            assert due is None or due >= step


@pytest.mark.parametrize("day", [3, 24, 60])
def test_days_of_any_length_show(day: int) -> None:
    habits = [(number * 7 % day,) for number in range(40)]
    assert _days(habits, day, 6)[0].day in (day, 2 * day)

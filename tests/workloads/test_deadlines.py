from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.workloads.deadlines import Load, in_time


def test_nothing_to_load_takes_no_time() -> None:
    assert in_time([]) == 0
    assert in_time([Load(0, 1, 0)]) == 0


def test_what_fits_between_its_release_and_its_deadline_is_in_time_whole() -> None:
    assert in_time([Load(1, 4, 3)]) == 3


def test_what_does_not_fit_is_moved_as_far_as_its_deadline() -> None:
    assert in_time([Load(1, 3, 3)]) == 2


def test_what_is_needed_as_it_becomes_known_cannot_be_in_time() -> None:
    assert in_time([Load(2, 2, 1), Load(3, 2, 1)]) == 0


def test_the_earliest_deadline_goes_first_and_interrupts() -> None:
    # The second comes while the first is under way, takes the link for 2 s, and both are in time.
    assert in_time([Load(0, 10, 4), Load(1, 3, 2)]) == 6


def test_a_link_that_is_too_slow_gets_as_much_as_it_can_move() -> None:
    assert in_time([Load(0, 2, 2), Load(0, 2, 2), Load(0, 3, 2)]) == 3


def test_a_link_does_nothing_while_nothing_is_known() -> None:
    assert in_time([Load(0, 1, 0.5), Load(5, 6, 0.5)]) == 1


LOADS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 6), st.integers(1, 4)).map(
        lambda one: Load(one[0], one[0] + one[1], one[2])
    ),
    max_size=8,
)


@given(LOADS, st.integers(0, 9))
def test_no_order_has_more_in_time(loads: list[Load], seed: int) -> None:
    rng, left, moved = random.Random(seed), [load.seconds for load in loads], 0
    for second in range(20):
        open_ = [
            place
            for place, load in enumerate(loads)
            if load.release <= second < load.deadline and left[place] > 0
        ]
        if open_ and rng.random() < 0.9:
            left[rng.choice(open_)] -= 1
            moved += 1
    assert moved <= in_time(loads) + 1e-9
    assert in_time(loads) <= sum(load.seconds for load in loads) + 1e-9


@given(LOADS)
def test_a_load_more_never_makes_it_less(loads: list[Load]) -> None:
    assert in_time(loads) <= in_time([*loads, Load(3, 5, 2)]) + 1e-9


def test_it_is_the_most_that_any_choice_can_reach() -> None:
    # By hand: of three loads of two seconds each in a window of five, one second is too much.
    assert in_time([Load(0, 5, 2), Load(0, 5, 2), Load(1, 5, 2)]) == pytest.approx(5)

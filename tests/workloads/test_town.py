from __future__ import annotations

import math
from collections import Counter
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.workloads.plans import CHANGED_PLAN, gap_steps, scale_of
from scalesim.workloads.program import Place
from scalesim.workloads.town import TICKS_PER_STEP, Passed, Rules, Town

BUSY = Rules(radius=3, tiles_per_person=50, cooldown_ticks=100)
"""A small square, and people who soon have something to say to each other again."""


def passed(people: int, seed: int, rules: Rules = BUSY, steps: int = 10, mean_gap: float = 4) -> list[Passed]:
    town = Town(people, seed, scale_of(mean_gap), rules)
    return [town.pass_step() for _ in range(steps)]


def place_at(step: Passed, person: int, tick: int) -> Place:
    """Of somebody who does not begin anything in that step: straight on, a tile a tick."""
    begin, end = step.before.positions[person], step.before.destinations[person]
    way = math.dist(begin, end)
    share = min(1.0, (tick - step.step * TICKS_PER_STEP) / way) if way else 1.0
    return begin[0] + (end[0] - begin[0]) * share, begin[1] + (end[1] - begin[1]) * share


worlds = st.builds(passed, st.integers(1, 12), st.integers(0, 10**6))
few = settings(max_examples=10, deadline=None)


@few
@given(worlds)
def test_steps_follow_each_other_from_zero(steps: list[Passed]) -> None:
    assert [step.step for step in steps] == list(range(10))


@few
@given(worlds)
def test_who_meets_is_within_the_radius_where_both_walk(steps: list[Passed]) -> None:
    for step in steps:
        for meeting in step.meetings:
            one, other = (place_at(step, person, meeting.tick) for person in meeting.pair)
            assert math.dist(one, other) <= BUSY.radius + 1e-6
            assert 0 <= meeting.tick - step.step * TICKS_PER_STEP < TICKS_PER_STEP


@few
@given(worlds)
def test_the_same_two_meet_again_after_a_cooldown_only(steps: list[Passed]) -> None:
    last: dict[tuple[int, int], int] = {}
    for step in steps:
        for meeting in step.meetings:
            before = last.get(meeting.pair, -math.inf)
            assert meeting.tick - before >= BUSY.cooldown_ticks
            last[meeting.pair] = meeting.tick


@few
@given(worlds)
def test_nobody_is_active_twice_in_a_step_and_each_for_the_reason_that_there_is(steps: list[Passed]) -> None:
    for step in steps:
        met = [person for meeting in step.meetings for person in meeting.pair]
        assert sorted(met) == [deed.person for deed in step.deeds if deed.meets]
        done = [person for person, left in enumerate(step.before.left_steps) if left == 0]
        assert done == [deed.person for deed in step.deeds if not deed.meets]
        assert max(Counter(met + done).values(), default=1) == 1


@few
@given(worlds)
def test_an_action_lasts_as_long_as_was_planned_unless_a_meeting_ends_it(steps: list[Passed]) -> None:
    for step, following in pairwise(steps):
        planned = {deed.person: deed.lasts_steps for deed in step.deeds}
        for person, left in enumerate(step.before.left_steps):
            assert following.before.left_steps[person] == planned.get(person, left) - 1


@few
@given(worlds)
def test_people_stay_in_town_and_nobody_is_faster_than_a_tile_a_tick(steps: list[Passed]) -> None:
    people = len(steps[0].before.positions)
    area = people * BUSY.tiles_per_person
    for step, following in pairwise(steps):
        for person in range(people):
            x, y = step.before.positions[person]
            assert -1e-6 <= x <= math.sqrt(area * 100 / 140) + 1e-6
            assert -1e-6 <= y <= math.sqrt(area * 140 / 100) + 1e-6
            assert math.dist((x, y), following.before.positions[person]) <= TICKS_PER_STEP + 1e-6


@few
@given(worlds)
def test_nobody_walks_when_the_action_is_over(steps: list[Passed]) -> None:
    for step in steps:
        for person, left in enumerate(step.before.left_steps):
            way = math.dist(step.before.positions[person], step.before.destinations[person])
            assert way <= left * TICKS_PER_STEP + 1e-6


@few
@given(worlds)
def test_who_meets_stands_there_until_the_step_ends(steps: list[Passed]) -> None:
    for step, following in pairwise(steps):
        for meeting in step.meetings:
            for person in meeting.pair:
                there = place_at(step, person, meeting.tick)
                assert following.before.positions[person] == pytest.approx(there, abs=1e-6)


@few
@given(worlds)
def test_nobody_is_woken(steps: list[Passed]) -> None:
    longest_awake = gap_steps(0.8999, scale_of(4))
    sleeps_until = dict.fromkeys(range(len(steps[0].before.positions)), 0)
    for step in steps:
        for deed in step.deeds:
            assert not deed.meets or step.step >= sleeps_until[deed.person]
            if deed.lasts_steps > longest_awake:
                sleeps_until[deed.person] = step.step + deed.lasts_steps


@few
@given(worlds)
def test_two_who_are_free_never_let_a_meeting_pass(steps: list[Passed]) -> None:
    last: dict[tuple[int, int], int] = {}
    for step in steps:
        begins = step.step * TICKS_PER_STEP
        # Until they meet somebody, they were awake and free.
        free_until = {person: meeting.tick for meeting in step.meetings for person in meeting.pair}
        for pair in combinations(sorted(free_until), 2):
            # Before step 0 they may have met without our knowing.
            if last.get(pair, -1) + BUSY.cooldown_ticks > begins:
                continue
            for tick in range(begins, min(free_until[person] for person in pair)):
                one, other = (place_at(step, person, tick) for person in pair)
                assert math.dist(one, other) > BUSY.radius - 1e-6
        last |= {meeting.pair: meeting.tick for meeting in step.meetings}


def test_a_conversation_is_four_to_sixteen_calls_in_turns_and_then_each_plans_anew() -> None:
    lengths = set()
    for step in passed(people=12, seed=1, steps=40):
        chains = {deed.person: deed.chain for deed in step.deeds if deed.meets}
        for meeting in step.meetings:
            first, second = (chains[person].count("utterance") for person in meeting.pair)
            assert 0 <= first - second <= 1
            assert 4 <= first + second <= 16
            lengths.add(first + second)
            for person in meeting.pair:
                own = chains[person].count("utterance")
                assert chains[person] == ("utterance",) * own + CHANGED_PLAN
    assert len(lengths) > 5


def test_a_town_does_not_begin_with_everybody_meeting_their_neighbours() -> None:
    meetings = [
        len(step.meetings) for seed in range(4) for step in passed(40, seed, Rules(cooldown_ticks=400), 10)
    ]
    first, rest = meetings[::10], [count for index, count in enumerate(meetings) if index % 10]
    assert sum(first) / len(first) < 2.5 * sum(rest) / len(rest)


@pytest.mark.slow
def test_a_town_as_busy_as_the_original_meets_as_often_however_large_it_is() -> None:
    def meetings_per_person(people: int, seeds: int) -> float:
        steps = [step for seed in range(seeds) for step in passed(people, seed, Rules(), 20, mean_gap=6)]
        return sum(len(step.meetings) for step in steps) / people / len(steps)

    assert meetings_per_person(100, 1) == pytest.approx(meetings_per_person(25, 4), rel=0.5)


def test_the_same_seed_makes_the_same_town_and_another_seed_another() -> None:
    assert passed(6, seed=1) == passed(6, seed=1)
    assert passed(6, seed=1) != passed(6, seed=2)

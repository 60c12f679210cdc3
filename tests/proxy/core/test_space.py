"""Meetings in space, against every pair and a fine grid of moments."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.model import AgentName, Clock
from scalesim.proxy.core.space import RESTS, Motion, Point, Space, SpaceRules

RULES = SpaceRules(Clock.STEPS, radius=4.0, speed=1.0, cooldown=20.0, horizon=12.0)
ALL = 10**9


def name(number: int) -> AgentName:
    return AgentName(f"agent-{number}")


def go(
    space: Space,
    agent: str,
    position: Point | None,
    now: float = 0.0,
    *,
    to: Point | None = None,
    velocity: Point | None = None,
    speed: float | None = None,
) -> bool:
    return space.move(AgentName(agent), Motion(position, to, velocity, speed), now)


def settle(space: Space, now: float, budget: int = ALL) -> None:
    while space.searching:
        space.search(budget, now)


def meetings(space: Space, now: float = 0.0) -> dict[str, float]:
    settle(space, now)
    known = {
        agent: space.meeting(AgentName(agent)) for agent in ("Ann", "Bob", "Cem", "Dee") if agent in space
    }
    return {agent: meeting for agent, meeting in known.items() if meeting is not None}


def test_an_agent_meets_one_that_stands_when_it_has_come_near_enough() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0), to=(10.0, 0.0))
    go(space, "Bob", (10.0, 0.0))
    assert meetings(space) == {"Ann": 6.0, "Bob": 6.0}


def test_two_that_come_towards_each_other_meet_half_way() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0), to=(20.0, 0.0), speed=2.0)
    go(space, "Bob", (20.0, 0.0), velocity=(-2.0, 0.0))
    assert meetings(space) == {"Ann": 4.0, "Bob": 4.0}


def test_two_with_one_destination_meet_when_the_later_one_comes_near_it() -> None:
    space = Space(replace(RULES, radius=0.5))
    go(space, "Ann", (0.0, 0.0), to=(3.0, 4.0))
    go(space, "Bob", (3.0, 14.0), to=(3.0, 4.0))
    assert meetings(space) == pytest.approx({"Ann": 9.5, "Bob": 9.5})


def test_who_stops_before_it_is_near_enough_meets_nobody() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0), to=(5.9, 0.0))
    go(space, "Bob", (10.0, 0.0))
    assert meetings(space) == {}


def test_who_stops_exactly_at_the_radius_is_near_enough() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.1, 0.2), to=(0.1, 6.3), speed=0.7)
    go(space, "Bob", (0.1, 10.3))
    assert meetings(space) == pytest.approx({"Ann": 6.1 / 0.7, "Bob": 6.1 / 0.7})


def test_those_who_pass_each_other_too_far_apart_do_not_meet() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0), to=(10.0, 0.0))
    go(space, "Bob", (10.0, 4.1), to=(0.0, 4.1))
    assert meetings(space) == {}


def test_those_who_are_together_meet_now() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0), 7.0)
    go(space, "Bob", (0.0, 4.0), 7.0)
    assert meetings(space, 7.0) == {"Ann": 7.0, "Bob": 7.0}


def test_who_has_interacted_does_not_do_so_again_before_the_cooldown_is_over() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0), 1.0)
    go(space, "Bob", (1.0, 0.0), 1.0)
    assert space.rest(AgentName("Ann"), AgentName("Bob"), 1.0)
    assert meetings(space, 1.0) == {"Ann": 21.0, "Bob": 21.0}
    go(space, "Cem", (6.0, 0.0), 2.0, to=(0.0, 0.0))
    assert meetings(space, 2.0) == {"Ann": 4.0, "Bob": 3.0, "Cem": 3.0}


def test_two_who_should_have_met_a_step_ago_are_not_expected_to_before_the_horizon_is_over() -> None:
    space = Space(RULES)
    for now, expected in ((0.0, 0.0), (0.5, 0.5), (1.0, 13.0)):
        go(space, "Ann", (0.0, 0.0), now)
        go(space, "Bob", (1.0, 0.0), now)
        assert meetings(space, now) == {"Ann": expected, "Bob": expected}
    go(space, "Cem", (2.0, 0.0), 1.0)
    assert meetings(space, 1.0) == {"Ann": 1.0, "Bob": 1.0, "Cem": 1.0}, "with somebody else"


def judged(came: int, of: int, calls: int = 1) -> Space:
    """A space in which so many meetings came, and the others did not; whoever met called so often at once."""
    space = Space(RULES)
    for number in range(of):
        now = 20.0 * number
        for agent in ("Ann", "Bob"):
            space.remove(AgentName(agent))
            go(space, agent, (0.0, 0.0), now)
        settle(space, now)
        for agent in ("Ann", "Bob") * calls if number < came else ():
            space.use(AgentName(agent), now)
        for agent in ("Ann", "Bob"):
            go(space, agent, (0.0, 0.0), now + 1.0)
        settle(space, now + 1.0)
    return space


@pytest.mark.parametrize(("came", "costs"), [(20, 0.0), (10, 1.0), (5, 3.0), (0, math.inf)])
def test_what_meetings_cost_is_the_time_waited_in_vain_per_one_that_came(came: int, costs: float) -> None:
    assert judged(came, 20).costs(1_000.0) == pytest.approx(costs)


def test_nothing_is_made_of_a_few_meetings_that_did_not_come() -> None:
    assert judged(0, 7).costs(1_000.0) == 0.0


def test_who_has_not_called_while_others_go_on_calling_is_late() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0), 3.0)
    space.use(AgentName("Ann"), 3.0)
    assert not space.is_late(3.5)
    space.use(AgentName("Ann"), 3.0)
    assert (space.is_late(3.5), space.is_late(4.0)) == (True, False)


def test_who_has_called_since_may_meet_whom_it_should_have_met() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0))
    go(space, "Bob", (1.0, 0.0))
    assert meetings(space) == {"Ann": 0.0, "Bob": 0.0}
    for agent in ("Ann", "Bob"):
        space.use(AgentName(agent), 1.0)
        go(space, agent, (0.5, 0.0), 2.0)
    assert meetings(space, 2.0) == {"Ann": 2.0, "Bob": 2.0}


def test_who_goes_on_after_the_cooldown_began_is_not_met_after_it() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0))
    go(space, "Bob", (1.0, 0.0), velocity=(1.0, 0.0))
    space.rest(AgentName("Ann"), AgentName("Bob"), 0.0)
    assert meetings(space) == {}


def test_cooldowns_of_one_agent_are_bounded_and_the_first_to_end_is_forgotten() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0))
    for number in range(RESTS + 1):
        space.move(name(number), Motion((0.0, 0.0)), 0.0)
        space.rest(AgentName("Ann"), name(number), number / 100)
    assert meetings(space, 1.0)["Ann"] == 1.0, "with the first"
    space.rest(AgentName("Ann"), name(0), 1.0)
    assert meetings(space, 1.0)["Ann"] == 1.0, "with the second"


def test_who_turns_away_is_not_waited_for_any_longer() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0), to=(10.0, 0.0))
    go(space, "Bob", (10.0, 0.0))
    go(space, "Cem", (20.0, 0.0), to=(10.0, 0.0))
    go(space, "Dee", (10.0, 18.0), to=(10.0, 0.0), speed=2.0)
    assert meetings(space) == pytest.approx({"Ann": 6.0, "Bob": 6.0, "Cem": 6.0, "Dee": 7.0}, abs=1.0)
    for agent, place in (("Ann", (1.0, 0.0)), ("Cem", (19.0, 0.0))):
        go(space, agent, place, 1.0)
    assert meetings(space, 1.0) == {"Bob": 7.0, "Dee": 7.0}


def test_what_is_farther_than_the_horizon_is_not_looked_for() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0), to=(100.0, 0.0))
    go(space, "Bob", (17.0, 0.0))
    assert meetings(space) == {}
    go(space, "Bob", (17.0, 0.0), 4.0)
    assert meetings(space, 4.0) == {"Ann": 13.0, "Bob": 13.0}


def test_who_was_told_of_long_ago_is_found_where_it_has_come_to() -> None:
    space = Space(RULES, few=0)
    go(space, "Ann", (0.0, 0.0), to=(400.0, 0.0))
    settle(space, 0.0)
    go(space, "Bob", (110.0, 0.0), 100.0)
    assert meetings(space, 100.0) == {"Ann": 106.0, "Bob": 106.0}


def test_who_has_not_left_its_cell_on_the_grid_for_long_is_found_all_the_same() -> None:
    space = Space(RULES, few=0)
    go(space, "Bob", (35.4, 0.0), to=(0.0, 0.0))
    settle(space, 0.0)
    go(space, "Ann", (3.9, 0.0), 3.9, to=(30.0, 0.0))
    assert meetings(space, 3.9) == pytest.approx({"Ann": 15.7, "Bob": 15.7})


def test_somebody_who_meets_another_one_first_is_news_to_all_whom_it_meets_later() -> None:
    space = Space(RULES)
    go(space, "Cem", (5.0, 0.0))
    go(space, "Bob", (10.0, 0.0))
    settle(space, 0.0)
    go(space, "Ann", (0.0, 0.0), to=(20.0, 0.0))
    assert meetings(space) == {"Ann": 1.0, "Bob": 6.0, "Cem": 1.0}


def test_a_velocity_is_believed_for_a_horizon() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0), velocity=(1.0, 0.0))
    go(space, "Bob", (17.0, 0.0), 6.0)
    assert meetings(space, 6.0) == {}


def test_an_agent_whose_position_is_not_told_goes_on_from_where_it_has_come_to() -> None:
    space = Space(RULES)
    assert not go(space, "Ann", None, to=(10.0, 0.0))
    go(space, "Ann", (0.0, 0.0), to=(10.0, 0.0))
    go(space, "Bob", (5.0, 10.0))
    assert go(space, "Ann", None, 5.0, to=(5.0, 10.0))
    assert meetings(space, 5.0) == {"Ann": 11.0, "Bob": 11.0}


def test_a_call_uses_up_the_meeting_that_was_to_be_by_then() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0), to=(10.0, 0.0))
    go(space, "Bob", (10.0, 0.0))
    settle(space, 0.0)
    space.use(AgentName("Ann"), 5.0)
    assert meetings(space, 5.0) == {"Ann": 6.0, "Bob": 6.0}
    space.use(AgentName("Ann"), 6.0)
    assert meetings(space, 6.0) == {"Bob": 6.0}


def test_who_leaves_is_met_by_nobody() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0), to=(10.0, 0.0))
    go(space, "Bob", (10.0, 0.0))
    settle(space, 0.0)
    space.remove(AgentName("Bob"))
    space.remove(AgentName("Zoe"))
    assert meetings(space) == {}
    assert len(space) == 1


def test_being_told_what_is_known_costs_nothing() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0), to=(100.0, 0.0))
    go(space, "Bob", (500.0, 0.0))
    settle(space, 0.0)
    go(space, "Ann", (2.0, 0.0), 2.0, to=(100.0, 0.0))
    go(space, "Bob", (500.0, 0.0), 2.0)
    assert not space.searching
    go(space, "Ann", (2.0, 0.1), 2.0, to=(100.0, 0.0))
    assert space.searching
    settle(space, 2.0)
    go(space, "Bob", (500.0, 0.0), 6.0)
    assert space.searching, "others may have come within the horizon by now"


@pytest.mark.parametrize(
    "motion",
    [
        Motion((math.nan, 0.0)),
        Motion((0.0, math.inf)),
        Motion((2e12, 0.0)),
        Motion((0.0, 0.0), (math.nan, 0.0)),
        Motion((0.0, 0.0), None, (-math.inf, 0.0)),
        Motion((0.0, 0.0), (1.0, 0.0), None, -1.0),
        Motion((0.0, 0.0), (1.0, 0.0), None, math.nan),
    ],
)
def test_what_is_no_motion_is_not_taken(motion: Motion) -> None:
    space = Space(RULES)
    assert not space.move(AgentName("Ann"), motion, 0.0)
    assert len(space) == 0


@pytest.mark.parametrize("field", ["radius", "speed", "cooldown", "horizon"])
def test_rules_that_make_no_sense_are_told_from_sound_ones(field: str) -> None:
    for value in (-1.0, math.nan, math.inf, 1e13):
        assert not replace(RULES, **{field: value}).are_sound  # type: ignore[arg-type]
    assert RULES.are_sound


def test_an_agent_with_itself_or_a_stranger_is_no_interaction() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0))
    settle(space, 0.0)
    assert not space.rest(AgentName("Ann"), AgentName("Ann"), 0.0)
    assert not space.rest(AgentName("Ann"), AgentName("Zoe"), 0.0)
    assert not space.searching


def test_an_agent_looks_at_a_bounded_number_of_neighbours_and_at_the_nearest_cells_first() -> None:
    space = Space(RULES, neighbours=10, few=0)
    for number in range(200):
        space.move(name(number), Motion((20.0 + number / 100, 0.0)), 0.0)
    go(space, "Ann", (0.0, 0.0), to=(100.0, 0.0), speed=3.0)
    go(space, "Bob", (5.0, 0.0))
    pieces = 0
    while space.searching:
        space.search(1, 0.0)
        pieces += 1
    assert pieces == 202
    assert space.meeting(AgentName("Ann")) == pytest.approx(1 / 3)


# Against every pair and many moments


@dataclass
class Plain:
    """Where an agent is, by what was last told of it."""

    since: float
    position: Point
    motion: Motion

    def at(self, now: float) -> Point:
        (x, y), end = self.position, self.motion.destination
        passed = now - self.since
        if end is not None:
            way = math.hypot(end[0] - x, end[1] - y)
            speed = RULES.speed if self.motion.speed is None else self.motion.speed
            share = 1.0 if way == 0.0 else min(1.0, passed * speed / way)
            return x + (end[0] - x) * share, y + (end[1] - y) * share
        if self.motion.velocity is not None:
            passed = min(passed, RULES.horizon)
            return x + self.motion.velocity[0] * passed, y + self.motion.velocity[1] * passed
        return x, y


COORDINATES = st.integers(-40, 40).map(float) | st.floats(-40.0, 40.0)
POINTS = st.tuples(COORDINATES, COORDINATES)
SLOW = st.floats(-3.0, 3.0)
MOTIONS = st.one_of(
    POINTS.map(Motion),
    st.tuples(POINTS, POINTS, st.none(), st.none() | st.floats(0.0, 4.0)).map(lambda told: Motion(*told)),
    st.tuples(POINTS, st.none(), st.tuples(SLOW, SLOW)).map(lambda told: Motion(*told)),
)
NEAR = 1e-6


class Town:
    """A space and the plain truth beside it."""

    def __init__(self, few: int) -> None:
        self.space = Space(RULES, few=few)
        self.now = 0.0
        self.agents: dict[int, Plain] = {}
        self.rests: dict[frozenset[int], float] = {}

    def move(self, number: int, motion: Motion) -> None:
        position = motion.position
        assert position is not None
        assert self.space.move(name(number), motion, self.now)
        self.agents[number] = Plain(self.now, position, motion)

    def rest(self, one: int, other: int) -> None:
        if self.space.rest(name(one), name(other), self.now):
            self.rests[frozenset((one, other))] = self.now + RULES.cooldown

    def check(self, *, from_anew: bool) -> None:
        """`from_anew`: all that is known was found out now."""
        settle(self.space, self.now, 7)
        moments = [self.now + part * RULES.horizon / 60 for part in range(61)]
        places = {number: [agent.at(moment) for moment in moments] for number, agent in self.agents.items()}
        for number, other in permutations(self.agents, 2):
            meets = self.space.meeting(name(number))
            if meets is not None and meets < self.now and not from_anew:
                continue
            free_from = self.rests.get(frozenset((number, other)), 0.0)
            seen_until = self.now + RULES.horizon
            if not from_anew:
                seen_until = max(self.agents[one].since for one in (number, other)) + RULES.horizon
            for moment, one_place, other_place in zip(moments, places[number], places[other], strict=True):
                if free_from <= moment <= seen_until and (meets is None or moment < meets):
                    assert math.dist(one_place, other_place) > RULES.radius - NEAR, "nobody comes earlier"
        for number, agent in self.agents.items():
            meets = self.space.meeting(name(number))
            if meets is not None and meets >= self.now:
                assert any(
                    math.dist(agent.at(meets), self.agents[other].at(meets)) <= RULES.radius + NEAR
                    and self.rests.get(frozenset((number, other)), 0.0) <= meets
                    for other in self.agents.keys() - {number}
                ), "somebody is there"


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    motions=st.lists(MOTIONS, min_size=2, max_size=6),
    again=st.dictionaries(st.integers(0, 6), MOTIONS, max_size=3),
    rests=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=3),
    few=st.sampled_from([0, 64]),
)
def test_meetings_are_those_that_a_look_at_every_pair_in_every_moment_finds(
    motions: list[Motion], again: dict[int, Motion], rests: list[tuple[int, int]], few: int
) -> None:
    town = Town(few)
    for number, motion in enumerate(motions):
        town.move(number, motion)
    settle(town.space, 0.0, 3)
    for number, motion in again.items():
        if number < len(motions):
            town.move(number, motion)
    for pair in rests:
        town.rest(*pair)
    town.check(from_anew=True)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    told=st.lists(
        st.one_of(
            st.tuples(st.integers(0, 6), MOTIONS),
            st.tuples(st.integers(0, 6), st.integers(0, 6)),
            st.floats(0.0, 5.0),
        ),
        max_size=20,
    ),
    few=st.sampled_from([0, 64]),
)
def test_whatever_is_told_in_the_course_of_time_no_meeting_is_overlooked_or_made_up(
    told: list[tuple[int, Motion] | tuple[int, int] | float], few: int
) -> None:
    town = Town(few)
    for one in told:
        match one:
            case (int(number), Motion() as motion):
                town.move(number, motion)
            case (int(number), int(other)):
                town.rest(number, other)
            case float(seconds):
                settle(town.space, town.now)
                town.now += seconds
    town.check(from_anew=False)


@pytest.mark.slow
def test_a_crowd_on_the_grid_is_the_same_as_looking_at_all() -> None:
    choose = random.Random(7)
    spaces = [Space(RULES, few=few, neighbours=1000) for few in (0, 1000)]
    for number in range(200):
        point, end = ((choose.uniform(-200, 200), choose.uniform(-200, 200)) for _ in range(2))
        for space in spaces:
            space.move(name(number), Motion(point, end if number % 3 else None), 0.0)
    now = 0.0
    for _ in range(3):
        for number in choose.sample(range(200), 20):
            end = (choose.uniform(-200, 200), choose.uniform(-200, 200))
            for space in spaces:
                space.move(name(number), Motion(None, end, None, 1.5), now)
        for space in spaces:
            settle(space, now, 50)
        on_grid, all_pairs = ([space.meeting(name(number)) for number in range(200)] for space in spaces)
        assert on_grid == all_pairs
        assert sum(meets is not None for meets in on_grid) > 30
        now += 7.0


def test_only_those_are_told_of_whose_meeting_is_another_one() -> None:
    space = Space(RULES)
    go(space, "Ann", (0.0, 0.0), to=(10.0, 0.0))
    go(space, "Bob", (10.0, 0.0))
    go(space, "Cem", (500.0, 0.0))
    settle(space, 0.0)
    assert sorted(space.changed()) == ["Ann", "Bob"]
    go(space, "Bob", (10.0, 0.1))
    settle(space, 0.0)
    assert sorted(space.changed()) == ["Ann", "Bob"]
    go(space, "Cem", (400.0, 0.0))
    settle(space, 0.0)
    assert list(space.changed()) == []
    space.remove(AgentName("Bob"))
    settle(space, 0.0)
    assert list(space.changed()) == ["Ann"]


def test_one_that_was_fast_costs_the_others_nothing_once_it_stands() -> None:
    """How far everybody has to look depends on how fast the fastest is."""

    def pieces(space: Space, now: float) -> int:
        count = 0
        for number in range(100):
            space.move(name(number), Motion((50.0 * number, now)), now)
        while space.searching:
            space.search(20, now)
            count += 1
        return count

    space = Space(RULES)
    calm = pieces(space, 0.0)
    go(space, "Ann", (0.0, 9000.0), velocity=(500.0, 0.0))
    assert pieces(space, 1.0) > 2 * calm
    go(space, "Ann", (0.0, 9000.0), 2.0)
    assert pieces(space, 3.0) <= calm + 2


def test_a_search_ends_though_there_are_more_who_are_fast_than_can_be_followed() -> None:
    space, now = Space(RULES), 0.0
    for number in range(100):
        space.move(name(number), Motion((10.0 * number, 0.0), velocity=(1e6, 0.0)), now)
    for _ in range(100):
        now += 0.1
        space.search(40, now)
    assert not space.searching


def test_a_space_is_given_up_in_pieces() -> None:
    space = Space(RULES)
    for number in range(5):
        space.move(name(number), Motion((float(number), 0.0), (9.0, 9.0)), 0.0)
    settle(space, 0.0)
    assert (space.dissolve(3), len(space)) == (0, 2)
    assert (space.dissolve(3), len(space), space.searching) == (1, 0, False)

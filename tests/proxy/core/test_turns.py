from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations, pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core.model import AgentName
from scalesim.proxy.core.turns import Expected, Structure, Turns


def _names(count: int) -> list[AgentName]:
    return [AgentName(f"a{number}") for number in range(count)]


def _told(order: Iterable[str], pace: float = 1.0, turns: Turns | None = None, at: float = 0.0) -> Turns:
    turns = turns or Turns()
    for agent in order:
        at += pace
        turns.began(AgentName(agent), at)
    return turns


def _in_steps(steps: Sequence[Sequence[AgentName]], *, inside: float = 0.01, barrier: float = 10.0) -> Turns:
    turns, at = Turns(), 0.0
    for step in steps:
        at += barrier
        for agent in step:
            at += inside
            turns.began(agent, at)
    return turns


def _expected(turns: Turns, agent: str) -> Expected:
    expected = turns.expected(AgentName(agent))
    assert expected is not None
    return expected


def _positions(turns: Turns, agents: Iterable[str]) -> list[float]:
    return [_expected(turns, agent).position for agent in agents]


def _order_accuracy(turns: Turns, order: Sequence[AgentName], at: float) -> float:
    """Plays on, and at each beginning compares what is said of who begins and of all that begin later in `order`."""
    right = pairs = 0.0
    for place, agent in enumerate(order):
        mine = turns.expected(agent)
        for later in set(order[place + 1 :]) - {agent}:
            other = turns.expected(later)
            if mine is not None and other is not None:
                pairs += 1
                right += 1.0 if mine.position < other.position else 0.5 * (mine.position == other.position)
        at += 1.0
        turns.began(agent, at)
    assert pairs > 0
    return right / pairs


# Rounds


@pytest.mark.parametrize("size", [3, 4, 10, 100])
def test_a_round_is_known_after_two_of_them_and_every_place_in_it_is_right(size: int) -> None:
    agents = _names(size)
    turns = _told(agents * 2)
    assert _positions(turns, agents) == [2 * size + place for place in range(size)]
    assert _expected(turns, "a0") == Expected(2.0 * size, 0.0, Structure.ROUND)


@pytest.mark.slow
@given(st.integers(3, 30), st.integers(1, 3))
def test_the_order_of_a_round_is_always_right_from_the_third_on(size: int, rounds: int) -> None:
    agents = _names(size)
    assert _order_accuracy(_told(agents * 2), agents * rounds, 2.0 * size) == 1.0


def test_two_that_take_turns_and_one_alone_are_rounds_too() -> None:
    assert _positions(_told("abababa"), "ba") == [7, 8]
    assert _positions(_told("aaaa"), "a") == [4]


def test_a_game_master_that_speaks_before_each_of_the_others_is_expected_as_often() -> None:
    turns = _told("gagbgc" * 8)
    assert _positions(turns, "gabc") == [48, 49, 51, 53]


@pytest.mark.slow
@given(st.data())
def test_agents_that_leave_or_join_do_not_turn_the_order_of_the_others_around(data: st.DataObject) -> None:
    agents = _names(data.draw(st.integers(6, 24), label="agents"))
    turns = _told(agents * 3)
    leaving = data.draw(st.lists(st.sampled_from(agents), unique=True, max_size=3), label="leaving")
    told_of = data.draw(st.booleans(), label="told of")
    if told_of:
        for agent in leaving:
            turns.forget(agent)
    joining = [AgentName(f"new{number}") for number in range(data.draw(st.integers(0, 3), label="joining"))]
    stays = [agent for agent in agents if agent not in leaving]
    place = data.draw(st.integers(0, len(stays)), label="place")
    order = [*stays[:place], *joining, *stays[place:]]
    assert _order_accuracy(turns, order * 3, 3.0 * len(agents)) == 1.0


@pytest.mark.parametrize("size", [6, 12, 24, 60])
def test_when_half_of_them_leave_in_silence_the_order_of_the_others_stays_right(size: int) -> None:
    agents = _names(size)
    turns = _told(agents * 5)
    others = agents[::2]
    assert _order_accuracy(turns, others * 6, 5.0 * size) == 1.0
    assert None not in [turns.expected(agent) for agent in others]


def test_who_left_in_silence_is_not_expected_any_more_after_a_round() -> None:
    agents = _names(10)
    turns = _told([*agents * 3, *agents[:-1] * 2])
    assert turns.expected(agents[-1]) is None
    assert turns.expected(agents[0]) is not None


def test_a_shuffled_order_is_no_round(
    shuffled: Callable[[Sequence[AgentName], int], list[AgentName]],
) -> None:
    agents = _names(10)
    turns = _told([agent for number in range(12) for agent in shuffled(agents, number)])
    assert [turns.expected(agent) for agent in agents] == [None] * 10


def test_a_round_that_is_nearly_none_does_not_come_and_go() -> None:
    agents, random, turns = _names(30), Random(1), Turns()
    holding = []
    for _ in range(60):
        places = {agent: place + random.uniform(0, 13) for place, agent in enumerate(agents)}
        for agent in sorted(agents, key=places.__getitem__):
            turns.began(agent, float(turns.turn))
            holding.append(turns.holding[0])
    assert sum(before != after for before, after in pairwise(holding)) == 1


# Steps


@pytest.fixture
def shuffled() -> Callable[[Sequence[AgentName], int], list[AgentName]]:
    """A permutation that is the same in every run, and another for every number."""

    def permute(agents: Sequence[AgentName], number: int) -> list[AgentName]:
        left, order, state = list(agents), [], number * 7919 + 1
        while left:
            state = (state * 1103515245 + 12345) % 2**31
            order.append(left.pop((state >> 8) % len(left)))
        return order

    return permute


def test_who_begins_in_every_burst_is_expected_in_the_next(
    shuffled: Callable[[Sequence[AgentName], int], list[AgentName]],
) -> None:
    agents = _names(20)
    turns = _in_steps([shuffled(agents, number) for number in range(8)])
    for agent in agents:
        expected = _expected(turns, agent)
        assert expected.structure is Structure.STEPS
        assert 160 <= expected.position <= 180
        assert turns.moment_s(expected.position) == pytest.approx(80 + 1.6 + 10, rel=0.01)


def test_who_begins_in_every_third_step_is_expected_after_those_of_the_next(
    shuffled: Callable[[Sequence[AgentName], int], list[AgentName]],
) -> None:
    often, seldom = _names(12), [AgentName(f"s{number}") for number in range(12)]
    steps = [shuffled([*often, *(seldom[step % 3 :: 3])], step) for step in range(15)]
    turns = _in_steps(steps)
    assert turns.steps.recognised
    assert {_expected(turns, agent).structure for agent in [*often, *seldom]} == {Structure.STEPS}
    for step in range(3):
        first = 15 * 16 + step * 16
        assert all(first <= at <= first + 16 for at in _positions(turns, seldom[step::3]))
    assert all(15 * 16 <= at <= 16 * 16 for at in _positions(turns, often))


def test_the_place_in_a_burst_is_learned_where_agents_begin_in_the_same_order_but_not_always() -> None:
    """A simulation that steps through its list of agents, of which some do not call: no round, but a fixed order."""
    agents = _names(30)
    calling = [
        [agent for place, agent in enumerate(agents) if (place * 7 + step * 5) % 4] for step in range(24)
    ]
    always = agents[::10]
    turns = _in_steps([[a for a in agents if a in step or a in always] for step in calling])
    positions = _positions(turns, always)
    assert positions == sorted(positions)
    assert positions[0] < positions[1] - 5 < positions[2] - 10


def test_who_begins_in_every_step_but_not_in_the_last_two_is_not_expected(
    shuffled: Callable[[Sequence[AgentName], int], list[AgentName]],
) -> None:
    agents = _names(20)
    steps = [shuffled(agents, number) for number in range(8)]
    turns = _in_steps(steps + [shuffled(agents[1:], number) for number in range(8, 11)])
    assert turns.expected(agents[0]) is None
    assert turns.expected(agents[1]) is not None


def test_who_begins_in_bursts_at_no_regular_distance_is_not_spoken_of(
    shuffled: Callable[[Sequence[AgentName], int], list[AgentName]],
) -> None:
    agents = _names(40)
    turns = _in_steps([shuffled(agents, number)[:8] for number in range(40)])
    assert turns.steps.recognised
    assert [turns.expected(agent) for agent in agents] == [None] * 40


def test_two_equal_distances_by_chance_are_no_habit() -> None:
    """Thirteen of twenty, another choice in every burst: most of them begin in many steps running."""
    spoken = asked = 0
    for seed in range(5):
        random, agents, turns, at = Random(seed), _names(20), Turns(), 0.0
        for step in range(30):
            at += 10.0
            for agent in random.sample(agents, 13):
                at += 0.01
                turns.began(agent, at)
            if step >= 10:
                asked += 20
                spoken += sum(turns.expected(agent) is not None for agent in agents)
    assert spoken <= 0.02 * asked


# Succession


def test_after_ann_usually_comes_bob() -> None:
    """Three talk for a while, each time after another of many: no round and no steps, but a chain."""
    order: list[str] = []
    for number in range(20):
        order += ["x" + str(number * number % 7)] * (number % 4 + 1) + ["ann", "bob", "cleo"]
    turns = _told([*order, "x1", "x2", "ann"])
    first, second = _expected(turns, "bob"), _expected(turns, "cleo")
    assert [first.position, second.position] == [turns.turn, turns.turn + 1]
    assert {first.structure, second.structure} == {Structure.SUCCESSION}
    assert 0.0 < first.spread < second.spread
    assert turns.expected(AgentName("ann")) is None


def test_only_those_of_whom_succession_tells_are_next_up() -> None:
    order: list[str] = []
    for number in range(20):
        order += ["x" + str(number * number % 7)] * (number % 4 + 1) + ["ann", "bob", "cleo"]
    turns = _told([*order, "x1", "x2", "ann"])
    assert list(turns.next_up())[:2] == ["bob", "cleo"]
    assert list(_told("abc" * 9).next_up()) != []
    assert list(Turns().next_up()) == []


def test_which_structures_hold_changes_seldom() -> None:
    turns, seen = Turns(), set()
    for place, agent in enumerate(_names(5) * 20):
        turns.began(agent, float(place))
        seen.add(turns.holding)
    assert len(seen) <= 4
    assert turns.holding == (True, False, True, False)


def test_a_chain_ends_at_an_agent_that_was_forgotten() -> None:
    order: list[str] = []
    for number in range(20):
        order += ["x" + str(number * number % 7)] * (number % 4 + 1) + ["ann", "bob", "cleo"]
    turns = _told([*order, "x1", "x2", "ann"])
    turns.forget(AgentName("bob"))
    assert turns.expected(AgentName("bob")) is None
    assert turns.expected(AgentName("cleo")) is None


# Anything


@pytest.mark.parametrize("count", [3, 4, 10, 40])
def test_random_traffic_is_hardly_spoken_of(count: int) -> None:
    agents = _names(count)
    spoken = asked = 0
    for seed in range(4):
        random, turns, at = Random(seed), Turns(), 0.0
        for number in range(300):
            at += random.expovariate(1.0)
            turns.began(random.choice(agents), at)
            if number >= 100 and number % 10 == 0:
                asked += count
                spoken += sum(turns.expected(agent) is not None for agent in agents)
    assert spoken <= 0.02 * asked


_HISTORY = st.lists(
    st.one_of(
        st.tuples(st.just("began"), st.sampled_from("abcdef"), st.floats()),
        st.tuples(st.just("began"), st.sampled_from("abcdef"), st.sampled_from([0.0, 1e-3, 1.0, 50.0])),
        st.tuples(st.just("forget"), st.sampled_from("abcdef"), st.just(0.0)),
    ),
    max_size=80,
)


@pytest.mark.slow
@given(_HISTORY)
def test_whatever_comes_nothing_raises_and_the_table_holds_only_those_known(
    history: list[tuple[str, str, float]],
) -> None:
    known: set[AgentName] = set()
    turns, again, at = Turns(), Turns(), 0.0
    for what, name, value in history:
        agent = AgentName(name)
        at = at + value if math.isfinite(value) and 0.0 <= value <= 1e6 else value
        for one in (turns, again):
            if what == "began":
                one.began(agent, at)
            else:
                one.forget(agent)
        known = known | {agent} if what == "began" else known - {agent}
        if not math.isfinite(at):
            at = 0.0
        assert turns.sizes() == {"turn_agents": len(known)}
        for other in map(AgentName, "abcdef"):
            expected = turns.expected(other)
            assert expected == again.expected(other)
            assert expected is None or other in known
            if expected is not None:
                assert math.isfinite(expected.position)
                assert expected.spread >= 0.0
                assert math.isfinite(turns.moment_s(expected.position))


def test_a_pause_of_the_simulation_changes_no_position_and_hardly_the_pace() -> None:
    agents = _names(5)
    turns = _told(agents * 20)
    before = turns.moment_s(turns.turn + 4) - 100.0
    turns.began(agents[0], 100.0 + 3600.0)
    assert _positions(turns, agents[1:]) == [101, 102, 103, 104]
    assert turns.moment_s(turns.turn + 4) - 3700.0 == pytest.approx(before, rel=0.25)


def test_times_follow_from_the_measured_pace() -> None:
    turns = _told("abcd" * 3, pace=2.5)
    assert [turns.moment_s(at) for at in _positions(turns, "abcd")] == pytest.approx([32.5, 35.0, 37.5, 40.0])


@pytest.mark.parametrize("at", [math.nan, math.inf, -math.inf, 3.0])
def test_a_time_that_cannot_be_counts_as_the_last_one(at: float) -> None:
    turns = _told("abcd" * 3)
    turns.began(AgentName("a"), at)
    assert _positions(turns, "bcda") == [13, 14, 15, 16]
    assert 12.0 < turns.moment_s(13.0) <= 13.0


def test_nothing_known_says_nothing() -> None:
    turns = Turns()
    assert turns.expected(AgentName("ann")) is None
    turns.forget(AgentName("ann"))
    turns.began(AgentName("ann"), 5.0)
    assert turns.expected(AgentName("ann")) is None
    assert turns.moment_s(1.0) == 5.0


@pytest.mark.slow
@pytest.mark.parametrize("barrier", [0.0, 20.0])
def test_an_agent_costs_half_a_kilobyte_and_one_that_began_once_hardly_anything(barrier: float) -> None:
    agents = _names(2000)

    def tell(turns: Turns, rounds: int, at: float) -> float:
        for _ in range(rounds):
            at += barrier
            for agent in agents:
                at += 0.001
                turns.began(agent, at)
        return at

    tracemalloc.start()
    try:
        turns = Turns()
        at = tell(turns, 1, 0.0)
        once = tracemalloc.get_traced_memory()[0] / len(agents)
        tell(turns, 3, at)
        often = tracemalloc.get_traced_memory()[0] / len(agents)
    finally:
        tracemalloc.stop()
    assert once < 100
    assert often < 500


def _pairs_of(turns: Turns, agents: Iterable[AgentName]) -> int:
    found = [turns.expected(agent) for agent in agents]
    return sum(one is not None and other is not None for one, other in combinations(found, 2))


def test_positions_told_by_different_structures_can_be_compared() -> None:
    """A seldom agent among regular ones: all of them have positions on one count of beginnings."""
    agents = _names(4)
    turns = _told((agents * 9)[:-1] + [AgentName("guest")] + agents * 2)
    assert _pairs_of(turns, agents) == 6

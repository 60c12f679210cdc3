"""What is told of spaces and graphs, good or bad, seen through the controller."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.events import (
    Activated,
    AgentLeft,
    EdgesGiven,
    Event,
    GraphCleared,
    Idled,
    Interacted,
    Moved,
    SimulationEnded,
    SpaceCleared,
    SpaceSet,
    StepTicked,
    Ticked,
)
from scalesim.proxy.core.model import AgentName, Clock, EngineId, Mode, SimulationId
from scalesim.proxy.core.space import Motion, Point, SpaceRules
from scalesim.proxy.core.surroundings import PIECE

from .conversation import TOWN, Conversation

CITY = SimulationId("city")
RULES = SpaceRules(Clock.STEPS, 4.0, 1.0, 20.0, 12.0)


def _told(kind: Callable[..., Event], *what: object) -> Event:
    """`what` ends with the time."""
    *values, at = what
    return kind(at, *values)


def _set(simulation: SimulationId, clock: Clock, *rest: float) -> Event:
    *numbers, at = rest
    return SpaceSet(at, simulation, SpaceRules(clock, *numbers))


def _move(
    simulation: SimulationId,
    agent: AgentName,
    position: Point | None,
    destination: Point | None,
    velocity: Point | None,
    speed: float | None,
    at: float,
) -> Event:
    return Moved(at, simulation, {agent: Motion(position, destination, velocity, speed)})


def connect(talk: Conversation, *edges: str, simulation: SimulationId = TOWN) -> None:
    """Each edge is two letters, of an agent each."""
    told = [(AgentName(edge[0]), AgentName(edge[1])) for edge in edges]
    assert talk.post(EdgesGiven(talk.at, simulation, told)) == []


def activate(talk: Conversation, *agents: str) -> None:
    assert talk.post(Activated(talk.at, TOWN, [AgentName(agent) for agent in agents])) == []


def refused(talk: Conversation) -> int:
    return talk.controller.totals().refused


def test_edges_make_their_simulation_and_agents_known() -> None:
    talk = Conversation()
    connect(talk, "AB", "BC")
    assert [agent.name for agent in talk.controller.agents(TOWN)] == ["A", "B", "C"]
    assert talk.controller.graph_size(TOWN) == (3, 2)
    sizes = talk.controller.sizes()
    assert (sizes["edges"], sizes["graph_nodes"], sizes["waves"]) == (2, 3, 0)


def test_edges_beyond_the_limit_of_all_graphs_are_refused() -> None:
    talk = Conversation(edge_limit=3)
    connect(talk, "AB", "BC")
    connect(talk, "XY", "YZ", simulation=CITY)
    assert (talk.controller.sizes()["edges"], refused(talk)) == (3, 1)
    assert (talk.controller.edge_room(TOWN), talk.controller.edge_room(CITY)) == (2, 1)
    talk.finish(CITY)
    connect(talk, "CD")
    assert (talk.controller.sizes()["edges"], refused(talk)) == (3, 1)


def test_an_edge_to_somebody_there_is_no_room_for_is_refused() -> None:
    talk = Conversation(agent_limit=1)
    talk.start("A")
    connect(talk, "AB")
    assert (talk.controller.sizes()["edges"], refused(talk)) == (0, 1)


def test_a_graph_that_is_forgotten_makes_room_and_ends_its_search() -> None:
    talk = Conversation()
    connect(talk, "AB")
    activate(talk, "A")
    assert talk.controller.behind
    talk.post(GraphCleared(talk.at, TOWN))
    assert not talk.controller.behind
    assert talk.controller.graph_size(TOWN) is None
    assert talk.controller.sizes()["edges"] == talk.controller.sizes()["waves"] == 0
    activate(talk, "A")
    assert not talk.controller.behind
    talk.post(GraphCleared(talk.at, CITY))
    assert not talk.controller.knows(CITY)


def test_a_space_that_is_forgotten_tells_of_nobody() -> None:
    talk = Conversation(distance="spatial")
    talk.post(SpaceSet(talk.at, TOWN, RULES))
    talk.post(Moved(talk.at, TOWN, {AgentName(one): Motion((0.0, 0.0)) for one in "AB"}))
    talk.post(Idled(talk.at))
    for _ in range(2):
        talk.post(SpaceCleared(talk.at, TOWN))
        assert talk.controller.space_rules(TOWN) is None
        assert talk.controller.sizes()["positions"] == 0
        assert all(known.distance is None for known in talk.controller.agents(TOWN))
    talk.post(SpaceCleared(talk.at, CITY))
    assert not talk.controller.knows(CITY)


def test_what_follows_from_an_activation_is_worked_out_in_pieces() -> None:
    talk = Conversation(distance="path")
    names = [AgentName(str(number)) for number in range(PIECE + 1)]
    talk.post(EdgesGiven(talk.at, TOWN, list(pairwise(names))))
    activate(talk, "0")
    last, pieces = names[-1], 0
    while talk.controller.behind:
        assert talk.distance(last) is None
        assert talk.post(Idled(talk.at)) == []
        pieces += 1
    assert 1 < pieces < 9
    assert talk.distance(last) == PIECE


def test_a_plan_is_due_where_the_memory_is_of_those_of_whom_something_else_is_known() -> None:
    talk = Conversation(distance="path")
    other = EngineId("other")
    talk.find()
    talk.find(other)
    for agent in "AB":
        talk.call(agent, acts_for=9)
    talk.call("D", acts_for=9, engine=other)
    connect(talk, "AB", "CD")
    activate(talk, "A")
    talk.plan()
    talk.plan()
    assert talk.distance("B") == 1.0
    assert [engine.plan_due for engine in talk.controller.engines()] == [False, False]
    activate(talk, "C")
    talk.post(Idled(talk.at))
    assert talk.distance("D") == 1.0
    assert [engine.plan_due for engine in talk.controller.engines()] == [False, True]


def test_a_tick_works_out_a_piece_too_and_is_asked_for() -> None:
    talk = Conversation(distance="path")
    connect(talk, "AB")
    activate(talk, "A")
    assert talk.controller.dirty
    talk.tick()
    assert not talk.controller.dirty
    assert talk.distance("B") == 1.0


def test_simulations_take_turns() -> None:
    talk = Conversation(distance="path")
    for simulation in (TOWN, CITY):
        connect(talk, "AB", simulation=simulation)
        talk.post(Activated(talk.at, simulation, [AgentName("A")]))
    talk.post(Idled(talk.at))
    assert (talk.agent("B").distance, talk.agent("B", CITY).distance) == (1.0, None)
    talk.post(Idled(talk.at))
    assert talk.agent("B", CITY).distance == 1.0


def test_nothing_is_planned_for_a_simulation_that_is_off() -> None:
    talk = Conversation(mode=Mode.OFF)
    talk.find()
    talk.plan()
    connect(talk, "AB")
    activate(talk, "A")
    talk.post(Idled(talk.at))
    assert not talk.engine.plan_due


def test_agents_come_into_a_space_by_being_told_of_and_leave_it_with_their_entry() -> None:
    talk = Conversation(agent_limit=2, distance="spatial")
    talk.post(SpaceSet(talk.at, TOWN, RULES))
    for agent in "ABC":
        talk.post(Moved(talk.at, TOWN, {AgentName(agent): Motion((0.0, 0.0))}))
        talk.tick()
    assert talk.controller.sizes()["positions"] == 2
    assert not talk.controller.has_position(TOWN, AgentName("A"))
    assert talk.distance("C") == 0.0
    talk.finish()
    assert talk.controller.sizes()["positions"] == 0
    assert not talk.controller.behind


def test_positions_of_a_crowd_are_worked_out_in_pieces() -> None:
    talk = Conversation(distance="spatial")
    talk.post(SpaceSet(talk.at, TOWN, RULES))
    motions = {AgentName(f"agent-{number}"): Motion((0.1 * number, 0.0)) for number in range(100)}
    talk.post(Moved(talk.at, TOWN, motions))
    pieces = 0
    while talk.controller.behind:
        talk.post(Idled(talk.at))
        pieces += 1
    assert 10 < pieces < 100
    assert {agent.distance for agent in talk.controller.agents(TOWN)} == {0.0}


def test_bad_rules_leave_the_old_ones_in_force() -> None:
    talk = Conversation()
    talk.post(SpaceSet(talk.at, TOWN, RULES))
    talk.post(SpaceSet(talk.at, TOWN, replace(RULES, radius=math.nan)))
    talk.post(SpaceSet(talk.at, CITY, replace(RULES, radius=0.0)))
    assert talk.controller.space_rules(TOWN) == RULES
    assert (talk.controller.knows(CITY), refused(talk)) == (False, 2)


def test_interactions_that_cannot_be_are_refused() -> None:
    talk = Conversation()
    pair = (AgentName("A"), AgentName("B"))
    talk.post(Interacted(talk.at, TOWN, [pair, pair]))
    talk.post(SpaceSet(talk.at, TOWN, RULES))
    talk.post(Interacted(talk.at, TOWN, [pair]))
    assert refused(talk) == 3


NAMES = st.sampled_from([AgentName(name) for name in "ABCDE"])
SIMULATIONS = st.sampled_from([TOWN, CITY, SimulationId("hamlet")])
NUMBERS = st.one_of(
    st.integers(-9, 9).map(float), st.sampled_from([math.nan, math.inf, -math.inf, 1e308, 1e12, 5e-324])
)
PLACES = st.tuples(NUMBERS, NUMBERS)
PAIRS = st.lists(st.tuples(NAMES, NAMES), max_size=4)
AMOUNTS = st.one_of(st.floats(0.1, 9.0), NUMBERS)
TOLD: st.SearchStrategy[Callable[[float], Event]] = st.one_of(
    st.builds(
        partial, st.just(_set), SIMULATIONS, st.sampled_from(Clock), AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS
    ),
    st.builds(partial, st.just(_set), SIMULATIONS, *map(st.just, (Clock.STEPS, 4.0, 1.0, 9.0, 12.0))),
    st.builds(partial, st.just(_move), SIMULATIONS, NAMES, *(st.none() | PLACES,) * 3, st.none() | NUMBERS),
    st.builds(partial, st.just(_told), st.just(Interacted), SIMULATIONS, PAIRS),
    st.builds(partial, st.just(_told), st.just(EdgesGiven), SIMULATIONS, PAIRS, st.booleans()),
    st.builds(
        partial, st.just(_told), st.just(Activated), SIMULATIONS, st.lists(NAMES), st.text("ab", max_size=1)
    ),
    st.builds(partial, st.just(_told), st.just(GraphCleared), SIMULATIONS),
    st.builds(partial, st.just(_told), st.just(SpaceCleared), SIMULATIONS),
    st.builds(partial, st.just(_told), st.just(StepTicked), SIMULATIONS, st.none() | NUMBERS),
    st.builds(partial, st.just(_told), st.just(AgentLeft), SIMULATIONS, NAMES),
    st.builds(partial, st.just(_told), st.just(SimulationEnded), SIMULATIONS),
    st.builds(partial, st.just(_told), st.sampled_from([Idled, Ticked])),
)


@pytest.mark.slow
@settings(max_examples=80, deadline=None, derandomize=True)
@given(told=st.lists(st.tuples(st.sampled_from([0.0, 0.5, 3.0, -1.0]), TOLD), max_size=40))
def test_nothing_that_is_told_raises_or_breaks_an_invariant(
    told: list[tuple[float, Callable[[float], Event]]],
) -> None:
    talk = Conversation(agent_limit=4, simulation_limit=2, edge_limit=7)
    talk.find()
    for seconds, build in told:
        talk.wait(seconds)
        talk.post(build(talk.at))
        sizes = talk.controller.sizes()
        assert (sizes["edges"] <= 7, sizes["positions"] <= 8, sizes["graph_nodes"] <= 14) == (True,) * 3
        for simulation in talk.controller.simulations():
            for agent in talk.controller.agents(simulation.id):
                assert agent.distance is None or agent.distance >= 0.0
    for _ in range(300):
        talk.controller.handle(Idled(talk.at))
    assert not talk.controller.behind

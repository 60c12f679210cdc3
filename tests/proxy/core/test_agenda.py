"""Who is expected on an engine, beside what a look at everybody would say."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core import distance
from scalesim.proxy.core.agenda import Agenda
from scalesim.proxy.core.agent import Agent
from scalesim.proxy.core.engine import Engine
from scalesim.proxy.core.estimate import Estimate, distance_s
from scalesim.proxy.core.loads import LoadQueue
from scalesim.proxy.core.model import AgentName, CallId, Clock, Mode, Moment, SimulationId, Source, owner_of
from scalesim.proxy.core.simulation import Simulation

from .conversation import GPU, TOWN, Conversation

ON = frozenset({Mode.ON})
NAMES = tuple(AgentName(name) for name in ("Ann", "Bob", "Cem", "Dee", "Eve", "Fay"))


class Desk:
    """An agenda of one engine and of agents whose estimates the test says."""

    def __init__(self) -> None:
        self.engine = Engine(GPU, LoadQueue(GPU))
        self.agenda = Agenda()
        self.known: dict[Agent, Estimate] = {}
        self.asked: list[AgentName] = []

    def simulation(self, name: str = TOWN) -> Simulation:
        return Simulation(SimulationId(name), Mode.ON, 0.0)

    def agent(self, simulation: Simulation, name: str) -> Agent:
        agent = Agent(AgentName(name), owner_of(simulation.id, AgentName(name)), simulation)
        simulation.agents[agent.name] = agent
        agent.engine = self.engine
        self.engine.take_in(agent)
        return agent

    def tell(self, agent: Agent, value: float, clock: Clock = Clock.SECONDS, spread: float = 0.0) -> None:
        self.known[agent] = Estimate(Moment(clock, value), spread, Source.HINTED)
        self.engine.note(agent)

    def estimate(self, agent: Agent, at: float) -> Estimate | None:
        self.asked.append(agent.name)
        return self.known.get(agent)

    def work(self, at: float) -> None:
        for work in (self.agenda.catch_up, self.agenda.bring_up):
            for _ in work(self.engine, self.estimate, at):
                pass

    def nearest(self, at: float, limit: int = 99) -> list[tuple[str, float]]:
        self.work(at)
        return [(one[6].name, one[0]) for one in self.agenda.nearest(ON, at, limit)]


def test_the_nearest_come_first_whatever_clock_they_are_known_on() -> None:
    desk = Desk()
    town = desk.simulation()
    for number in range(3):
        town.steps.tick(number * 10.0, None)
    ann, bob, cem = (desk.agent(town, name) for name in ("Ann", "Bob", "Cem"))
    desk.tell(ann, 25.0)
    desk.tell(bob, 5.0, Clock.STEPS)
    desk.tell(cem, 21.0)
    assert desk.nearest(20.0) == [("Cem", 1.0), ("Ann", 5.0), ("Bob", 20.0)]
    assert desk.nearest(20.0, limit=2) == [("Cem", 1.0), ("Ann", 5.0)]


def test_whoever_is_expected_at_another_time_once_it_has_not_come_is_asked_for_again_then() -> None:
    desk = Desk()
    town = desk.simulation()
    agents = [desk.agent(town, name) for name in NAMES]
    for number, agent in enumerate(agents):
        desk.known[agent] = Estimate(Moment(Clock.SECONDS, 50.0), 0.0, Source.GAP, until=10.0 + number)
        desk.engine.note(agent)
    desk.work(0.0)
    desk.asked.clear()
    desk.known[agents[0]] = Estimate(Moment(Clock.SECONDS, 90.0), 0.0, Source.GAP, until=40.0)
    desk.known[agents[1]] = Estimate(Moment(Clock.SECONDS, 30.0), 0.0, Source.GAP, until=40.0)
    desk.work(9.0)
    assert desk.asked == []
    assert [name for name, _ in desk.nearest(11.0)] == ["Bob", "Cem", "Dee", "Eve", "Fay", "Ann"]
    assert desk.asked == ["Ann", "Bob"]
    desk.asked.clear()
    desk.tell(agents[2], 20.0)
    desk.work(14.5)
    assert desk.asked == ["Cem", "Dee", "Eve"], "what was told of Cem meanwhile stands"


def test_in_the_middle_of_a_step_those_are_asked_for_again_of_whom_gaps_tell_something_else_in_the_next() -> (
    None
):
    desk = Desk()
    town = desk.simulation()
    for number in range(2):
        town.steps.tick(number * 10.0, None)
    ann, bob, cem = (desk.agent(town, name) for name in ("Ann", "Bob", "Cem"))
    for agent, source, until in ((ann, Source.GAP, 3.0), (bob, Source.GAP, 4.0), (cem, Source.SPATIAL, 3.0)):
        desk.known[agent] = Estimate(Moment(Clock.STEPS, 5.0), 0.0, source, until=until)
        desk.engine.note(agent)
    desk.work(10.0)
    desk.asked.clear()
    desk.work(14.0)
    assert desk.asked == []
    desk.known[ann] = Estimate(Moment(Clock.STEPS, 9.0), 0.0, Source.GAP, until=9.0)
    desk.work(15.0)
    desk.work(19.0)
    assert desk.asked == ["Ann"], "and once"
    town.steps.tick(20.0, None)
    desk.work(20.0)
    assert desk.asked == ["Ann", "Cem"]


def test_only_those_are_asked_for_again_of_whom_something_was_learned() -> None:
    desk = Desk()
    town = desk.simulation()
    agents = [desk.agent(town, name) for name in NAMES]
    for agent in agents:
        desk.tell(agent, 50.0)
    desk.work(1.0)
    desk.asked.clear()
    desk.tell(agents[2], 7.0)
    assert desk.nearest(2.0)[0] == ("Cem", 5.0)
    assert desk.asked == ["Cem"]
    town.epoch += 1
    desk.work(3.0)
    assert desk.asked == ["Cem", *NAMES], "everybody, where so much was learned"


def test_where_much_was_learned_of_a_simulation_its_agents_on_other_engines_are_not_looked_at() -> None:
    desk = Desk()
    town = desk.simulation()
    desk.tell(desk.agent(town, "Ann"), 1.0)
    for number in range(100):
        elsewhere = AgentName(f"agent-{number}")
        town.agents[elsewhere] = Agent(elsewhere, owner_of(town.id, elsewhere), town)
    desk.work(0.0)
    town.epoch += 1
    assert sum(desk.agenda.catch_up(desk.engine, desk.estimate, 0.0)) < 10
    assert desk.nearest(0.0) == [("Ann", 1.0)]


def test_whoever_is_expected_as_before_keeps_the_place_it_has() -> None:
    desk = Desk()
    town = desk.simulation()
    agents = [desk.agent(town, name) for name in NAMES]
    for number, agent in enumerate(agents):
        desk.tell(agent, 50.0 + number)
    desk.work(1.0)
    before = {one[6]: one[7] for one in desk.agenda.nearest(ON, 1.0, 99)}
    for number, agent in enumerate(agents[1:], 1):
        desk.known[agent] = Estimate(Moment(Clock.SECONDS, 50.0 + number), 0.0, Source.HINTED)
    desk.known[agents[0]] = Estimate(Moment(Clock.SECONDS, 60.0), 0.0, Source.HINTED)
    town.epoch += 1
    desk.work(2.0)
    after = {one[6]: one[7] for one in desk.agenda.nearest(ON, 2.0, 99)}
    assert [agent.name for agent in agents if after[agent] is not before[agent]] == ["Ann"]
    assert desk.nearest(2.0)[-1] == ("Ann", 58.0)


def test_whoever_is_overdue_is_near_for_a_grace_and_then_the_farther_the_longer() -> None:
    desk = Desk()
    town = desk.simulation()
    ann, bob = desk.agent(town, "Ann"), desk.agent(town, "Bob")
    desk.tell(ann, 10.0)
    desk.tell(bob, 30.0)
    assert desk.nearest(11.0) == [("Ann", 0.0), ("Bob", 19.0)]
    assert desk.nearest(20.0) == [("Ann", 8.0), ("Bob", 10.0)]
    assert desk.nearest(25.0) == [("Bob", 5.0), ("Ann", 13.0)]


def test_whoever_is_overdue_is_asked_for_once_more() -> None:
    """Another reason to call may be nearer by then."""
    desk = Desk()
    town = desk.simulation()
    ann = desk.agent(town, "Ann")
    desk.tell(ann, 10.0)
    desk.work(1.0)
    desk.known[ann] = Estimate(Moment(Clock.SECONDS, 22.0), 0.0, Source.SPATIAL)
    assert desk.nearest(11.0) == [("Ann", 0.0)], "nobody said that anything changed"
    assert desk.nearest(20.0) == [("Ann", 2.0)]


def test_nobody_is_there_of_whom_nothing_is_known_or_who_left() -> None:
    desk = Desk()
    town = desk.simulation()
    ann, bob, cem, dee = (desk.agent(town, name) for name in ("Ann", "Bob", "Cem", "Dee"))
    desk.tell(ann, math.inf)
    desk.tell(bob, 5.0)
    desk.tell(cem, 6.0)
    desk.engine.note(dee)
    desk.work(1.0)
    assert len(desk.agenda) == 2
    bob.gone = True
    cem.engine = None
    for agent in (bob, cem):
        desk.engine.note(agent)
    assert desk.nearest(1.0) == []
    assert len(desk.agenda) == 0
    assert not desk.agenda.is_behind(desk.engine)


def test_each_simulation_has_places_however_near_those_of_another_are() -> None:
    desk = Desk()
    town, city = desk.simulation(), desk.simulation("city")
    for number, name in enumerate(NAMES):
        desk.tell(desk.agent(town, name), 1.0 + number)
    for number, name in enumerate(("Gus", "Hal", "Ida")):
        desk.tell(desk.agent(city, name), 101.0 + number)
    names = [name for name, _ in desk.nearest(0.0, limit=4)]
    assert names == ["Ann", "Bob", "Gus", "Hal"]
    city.resting = True
    assert [name for name, _ in desk.nearest(0.0, limit=4)] == list(NAMES[:4])
    town.mode = Mode.OFF
    assert desk.nearest(0.0) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.sampled_from(("tell", "call", "end", "tick", "wait", "leave")),
            st.floats(0.0, 30.0),
        ),
        max_size=40,
    )
)
def test_a_plan_sees_what_a_look_at_everybody_would_see(history: list[tuple[AgentName, str, float]]) -> None:
    talk = Conversation()
    talk.find(capacity=10_000)
    calls: dict[AgentName, CallId] = {}
    for name, act, value in history:
        match act:
            case "tell":
                talk.hint(**{name: value})
            case "call" if name not in calls:
                calls[name] = talk.start(name)
            case "end" if name in calls:
                talk.end(calls.pop(name))
            case "tick":
                talk.step()
            case "wait":
                talk.wait(value)
            case "leave" if name not in calls:
                talk.leave(name)
            case _:
                continue
        engine = talk.controller._world.engines[GPU]
        engine.dirty = True
        talk.plan()
        seen = dict(engine.wanted.order)
        blend = distance.find("blend")
        at = talk.at
        expected: dict[str, float] = {}
        for agent in engine.agents:
            known = blend(agent, at)
            away = math.inf if known is None else distance_s(known, agent.simulation, at)
            if away < math.inf:
                expected[agent.owner] = 0.0 if agent.in_activation(at) else away
        assert engine.guard is None or engine.by_distance
        assert _rounded(seen) == _rounded(expected)


def _rounded(distances: Mapping[str, float]) -> dict[str, float]:
    return {owner: round(value, 6) for owner, value in distances.items()}


@pytest.mark.parametrize("agents", [40, 400])
def test_a_bulk_of_hints_is_taken_in_in_pieces_and_no_plan_waits_for_it(agents: int) -> None:
    talk = Conversation()
    talk.checked = False
    talk.find(capacity=10_000)
    names = [f"a{number}" for number in range(agents)]
    for name in names:
        talk.call(name, acts_for=50)
    talk.plan()
    talk.hint(**dict.fromkeys(names, 9.0))
    talk.tick()
    pieces = 0
    while talk.controller.behind:
        pieces += 1
        talk.idle()
    assert pieces <= 2 + agents / 30
    assert (pieces > 2) == (agents == 400)

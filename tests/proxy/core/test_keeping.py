"""What was kept, restored and gone on with is as if it had never stopped."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import astuple
from random import Random
from typing import Any

import pytest

from scalesim.proxy.core import keeping
from scalesim.proxy.core.actions import Order
from scalesim.proxy.core.adapters import Adapters
from scalesim.proxy.core.durations import RULES, Reading, Scale
from scalesim.proxy.core.events import Moved, ReadingSet, SpaceSet
from scalesim.proxy.core.model import AgentName, Clock, Mode, Outcome, SimulationId
from scalesim.proxy.core.plain import Garbled
from scalesim.proxy.core.space import Motion, SpaceRules

from .conversation import GPU, TOWN, Conversation

LATER = 1024.0
"""From the first process's clock to the second's: floats lose nothing by it."""


class Town:
    """A simulation of some agents that call, act, are hinted and step, the same for the same seed."""

    def __init__(self, seed: int, *, ticks: bool) -> None:
        self.random = Random(seed)
        self.ticks = ticks
        self.running: deque[tuple[str, Any]] = deque()
        self.names = [f"a{number}" for number in range(12)]

    def go_on(self, talks: list[Conversation], events: int) -> None:
        for _ in range(events):
            self._next(talks)

    def _next(self, talks: list[Conversation]) -> None:
        pause = self.random.choice([1 / 64, 1 / 16, 1 / 4, 4.0])
        name, kind = self.random.choice(self.names), self.random.random()
        for talk in talks:
            talk.at += pause
        if kind < 0.35 and name not in {one for one, _ in self.running}:
            calls = [talk.start(name) for talk in talks]
            assert len(set(calls)) == 1
            self.running.append((name, calls[0]))
        elif kind < 0.75 and self.running:
            _, call = self.running.popleft()
            prompt = self.random.randrange(50, 500)
            acts_for = self.random.choice([None, None, 2.0, 30.0])
            outcome = self.random.choice([Outcome.DONE, Outcome.DONE, Outcome.CLIENT_GONE])
            for talk in talks:
                talk.end(call, prompt=prompt, acts_for=acts_for, clock=Clock.SECONDS, outcome=outcome)
        elif kind < 0.85:
            distance, clock = (
                float(self.random.randrange(9)),
                self.random.choice([Clock.STEPS, Clock.SECONDS]),
            )
            for talk in talks:
                talk.hint(clock if self.ticks else Clock.SECONDS, **{name: distance})
        elif self.ticks:
            for talk in talks:
                talk.step()
        for talk in talks:
            talk.plan()


def restored(talk: Conversation, shift: float = 0.0) -> Conversation:
    """Another process that was given what this one kept, through JSON, and whose clock is behind by `shift`."""
    known, other = talk.controller.keeping, Conversation(guard=False)
    other.at, other._calls, other.checked = talk.at - shift, talk._calls, talk.checked
    other.find()
    into = other.controller.keeping
    into.restore_adapters(json.loads(json.dumps(known.adapters())))
    for simulation in known.simulations():
        plain = json.loads(json.dumps(known.simulation(simulation, 0.0)))
        assert into.restore_simulation(simulation, plain, shift, other.at)
        agents = [
            (name, json.loads(json.dumps(known.agent(simulation, name, 0.0, talk.at))))
            for name in known.agents(simulation)
        ]
        for name, one in sorted(agents, key=lambda pair: keeping.used_at(pair[1])):
            assert into.restore_agent(simulation, name, one, shift, other.at)
    for call in known.calls():
        assert into.restore_call(call, json.loads(json.dumps(known.call(call))))
    into.restored()
    other.plan()
    other.controller.check()
    return other


def known_of(talk: Conversation, shift: float = 0.0) -> dict[str, object]:
    """All that is known of agents and simulations, but what engines hold; moments are those of the first clock."""
    agents = {
        agent.name: (
            agent.distance,
            agent.clock,
            agent.spread,
            agent.source,
            agent.in_activation,
            agent.running_calls,
            agent.activations,
            agent.engine,
            agent.size_tokens,
            agent.used_at + shift,
            agent.adapter,
        )
        for agent in talk.controller.agents(TOWN)
    }
    town = talk.town
    of_all = (
        town.mode,
        town.step,
        town.pace_s,
        town.pause_s,
        town.running_calls,
        town.seen_at + shift,
        {source: astuple(score) for source, score in town.accuracy.items()},
        town.in_charge,
        town.counters.calls,
        town.counters.activations,
        town.counters.prompt_tokens,
    )
    return {"town": of_all, **agents}


def nearly(known: Any) -> Any:
    """Sums of other moments are rounded otherwise."""
    match known:
        case float():
            return pytest.approx(known, rel=1e-9, abs=1e-9)
        case dict():
            return {key: nearly(one) for key, one in known.items()}
        case list() | tuple():
            return type(known)(map(nearly, known))
    return known


def ordered(talk: Conversation) -> list[tuple[float, str]]:
    """Who are equally far stand as they came."""
    return sorted((distance, owner) for owner, distance in talk.controller.engines()[0].wanted.order)


@pytest.mark.parametrize("ticks", [True, False], ids=["with steps", "without steps"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shift", [0.0, LATER], ids=["the same clock", "another clock"])
def test_who_was_restored_goes_on_as_if_it_had_never_stopped(seed: int, ticks: bool, shift: float) -> None:
    talk, town = Conversation(guard=False), Town(seed, ticks=ticks)
    talk.checked = False
    talk.at = 2048.0
    talk.find()
    town.go_on([talk], 250)
    other = restored(talk, shift)
    assert known_of(other, shift) == nearly(known_of(talk))
    for _ in range(24):
        town.go_on([talk, other], 5)
        assert known_of(other, shift) == nearly(known_of(talk))
    for one in (talk, other):
        # An order is made anew where something changes, and not all of it changes for both at the same time.
        one.hint(Clock.SECONDS, **{name: float(place) for place, name in enumerate(town.names)})
        one.plan()
    assert ordered(other) == nearly(ordered(talk))
    other.controller.check()


def test_assigned_adapters_keep_their_versions() -> None:
    talk = Conversation()
    talk.find()
    talk.register("poet", "/one")
    talk.register("poet", "/two")
    talk.register("cook", "/cook")
    talk.assign("Ann", "poet")
    talk.assign("Bob", "cook")
    talk.forget_adapter("cook")
    other = restored(talk)
    assert other.controller.adapter_of(TOWN, AgentName("Ann")) == "poet@2"
    assert other.controller.adapter_of(TOWN, AgentName("Bob")) is None
    assert [one.key for one in other.controller.adapters()] == ["poet@2"]
    other.register("poet", "/three")
    assert other.controller.adapter_of(TOWN, AgentName("Ann")) == "poet@3"
    other.register("cook", "/other")
    assert [(one.key, one.number) for one in other.controller.adapters()] == [("poet@3", 1), ("cook@2", 2)]


def test_the_name_of_a_forgotten_adapter_is_not_given_to_another_version() -> None:
    known, other = Adapters(10), Adapters(10)
    for path in ("/one", "/two"):
        known.register("poet", path)
    known.forget("poet")
    known.gone(list(known.leaving))
    other.restore(known.kept())
    again = other.register("poet", "/three")
    assert again is not None
    assert again.key == "poet@3"


def test_what_was_set_for_a_simulation_is_kept() -> None:
    talk = Conversation()
    talk.find()
    reading = Reading(RULES, Scale(Clock.STEPS, 0.25))
    talk.call("Ann")
    talk.set_mode(Mode.SHADOW)
    talk.post(ReadingSet(talk.at, TOWN, reading))
    talk.host_copy("Ann", wanted=False)
    talk.host_copy(None, wanted=False)
    other = restored(talk)
    assert other.controller.mode(TOWN) is Mode.SHADOW
    assert other.controller.reading(TOWN) == reading
    assert not other.controller.has_host_copy(TOWN, AgentName("Ann"), "kv_prefix")


def test_agents_go_on_to_where_they_were_heading() -> None:
    talk = Conversation()
    talk.find()
    talk.post(SpaceSet(talk.at, TOWN, SpaceRules(Clock.SECONDS, 1.0, 1.0, 0.0, 120.0)))
    ways = {
        AgentName("Ann"): Motion((0.0, 0.0), destination=(16.0, 0.0)),
        AgentName("Bob"): Motion((9.0, 0.0)),
    }
    talk.post(Moved(talk.at, TOWN, ways))
    talk.plan()
    talk.at += 2.0
    talk.plan()
    other = restored(talk)
    assert talk.distance("Ann") == pytest.approx(6.0)
    assert other.distance("Ann") == pytest.approx(6.0)


def test_a_running_call_ends_where_it_was_restored() -> None:
    talk = Conversation()
    talk.find()
    call = talk.start("Ann")
    other = restored(talk)
    assert other.agent("Ann").in_activation
    other.end(call)
    assert other.agent("Ann").running_calls == 0
    assert other.controller.totals().unknown_calls == 0
    other.controller.check()


def test_an_agent_takes_little_room() -> None:
    talk, town = Conversation(), Town(1, ticks=True)
    talk.find()
    town.go_on([talk], 2000)
    known = talk.controller.keeping
    sizes = [
        len(json.dumps(known.agent(TOWN, name, 0.0, talk.at), separators=(",", ":")))
        for name in known.agents(TOWN)
    ]
    assert max(sizes) < 1000
    assert len(json.dumps(known.simulation(TOWN, 0.0))) < 32_768


@pytest.mark.parametrize(
    "plain",
    [None, 7, [], [1, 2], [[], []], [[True] * 17, [None] * 4], [["x"] * 17, [None, None, None, None]]],
)
def test_what_is_garbled_is_refused_and_changes_nothing(plain: Any) -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann")
    into, before = talk.controller.keeping, known_of(talk)
    with pytest.raises(Garbled):
        into.restore_agent(TOWN, AgentName("Ann"), plain, 0.0, talk.at)
    with pytest.raises(Garbled):
        into.restore_simulation(TOWN, plain, 0.0, talk.at)
    assert known_of(talk) == before


@pytest.mark.parametrize("kind", keeping.LEARNED)
def test_all_that_is_learned_is_written(kind: type) -> None:
    """Whoever adds a field says here that it is kept, or why not."""
    made = keeping.LEARNED[kind].made()
    declared = {name for one in kind.__mro__ for name in getattr(one, "__slots__", ())}
    left_out = {"_agents", "_chain"} if kind.__name__ == "Turns" else set()
    assert set(keeping.LEARNED[kind].types) == declared - left_out
    assert all(hasattr(made, name) for name in declared)


def test_all_of_agents_and_simulations_is_written_or_known_elsewhere() -> None:
    from scalesim.proxy.core.agent import Agent
    from scalesim.proxy.core.simulation import Simulation

    known = {"name", "owner", "simulation", "engine", "running", "assigned", "older", "newer", "gone"}
    known |= {"pinned", "asked", "number"}  # what operators asked one process for ends with it
    assert set(Agent.__slots__) == known | set(keeping.OF_AGENT)
    known = {"id", "agents", "idle", "pausing", "lulling", "running", "assigned", "graph", "space"}
    known |= {"estimator", "pinned"}  # likewise
    assert set(Simulation.__slots__) == known | set(keeping.OF_SIMULATION)


def test_a_cleared_controller_knows_nobody() -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann")
    talk.controller.clear()
    assert talk.controller.sizes() == Conversation().controller.sizes()
    talk.find()
    talk.call("Bob")
    assert [type(one) for one in talk.plan()][:1] == [Order]
    assert not talk.controller.knows(SimulationId("town"), AgentName("Ann"))
    assert talk.controller.engines()[0].id == GPU

from __future__ import annotations

from scalesim.proxy.core.events import AgentLeft, CallStarted, DistanceHinted, SimulationEnded, StepTicked
from scalesim.proxy.core.model import AgentName, CallId, Clock, EngineId, SimulationId
from scalesim.proxy.state.changes import Changed

TOWN, CITY = SimulationId("town"), SimulationId("city")
ANN, BOB = AgentName("Ann"), AgentName("Bob")


def test_whoever_an_event_concerns_is_written_once() -> None:
    changed = Changed()
    changed.follow(CallStarted(1.0, CallId(1), TOWN, ANN, EngineId("gpu")))
    changed.follow(DistanceHinted(1.0, TOWN, Clock.STEPS, {ANN: 1.0, BOB: 2.0}))
    changed.follow(StepTicked(1.0, CITY))
    assert changed.take_agents(1) == [(TOWN, ANN)]
    assert changed.take_agents(9) == [(TOWN, BOB)]
    assert changed.take_agents(9) == []
    assert changed.simulations() == [TOWN, CITY]
    changed.written(TOWN)
    assert changed.simulations() == [CITY]


def test_who_left_is_written_down_as_gone() -> None:
    changed = Changed()
    changed.follow(AgentLeft(1.0, TOWN, ANN))
    assert changed.take_agents(9) == [(TOWN, ANN)]


def test_of_an_ended_simulation_only_its_end_is_written() -> None:
    changed = Changed()
    changed.follow(DistanceHinted(1.0, TOWN, Clock.STEPS, {ANN: 1.0}))
    changed.follow(SimulationEnded(1.0, TOWN))
    assert changed.take_agents(9) == []
    assert changed.simulations() == [TOWN]


def test_it_is_bounded() -> None:
    changed = Changed(limit=10)
    changed.note(TOWN, [AgentName(f"a{number}") for number in range(100)])
    assert len(changed) == 10

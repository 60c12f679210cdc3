from __future__ import annotations

import math

import pytest

from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import (
    CallEnded,
    CallStarted,
    DistanceHinted,
    EngineFound,
    Reported,
    StepTicked,
)
from scalesim.proxy.core.glance import Glance, Whereabouts
from scalesim.proxy.core.model import (
    KV_PREFIX,
    AgentName,
    CallId,
    Capabilities,
    Clock,
    EngineId,
    EngineReport,
    MemoryId,
    MemoryReport,
    Outcome,
    Pool,
    SimulationId,
    Source,
    Usage,
)

TOWN, ANN, ENGINE = SimulationId("town"), AgentName("Ann"), EngineId("engine-0")
MEMORY = MemoryId(KV_PREFIX, "town/Ann")


def reported(memory: tuple[int, int] | None = None, *, loading: bool = False) -> EngineReport:
    return EngineReport(
        boot_id="boot-1",
        plan_in_force=True,
        pinned_owners=frozenset(),
        pinned_tokens=0,
        capacity_tokens=1000,
        pools=(Pool("kv", frozenset({KV_PREFIX}), 1000, 0),),
        memories={} if memory is None else {MEMORY: MemoryReport(*memory)},
        loading=frozenset({MEMORY} if loading else ()),
    )


def town() -> Controller:
    """In which Ann has called."""
    controller = Controller(ControllerConfig())
    found = Capabilities("fake", "1", True, frozenset({"order", "residency"}), "boot-1", 1000)
    controller.handle(EngineFound(0.0, ENGINE, found))
    controller.handle(CallStarted(1.0, CallId(1), TOWN, ANN, ENGINE))
    return controller


def ann(controller: Controller) -> Glance:
    known = controller.glance(TOWN, ANN)
    assert known is not None
    return known


def test_who_calls_is_seen_calling_and_then_in_its_activation() -> None:
    controller = town()
    assert (ann(controller).running_calls, ann(controller).in_activation) == (1, True)
    controller.handle(CallEnded(2.0, CallId(1), Outcome.DONE, Usage(100, 0, 10)))
    assert (ann(controller).running_calls, ann(controller).in_activation) == (0, True)
    assert ann(controller).engine == ENGINE


def test_the_moment_of_the_next_call_stays_while_time_passes() -> None:
    controller = town()
    controller.handle(CallEnded(2.0, CallId(1), Outcome.DONE, Usage(100, 0, 10)))
    controller.handle(StepTicked(3.0, TOWN, 10.0))
    controller.handle(DistanceHinted(90.0, TOWN, Clock.STEPS, {ANN: 7.0}))
    first = ann(controller)
    passed = controller.clocks(TOWN)[Clock.STEPS].now
    assert (first.clock, first.source) == (Clock.STEPS, Source.HINTED)
    assert first.due == passed + 7.0
    controller.handle(StepTicked(100.0, TOWN, 12.0))
    assert ann(controller).due == first.due
    assert controller.clocks(TOWN)[Clock.STEPS].now == passed + 2.0


def test_who_is_not_expected_again_is_due_never() -> None:
    controller = town()
    controller.handle(CallEnded(2.0, CallId(1), Outcome.DONE, Usage(100, 0, 10)))
    controller.handle(DistanceHinted(90.0, TOWN, Clock.SECONDS, {ANN: math.inf}))
    assert ann(controller).due == math.inf


@pytest.mark.parametrize(
    ("report", "place"),
    [
        (None, Whereabouts.UNKNOWN),
        (reported(), Whereabouts.GONE),
        (reported((80, 20)), Whereabouts.DEVICE),
        (reported((20, 80)), Whereabouts.HOST),
        (reported((0, 0)), Whereabouts.GONE),
        (reported((20, 80), loading=True), Whereabouts.LOADING),
    ],
)
def test_its_memory_is_where_the_engine_reports_it(report: EngineReport | None, place: Whereabouts) -> None:
    controller = town()
    if report is not None:
        controller.handle(Reported(2.0, ENGINE, report))
    assert ann(controller).place is place


def test_nothing_is_seen_of_those_who_are_not_known() -> None:
    controller = town()
    assert controller.glance(TOWN, AgentName("Bob")) is None
    assert controller.glance(SimulationId("village"), ANN) is None
    assert controller.clocks(SimulationId("village")) == {}
    assert controller.names(SimulationId("village"), 9) == []
    assert controller.memories(EngineId("other")) == {}


def test_the_simulation_that_was_seen_last_is_told_first() -> None:
    controller = town()
    for at, name in enumerate(("village", "city", "village"), 2):
        controller.handle(CallStarted(float(at), CallId(at), SimulationId(name), ANN, ENGINE))
    assert [one.id for one in controller.latest(2)] == ["village", "city"]
    assert controller.simulation_count == 3

from __future__ import annotations

import pytest

from scalesim.proxy.core.actions import Load
from scalesim.proxy.core.events import CallEnded, CallSent, CallStarted, Settled
from scalesim.proxy.core.model import (
    KV_PREFIX,
    LORA,
    AgentName,
    CallId,
    EngineId,
    LoadResult,
    LoadState,
    MemoryId,
    Outcome,
    SimulationId,
    owner_of,
)
from scalesim.proxy.dashboard import meter as metering
from scalesim.proxy.dashboard.meter import Meter

TOWN, ANN, ENGINE = SimulationId("town"), AgentName("Ann"), EngineId("engine-0")
OWNER = owner_of(TOWN, ANN)


def started(at: float, call: int = 1, agent: AgentName | None = ANN) -> CallStarted:
    return CallStarted(at, CallId(call), TOWN, agent, ENGINE)


def ended(at: float, call: int = 1) -> CallEnded:
    return CallEnded(at, CallId(call), Outcome.DONE)


def loaded(
    at: float, owner: str = OWNER, state: LoadState = LoadState.LOADED, kind: str = KV_PREFIX
) -> Settled:
    return Settled(at, Load(ENGINE, MemoryId(kind, owner), 2.0, 5.0), None, LoadResult(state))


def test_the_time_of_a_call_is_split_where_it_was_sent() -> None:
    meter = Meter()
    assert meter.hear(started(10.0)) == (TOWN, ANN)
    meter.hear(CallSent(12.5, CallId(1), ENGINE))
    assert meter.hear(ended(20.0)) == (TOWN, ANN)
    assert (meter.waited_s, meter.served_s, meter.ended) == (2.5, 7.5, 1)
    assert meter.sizes()["watched_calls"] == 0


def test_a_call_that_is_sent_at_once_waits_for_nothing() -> None:
    meter = Meter()
    meter.hear(started(10.0))
    meter.hear(ended(11.0))
    assert (meter.waited_s, meter.served_s) == (0.0, 1.0)


def test_of_a_call_that_began_before_anybody_looked_nothing_is_said() -> None:
    meter = Meter()
    assert meter.hear(ended(11.0)) is None
    assert meter.ended == 0


def test_a_load_is_of_use_if_its_agent_calls_and_of_none_if_it_leaves_first() -> None:
    meter = Meter()
    meter.hear(loaded(1.0))
    meter.hear(loaded(1.0, "town/Bob"))
    meter.hear(started(2.0))
    meter.left(OWNER)
    meter.left(owner_of(TOWN, AgentName("Bob")))
    assert (meter.brought, meter.used, meter.unused) == (2, 1, 1)


def test_what_was_there_already_and_adapters_are_no_loads_of_prefixes() -> None:
    meter = Meter()
    meter.hear(loaded(1.0, state=LoadState.RESIDENT))
    meter.hear(loaded(1.0, kind=LORA))
    assert meter.brought == 0


def test_what_is_followed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "CALLS", 20)
    monkeypatch.setattr(metering, "LOADS", 10)
    meter = Meter()
    for number in range(metering.CALLS + 10):
        meter.hear(started(1.0, number, None))
    for number in range(metering.LOADS + 10):
        meter.hear(loaded(1.0, f"town/{number}"))
    assert meter.sizes() == {"watched_calls": metering.CALLS, "watched_loads": metering.LOADS}
    assert meter.unused == 10

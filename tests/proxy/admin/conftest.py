"""The admin API behind a real server, with the real core and loop, and an engine that does nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from scalesim.proxy.action_log import ActionLog
from scalesim.proxy.admin import create_admin
from scalesim.proxy.admin.operations import Operations
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import CallEnded, CallStarted
from scalesim.proxy.core.model import (
    KV_PREFIX,
    LORA,
    AgentName,
    CallId,
    EngineId,
    EngineReport,
    MemoryId,
    MemoryReport,
    Outcome,
    Pool,
    SimulationId,
    Usage,
)
from scalesim.proxy.core.placement import DEFAULT, find
from scalesim.proxy.core.placer import Placer
from scalesim.proxy.core.snapshot import AgentSnapshot
from scalesim.proxy.engines.breaker import Breakers
from scalesim.proxy.engines.fleet import Fleet
from scalesim.proxy.engines.models import Models
from scalesim.proxy.engines.registry import Address, Registry
from scalesim.proxy.recognition.ladder import Ladder
from scalesim.proxy.runtime import Runtime
from scalesim.proxy.settings import Settings
from tests.support.fake_adapter import EXTENDED, FakeAdapter
from tests.support.serve import serve


class Nothing:
    def sizes(self) -> dict[str, int]:
        return {"requests_in_flight": 0}


CALLING = SimulationId("calling")
"""All that is known to the `cramped` proxy: its only agent, Ann, calls."""


@dataclass(slots=True)
class Proxy:
    """A running admin API and what stands behind it."""

    client: httpx.AsyncClient
    controller: Controller
    runtime: Runtime
    adapter: FakeAdapter
    callers: Ladder
    fleet: Fleet
    operations: Operations
    _calls: int = 0
    _simulations: int = 0

    def simulation(self, *agents: str) -> SimulationId:
        """A new one, in which these agents have called."""
        self._simulations += 1
        name = SimulationId(f"town-{self._simulations}")
        for agent in agents:
            self.call(name, agent)
        return name

    def call(
        self,
        simulation: SimulationId,
        agent: str,
        prompt: int = 100,
        cached: int = 25,
        engine: str = "fake",
    ) -> None:
        self._calls += 1
        call, now = CallId(self._calls), self.runtime.now()
        self.runtime.post(CallStarted(now, call, simulation, AgentName(agent), EngineId(engine)))
        self.runtime.post(CallEnded(now, call, Outcome.DONE, Usage(prompt, cached, 7)))

    def known(self, simulation: SimulationId) -> list[tuple[object, ...]]:
        """All that hints could change, but for the passing of time."""
        agents = [_timeless(agent) for agent in self.controller.agents(simulation)]
        return [(one.id, one.mode, one.step) for one in self.controller.simulations()] + agents


def _timeless(agent: AgentSnapshot) -> tuple[object, ...]:
    return (agent.name, agent.clock, agent.source, agent.distance if agent.clock == "steps" else None)


def fleet_of(runtime: Runtime, adapter: FakeAdapter) -> Fleet:
    """With that one engine. Those that are registered later are never there."""

    def adapter_for(address: Address) -> FakeAdapter:
        if address.name == adapter.engine:
            return adapter
        other = FakeAdapter(address.base_url, engine=address.name)
        other.down = "connection refused"
        return other

    fleet = Fleet(
        registry=Registry(),
        models=Models(),
        breakers=Breakers(),
        placer=Placer(find(DEFAULT)),
        adapter_for=adapter_for,
        lines=runtime,
    )
    fleet.add(Address(adapter.engine, adapter.base_url), time.monotonic(), configured=True)
    return fleet


@asynccontextmanager
async def started(
    settings: Settings, adapter: FakeAdapter | None = None, **limits: Any
) -> AsyncIterator[Proxy]:
    controller = Controller(ControllerConfig(mode=settings.mode, **limits))
    adapter = adapter or FakeAdapter()
    action_log = ActionLog(time.monotonic, controller.why)
    runtime = Runtime(
        controller,
        [],
        time.monotonic,
        report_every_s=0.01,
        probe_every_s=0.01,
        health=lambda: fleet,
        action_log=action_log,
    )
    fleet = fleet_of(runtime, adapter)
    loop = asyncio.create_task(runtime.run())
    callers = Ladder()
    operations = Operations(time.monotonic)
    app = create_admin(
        runtime,
        controller,
        Nothing(),
        callers,
        settings,
        time.monotonic,
        fleet=fleet,
        operations=operations,
        action_log=action_log,
    )
    try:
        async with operations, serve(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
            await runtime.looked()
            yield Proxy(client, controller, runtime, adapter, callers, fleet, operations)
    finally:
        loop.cancel()
        await asyncio.wait([loop])


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """For the whole module: a server takes a quarter of a second to stop, so tests share one."""
    return "asyncio"


@pytest.fixture(scope="module")
async def proxy(anyio_backend: str) -> AsyncIterator[Proxy]:
    async with started(Settings(engine="http://engine")) as proxy:
        yield proxy


@pytest.fixture(scope="module")
async def cramped(anyio_backend: str) -> AsyncIterator[Proxy]:
    """One without room for anything more."""
    async with started(Settings(engine="http://engine"), simulation_limit=1, agent_limit=1) as proxy:
        now = proxy.runtime.now()
        proxy.runtime.post(CallStarted(now, CallId(1), CALLING, AgentName("Ann"), EngineId("fake")))
        yield proxy


@pytest.fixture(scope="module")
async def locked(anyio_backend: str) -> AsyncIterator[Proxy]:
    """One that wants a key."""
    settings = Settings(engine="http://engine", admin_keys=("first-key", "second-key"))
    async with started(settings) as proxy:
        yield proxy


@pytest.fixture
async def told(anyio_backend: str) -> AsyncIterator[Proxy]:
    """All that examples name is there: the simulation town with its agents, and the engine engine-0, which does all."""
    adapter = FakeAdapter("http://127.0.0.1:30000", engine="engine-0")
    more = {"load_kv_prefix", "load_lora", "adapters", "fetch_adapters", "warm_up"}
    adapter.capabilities = replace(EXTENDED, features=EXTENDED.features | more, adapter_slots=8)
    pools = tuple(Pool(kind, frozenset({kind}), 1000, 500) for kind in (KV_PREFIX, LORA))
    memories = {
        MemoryId(KV_PREFIX, "town/Ann"): MemoryReport(100, 0),
        MemoryId(LORA, "pirate"): MemoryReport(9, 0),
    }
    adapter.next_report = EngineReport("boot-1", False, frozenset(), 0, 1000, pools, memories)
    async with started(Settings(engine="http://engine"), adapter) as proxy:
        await adapter.until(lambda _: proxy.controller.engines()[0].pools)
        for agent in ("Ann", "Bob", "Cleo", "Eve"):
            proxy.call(SimulationId("town"), agent, engine="engine-0")
        yield proxy

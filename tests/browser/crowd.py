"""Ten thousand agents in a minute of nobody's time: calls are told to the core as the relay would tell them, and an engine
that is none reports what it was ordered to keep."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import httpx

from scalesim.engine_adapters.base import Fence
from scalesim.proxy.admin import create_admin
from scalesim.proxy.admin.operations import Operations
from scalesim.proxy.core.actions import Action, Load, Order
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import CallEnded, CallStarted, DistanceHinted, ModeSet
from scalesim.proxy.core.model import (
    KV_PREFIX,
    AgentName,
    CallId,
    Clock,
    EngineId,
    EngineReport,
    LoadResult,
    LoadState,
    MemoryId,
    MemoryReport,
    Mode,
    Outcome,
    Pool,
    SimulationId,
    Usage,
    owner_of,
)
from scalesim.proxy.recognition.ladder import Ladder, Recognised
from scalesim.proxy.runtime import Runtime
from scalesim.proxy.settings import Settings
from tests.proxy.admin.conftest import Nothing, Proxy, fleet_of
from tests.support.fake_adapter import EXTENDED, FakeAdapter
from tests.support.serve import serve

from .town import names

CITY = SimulationId("city")
TOKENS = 1_000
"""Of each agent's memory."""
BYTES = TOKENS * 131_072
FEATURES = EXTENDED.features | {"load_kv_prefix", "host_copy"}


class _Keeping(FakeAdapter):
    """Holds whoever stands first in its last order, and all others in host memory."""

    def __init__(self, room: int) -> None:
        super().__init__(engine="gpu-0")
        self.capabilities = replace(EXTENDED, features=FEATURES, capacity_tokens=room * TOKENS)
        self.room = room
        self.held_owners: dict[str, None] = {}
        self.called: dict[str, None] = {}
        self.ranks: dict[str, int] = {}
        """By its last order."""

    def used(self, owner: str) -> None:
        self.called[owner] = None
        self._take(owner)

    def _take(self, owner: str) -> None:
        self.held_owners.pop(owner, None)
        self.held_owners[owner] = None
        if len(self.held_owners) > self.room:
            far = sorted(self.held_owners, key=lambda one: -self.ranks.get(one, 10**9))
            for victim in far[: max(1, self.room // 100)]:
                del self.held_owners[victim]

    async def carry_out(self, action: Action, fence: Fence) -> LoadResult | None:
        await super().carry_out(action, fence)
        self.actions.clear()
        if isinstance(action, Order):
            self.ranks = {owner: rank for rank, (owner, _) in enumerate(action.distances)}
        if isinstance(action, Load):
            await asyncio.sleep(0.2)
            self._take(action.memory.key)
            return LoadResult(LoadState.LOADED, BYTES)
        return None

    async def report(self) -> EngineReport:
        self._check_up()
        memories = {
            MemoryId(KV_PREFIX, owner): MemoryReport(
                *((BYTES, 0) if owner in self.held_owners else (0, BYTES))
            )
            for owner in self.called
            if owner in self.held_owners or owner in self.ranks
        }
        held = len(self.held_owners)
        return EngineReport(
            boot_id="boot-1",
            plan_in_force=True,
            pinned_owners=frozenset(),
            pinned_tokens=0,
            capacity_tokens=self.room * TOKENS,
            pools=(Pool("kv", frozenset({KV_PREFIX}), self.room * BYTES, max(0, self.room - held) * BYTES),),
            memories=memories,
        )


class Crowd:
    def __init__(self, proxy: Proxy, adapter: _Keeping, agents: int, calls_per_s: float) -> None:
        self.proxy = proxy
        self.adapter = adapter
        self.agents = [AgentName(name) for name in names(agents)]
        self.calls_per_s = calls_per_s
        self._random = Random(1)
        self._numbers = iter(range(1, 10**9))

    def begin(self, agent: AgentName) -> CallId:
        call = CallId(next(self._numbers))
        self.proxy.runtime.post(CallStarted(self.proxy.runtime.now(), call, CITY, agent, EngineId("gpu-0")))
        return call

    def end(self, call: CallId, agent: AgentName) -> None:
        owner = owner_of(CITY, agent)
        cached = TOKENS - 80 if owner in self.adapter.held_owners else 0
        self.adapter.used(owner)
        self.proxy.runtime.post(
            CallEnded(self.proxy.runtime.now(), call, Outcome.DONE, Usage(TOKENS - 20, cached, 20))
        )

    async def settle(self) -> None:
        """Everybody has called once."""
        self.proxy.runtime.post(ModeSet(self.proxy.runtime.now(), CITY, Mode.ON))
        for number, agent in enumerate(self.agents):
            self.end(self.begin(agent), agent)
            self._recognise(agent)
            if number % 50 == 0:
                await asyncio.sleep(0)

    def _recognise(self, agent: AgentName) -> None:
        """As if two in five had been found in their prompts."""
        callers = self.proxy.callers
        is_found = self._random.random() < 0.4
        callers.named["recipe:oasis" if is_found else "X-Agent-ID"] += 1
        if is_found:
            confidence = min(0.99, self._random.gauss(0.93, 0.05))
            callers._callers[CITY, agent] = Recognised(
                CITY, agent, "recipe:oasis", confidence, why="its name stands in the system message"
            )

    async def live(self, call_s: float = 1.5) -> None:
        """Until cancelled: calls, each told of shortly before; most agents come back at about the same rate, some seldom."""
        loop, post, now = asyncio.get_running_loop(), self.proxy.runtime.post, self.proxy.runtime.now
        usual = len(self.agents) / self.calls_per_s
        queue = [(loop.time() + self._random.uniform(0, usual * 2), agent) for agent in self.agents]
        heapq.heapify(queue)
        for first in range(0, len(queue), 50):
            told = {agent: max(0.0, at - loop.time()) for at, agent in queue[first : first + 50]}
            post(DistanceHinted(now(), CITY, Clock.SECONDS, told))
            await asyncio.sleep(0)
        running: deque[tuple[float, CallId, AgentName]] = deque()
        while True:
            while running and running[0][0] <= loop.time():
                _, call, agent = running.popleft()
                self.end(call, agent)
                after = (
                    self._random.choice((0.02, 0.1, 0.5, 1.0, 2.4)) * usual * self._random.uniform(0.6, 1.4)
                )
                heapq.heappush(queue, (loop.time() + after, agent))
                post(DistanceHinted(now(), CITY, Clock.SECONDS, {agent: after}))
            while queue[0][0] <= loop.time():
                _, agent = heapq.heappop(queue)
                running.append((loop.time() + call_s, self.begin(agent), agent))
            await asyncio.sleep(0.02)


@asynccontextmanager
async def crowd(agents: int, calls_per_s: float, *, room: float = 0.3) -> AsyncIterator[Crowd]:
    adapter, clock = _Keeping(int(agents * room)), time.monotonic
    settings = Settings(engine="http://engine")
    controller = Controller(ControllerConfig(mode=settings.mode))
    runtime = Runtime(controller, [], clock, report_every_s=0.5, health=lambda: fleet)
    fleet = fleet_of(runtime, adapter)
    loop = asyncio.create_task(runtime.run())
    callers = Ladder()
    operations = Operations(clock)
    app = create_admin(
        runtime, controller, Nothing(), callers, settings, clock, fleet=fleet, operations=operations
    )
    try:
        async with operations, serve(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
            await runtime.looked()
            yield Crowd(
                Proxy(client, controller, runtime, adapter, callers, fleet, operations, app),
                adapter,
                agents,
                calls_per_s,
            )
    finally:
        loop.cancel()
        await asyncio.wait([loop])

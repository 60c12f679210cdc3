"""How long the proxy's loop is held: the real runtime and the real admin API on one real loop, while agents act and distances
of all of them arrive at once over HTTP.

Steps last five seconds: in each of them as many agents call as in a step of any length, so that more happens in a second
than an engine could ever serve. The data plane is left out; calls are told to the runtime as it tells them, one by one, with a
turn for everybody else in between."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count

import uvicorn
from starlette.types import ASGIApp

from scalesim.proxy.admin import create_admin
from scalesim.proxy.core.actions import Action
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import CallEnded, CallStarted, Event, StepTicked, Ticked
from scalesim.proxy.core.model import AgentName, CallId, Clock, Outcome, owner_of
from scalesim.proxy.core.placement import DEFAULT, find
from scalesim.proxy.core.placer import Placer
from scalesim.proxy.core.snapshot import EngineSnapshot
from scalesim.proxy.engines.breaker import Breakers
from scalesim.proxy.engines.fleet import Fleet
from scalesim.proxy.engines.models import Models
from scalesim.proxy.engines.registry import Address, Registry
from scalesim.proxy.recognition.ladder import Ladder
from scalesim.proxy.runtime import Runtime
from scalesim.proxy.settings import Settings

from .core import ROUND_S, TOWN, USAGE, begin
from .crowd import Crowd
from .engine import ENGINE, Engine

STEP_S = 5.0
CALL_S = 0.3
BEAT_S = 0.001
WARM_UP_S = 1.0
AGENTS_A_LINE = 100
PATH = f"/admin/v1/simulations/{TOWN}/distances"


class BulkRefused(Exception):
    """The proxy did not take the distances of all agents."""


@dataclass(slots=True)
class Held:
    lags_ms: list[float] = field(default_factory=list)
    """For each millisecond: how long whoever had come then would have waited for the loop."""
    longest_ms: dict[str, float] = field(default_factory=dict)
    """By kind of event: the longest that the core was at one of them."""
    collection_ms: float = 0.0
    """The longest that the garbage collector took."""
    tick_gaps_ms: list[tuple[float, float]] = field(default_factory=list)
    """When a round of planning began (in seconds), and how much later that was than it may be after the one before."""
    bulk: tuple[float, float] = (0.0, 0.0)
    """When the bulk update was sent, and answered."""
    bulk_s: float = 0.0
    """From its first byte to the answer."""
    calls: int = 0

    def tick_delays_ms(self, *, during_bulk: bool) -> list[float]:
        began, ended = self.bulk
        return [gap for at, gap in self.tick_gaps_ms if (began <= at <= ended + ROUND_S) is during_bulk]


class _Timed:
    """The core, with a note of what took longest."""

    def __init__(self, core: Controller, held: Held) -> None:
        self._core = core
        self._longest = held.longest_ms

    @property
    def dirty(self) -> bool:
        return self._core.dirty

    @property
    def behind(self) -> bool:
        return self._core.behind

    @property
    def planning(self) -> bool:
        return self._core.planning

    def handle(self, event: Event) -> list[Action]:
        began = time.perf_counter()
        actions = self._core.handle(event)
        spent_ms = (time.perf_counter() - began) * 1e3
        kind = type(event).__name__
        if spent_ms > self._longest.get(kind, 0.0):
            self._longest[kind] = spent_ms
        return actions

    def engines(self) -> list[EngineSnapshot]:
        return self._core.engines()


class _Nothing:
    def sizes(self) -> Mapping[str, int]:
        return {}


async def held(agents: int, active: int, seed: int, seconds: float) -> Held:
    """Raises `BulkRefused`."""
    found = Held()
    clock = time.monotonic
    controller, engine = Controller(ControllerConfig()), Engine()
    ticks: deque[float] = deque(maxlen=1)

    def heard(event: Event) -> None:
        if isinstance(event, Ticked):
            if ticks:
                late_s = event.at - ticks[-1] - ROUND_S
                found.tick_gaps_ms.append((event.at, max(0.0, late_s) * 1e3))
            ticks.append(event.at)

    runtime = Runtime(
        _Timed(controller, found), [], clock, tick_s=ROUND_S, report_every_s=0.5, listener=heard
    )
    fleet = Fleet(
        registry=Registry(),
        models=Models(),
        breakers=Breakers(),
        placer=Placer(find(DEFAULT)),
        adapter_for=lambda _: engine,
        lines=runtime,
    )
    settings = Settings(engine="http://bench")
    fleet.add(Address(ENGINE, settings.engine), clock())
    crowd = Crowd(agents, active, seed)
    begin(crowd, controller.handle, clock())
    body = _body(crowd.distances())
    app = create_admin(runtime, controller, _Nothing(), Ladder(), settings, clock, fleet=fleet)
    async with asyncio.TaskGroup() as tasks, _serving(app) as url:
        running = [
            tasks.create_task(runtime.run()),
            tasks.create_task(_beat(found.lags_ms)),
            tasks.create_task(_traffic(crowd, runtime, engine, found)),
        ]
        await runtime.looked()
        await asyncio.sleep(WARM_UP_S)
        # What came before is the start, of which nothing is promised.
        found.lags_ms.clear()
        found.longest_ms.clear()
        found.tick_gaps_ms.clear()
        found.calls = 0
        with _collections(found):
            await asyncio.sleep(seconds / 2)
            began = clock()
            found.bulk_s, refusal = await _upload(url, body)
            found.bulk = began, clock()
            await asyncio.sleep(seconds / 2)
        for task in running:
            task.cancel()
    if refusal:
        raise BulkRefused(f"the bulk update was answered with {refusal}")
    return found


def _body(distances: Mapping[AgentName, float]) -> bytes:
    entries = iter(distances.items())
    lines = []
    while line := [entry for entry, _ in zip(entries, range(AGENTS_A_LINE), strict=False)]:
        lines.append(json.dumps({"unit": "steps", "distances": dict(line)}))
    return "\n".join(lines).encode()


async def _traffic(crowd: Crowd, runtime: Runtime, engine: Engine, found: Held) -> None:
    """Steps, and the calls in them, evenly spread. What cannot keep its time is made up for."""
    clock = time.monotonic
    calls = map(CallId, count())
    running: deque[tuple[float, CallId, AgentName, float]] = deque()
    begins = clock()
    while True:
        runtime.post(StepTicked(clock(), TOWN))
        callers = crowd.next_step()
        for number, (name, acts_for) in enumerate(callers):
            due = begins + STEP_S * number / len(callers)
            if (now := clock()) < due:
                await asyncio.sleep(due - now)
                now = clock()
            while running and running[0][0] <= now:
                _, ended, whose, acts = running.popleft()
                runtime.post(CallEnded(now, ended, Outcome.DONE, USAGE, (acts, Clock.STEPS)))
                engine.use(owner_of(TOWN, whose))
                await asyncio.sleep(0)
            call = next(calls)
            runtime.post(CallStarted(now, call, TOWN, name, ENGINE))
            running.append((now + CALL_S, call, name, acts_for))
            found.calls += 1
            await asyncio.sleep(0)
        begins += STEP_S
        await asyncio.sleep(max(0.0, begins - clock()))


async def _beat(lags_ms: list[float]) -> None:
    """Never sleeps, since timers are no better than a millisecond; and a moment that was missed counts as well, or the
    longest waits would count least."""
    clock = time.perf_counter
    due = clock() + BEAT_S
    while True:
        await asyncio.sleep(0)
        now = clock()
        while due <= now:
            lags_ms.append((now - due) * 1e3)
            due += BEAT_S


async def _upload(url: str, body: bytes) -> tuple[float, str]:
    """The seconds it took, and what was answered if it was not taken."""
    sender = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "scalesim.workloads.bench_core.upload", url, PATH),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await sender.communicate(body)
    first, _, rest = said.decode().partition("\n")
    status, _, seconds = first.partition(" ")
    if status != "200":
        return 0.0, f"{status or 'nothing'}: {rest.strip()}"
    return float(seconds), ""


@asynccontextmanager
async def _serving(app: ASGIApp) -> AsyncIterator[str]:
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off", access_log=False)
    )
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        await server.shutdown()


@contextmanager
def _collections(found: Held) -> Iterator[None]:
    began = 0.0

    def noted(phase: str, _: Mapping[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        else:
            found.collection_ms = max(found.collection_ms, (time.perf_counter() - began) * 1e3)

    gc.callbacks.append(noted)
    try:
        yield
    finally:
        gc.callbacks.remove(noted)

"""The one impure loop: events go to the core at once, its actions go to the engines behind.

`post` is `def`: it hands an event to the core and returns, whatever the engines do. Everything that waits runs in
`run()`: one planner, and per engine a sender that carries actions out one after another and a watcher that finds,
looks at and loses the engine.

One proxy commands one engine: whoever started last has the higher fence token and the engine refuses all others.
Leases that let several proxies share the command do not exist yet.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from scalesim.engine_adapters.base import (
    EngineAdapter,
    EngineError,
    EngineRefused,
    EngineUnreachable,
    Fence,
    FenceLost,
)

from .core.actions import Action, Order, Renew
from .core.events import EngineFound, EngineLost, Event, Reported, Settled, Ticked
from .core.model import Capabilities, EngineId, EngineReport
from .engine_status import EngineStatus, describe

log = logging.getLogger(__name__)

DEADLINE_S = 20.0
"""For one control call. A busy engine answers between two of its steps, and its plugin gives it 15 s for that: who asks
must wait longer, or takes a busy engine for a lost one."""
RENEW_S = 1.0
"""A plan is made at least this often, so that what ages is renewed and what is overdue decays."""
WAITING_LIMIT = 256
"""Actions that wait for one engine; those beyond it fail at once, and the next plan asks for them again."""
RESTART_S = 1.0
"""Before a part of the loop that failed runs again."""


class Core(Protocol):
    """What the loop needs of the controller."""

    @property
    def dirty(self) -> bool:
        """Something happened since the last plan that the next one may answer."""
        ...

    def handle(self, event: Event) -> list[Action]: ...


@dataclass(slots=True)
class _Line:
    """What the loop knows of one engine."""

    adapter: EngineAdapter
    since: float
    waiting: deque[Action] = field(default_factory=deque)
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    doubted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a control call got no answer: the watcher then looks at once."""
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the first probe has ended, well or not."""
    up: bool = False
    commanded: bool = True
    capabilities: Capabilities | None = None
    report: EngineReport | None = None
    sequence: int = 0
    problem: str = "not found yet"


class Runtime:
    """Owns the only reference through which events reach `core`. All of it runs on one event loop."""

    def __init__(
        self,
        core: Core,
        adapters: Iterable[EngineAdapter],
        clock: Callable[[], float] = time.monotonic,
        *,
        tick_s: float = 0.05,
        report_every_s: float = 1.0,
        probe_every_s: float = 2.0,
        fence_token: int | None = None,
        deadline_s: float = DEADLINE_S,
        renew_s: float = RENEW_S,
    ) -> None:
        """`clock` never goes back. `fence_token` defaults to the milliseconds of the wall clock now, so a proxy that
        was started anew outranks the one it replaces."""
        self.fence_token = time.time_ns() // 1_000_000 if fence_token is None else fence_token
        self.plans = 0
        self.planning_s = 0.0
        self.actions: Counter[tuple[str, str]] = Counter()
        """By kind and result: done, refused, fenced, unreachable, timeout, failed, superseded, dropped."""
        self.failures: Counter[str] = Counter()
        """Programming errors that were survived, by place."""
        self._core = core
        self._clock = clock
        self._tick_s = tick_s
        self._report_every_s = report_every_s
        self._probe_every_s = probe_every_s
        self._deadline_s = deadline_s
        self._renew_s = renew_s
        self._lines = {one.engine: _Line(one, since=clock()) for one in adapters}
        self._woken = asyncio.Event()
        self._overdue: deque[Settled] = deque()

    def post(self, event: Event) -> None:
        """Never raises and never waits: a request must not fail because the core did."""
        try:
            for action in self._core.handle(event):
                self._enqueue(action)
            if self._core.dirty:
                self._woken.set()
        except Exception:  # noqa: BLE001  the task runner of the core: the data path goes on without it
            self._survived(f"core on {type(event).__name__}")

    def now(self) -> float:
        return self._clock()

    def engines(self) -> tuple[EngineStatus, ...]:
        return tuple(
            EngineStatus(
                engine=engine,
                base_url=line.adapter.base_url,
                up=line.up,
                since=line.since,
                commanded=line.commanded,
                capabilities=line.capabilities,
                report=line.report,
                waiting=len(line.waiting),
                problem=line.problem,
            )
            for engine, line in self._lines.items()
        )

    def features(self, engine: EngineId) -> frozenset[str]:
        """What the engine could do when it was last found; nothing before that.

        Also while it is lost: it may only be busy, and then its calls still want their owners and their abort ids. An
        engine that knows neither by now ignores them.
        """
        found = self._lines[engine].capabilities
        return found.features if found else frozenset()

    def sizes(self) -> Mapping[str, int]:
        return {
            "actions_waiting": sum(len(line.waiting) for line in self._lines.values()),
            "settled_waiting": len(self._overdue),
        }

    async def looked(self) -> None:
        """Returns once every engine was asked what it is, whether it answered or not. Needs `run`."""
        for line in self._lines.values():
            await line.looked.wait()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._kept_running("planner", self._plan))
            for engine, line in self._lines.items():
                tasks.create_task(self._kept_running(f"sender of {engine}", partial(self._send, line)))
                tasks.create_task(self._kept_running(f"watcher of {engine}", partial(self._watch, line)))

    async def _kept_running(self, place: str, part: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await part()
            except Exception:  # noqa: BLE001  the task runner
                self._survived(place)
            await asyncio.sleep(RESTART_S)

    def _survived(self, place: str) -> None:
        """With the traceback, but a failure that comes with every request must not fill the disk."""
        self.failures[place] += 1
        count = self.failures[place]
        if count & (count - 1) == 0:
            log.exception("%s failed (seen %d times); going on", place, count)

    async def _plan(self) -> None:
        while True:
            await _set_within(self._woken, self._renew_s)
            self._woken.clear()
            while self._overdue:
                self.post(self._overdue.popleft())
            began = time.perf_counter()
            self.post(Ticked(self._clock()))
            self.planning_s += time.perf_counter() - began
            self.plans += 1
            await asyncio.sleep(self._tick_s)

    def _enqueue(self, action: Action) -> None:
        line = self._lines.get(action.engine)
        if line is None or not line.up or not line.commanded:
            self._fail_later(action, "dropped", "the engine is not commanded now")
            return
        if isinstance(action, Order | Renew):
            # Full state: what still waits of it is out of date. At most one of each kind does.
            for waiting in line.waiting:
                if type(waiting) is type(action):
                    line.waiting.remove(waiting)
                    self._fail_later(waiting, "superseded", "a later one took its place before it was sent")
                    break
        if len(line.waiting) >= WAITING_LIMIT:
            self._fail_later(action, "dropped", "too many actions wait for this engine")
            return
        line.waiting.append(action)
        line.filled.set()

    def _fail_later(self, action: Action, result: str, why: str) -> None:
        """Told to the core by the planner: told at once, it could ask again at once, without end."""
        self.actions[_kind(action), result] += 1
        self._overdue.append(Settled(self._clock(), action, why))
        self._woken.set()

    async def _send(self, line: _Line) -> None:
        while True:
            while not line.waiting:
                line.filled.clear()
                await line.filled.wait()
            action = line.waiting.popleft()
            try:
                result, error = await self._carry_out(line, action)
            except Exception:  # noqa: BLE001  the task runner: the core must hear of every action, whatever broke
                self._survived(f"adapter of {action.engine} on {_kind(action)}")
                result, error = "failed", "the adapter failed; the log says how"
            self.actions[_kind(action), result] += 1
            self.post(Settled(self._clock(), action, error))
            if result == "fenced":
                self._give_up_command(line, error or "")

    async def _carry_out(self, line: _Line, action: Action) -> tuple[str, str | None]:
        fence = Fence(self.fence_token, line.sequence)
        line.sequence += 1
        try:
            async with asyncio.timeout(self._deadline_s):
                await line.adapter.carry_out(action, fence)
        except TimeoutError:
            line.problem = f"{_kind(action)}: no answer within {self._deadline_s:g} s"
            return "timeout", line.problem
        except FenceLost as exc:
            return "fenced", str(exc)
        except EngineUnreachable as exc:
            line.doubted.set()
            return "unreachable", str(exc)
        except EngineError as exc:
            line.problem = f"{_kind(action)}: {exc}"
            return "refused", str(exc)
        if line.up and line.commanded:
            line.problem = ""
        return "done", None

    def _give_up_command(self, line: _Line, why: str) -> None:
        if not line.commanded:
            return
        line.commanded = False
        line.problem = "another proxy commands this engine; start this one anew to take over"
        log.error(
            "%s is commanded by another proxy (%s). This one serves on, but no longer decides what stays in its "
            "cache. Run one proxy per engine, or start this one anew to take over.",
            line.adapter.engine,
            why,
        )
        self._clear(line, line.problem)
        if line.up and line.capabilities is not None:
            # For the core it is from now on an engine that can do nothing.
            self.post(EngineLost(self._clock(), line.adapter.engine, line.problem))
            self._found(line, line.capabilities)

    def _clear(self, line: _Line, why: str) -> None:
        while line.waiting:
            self._fail_later(line.waiting.popleft(), "dropped", why)

    async def _watch(self, line: _Line) -> None:
        while True:
            line.doubted.clear()
            found = await self._probe(line)
            if isinstance(found, str):
                self._lost(line, found)
                line.looked.set()
                await asyncio.sleep(self._probe_every_s)
                continue
            if line.up and line.capabilities != found:
                self._lost(line, "it was started anew")
            if not line.up:
                self._found(line, found)
            line.looked.set()
            await self._look_until_in_doubt(line, found)

    async def _probe(self, line: _Line) -> Capabilities | str:
        """What the engine is, or why nobody knows."""
        try:
            async with asyncio.timeout(self._deadline_s):
                return await line.adapter.probe()
        except TimeoutError:
            return f"no answer within {self._deadline_s:g} s"
        except EngineError as exc:
            return str(exc)

    async def _look_until_in_doubt(self, line: _Line, found: Capabilities) -> None:
        """Returns when a probe must say what the engine is now."""
        reports = "residency" in found.features
        while True:
            await _set_within(line.doubted, self._report_every_s if reports else self._probe_every_s)
            if line.doubted.is_set() or not reports:
                return
            try:
                async with asyncio.timeout(self._deadline_s):
                    report = await line.adapter.report()
            except EngineRefused:
                reports = False
                continue
            except (TimeoutError, EngineError):
                return
            if report.boot_id != found.boot_id:
                return
            line.report = report
            self.post(Reported(self._clock(), line.adapter.engine, report))

    def _found(self, line: _Line, capabilities: Capabilities) -> None:
        """Without the command an engine is, for the core, one that can do nothing."""
        if not line.up:
            line.up, line.since = True, self._clock()
        line.capabilities = capabilities
        if line.commanded:
            line.problem = capabilities.reason
        else:
            capabilities = replace(capabilities, extended=False, features=frozenset(), reason=line.problem)
        engine = line.adapter.engine
        log.info("%s found: %s", engine, describe(capabilities))
        self.post(EngineFound(self._clock(), engine, capabilities))

    def _lost(self, line: _Line, why: str) -> None:
        if line.commanded:
            line.problem = why
        if not line.up:
            return
        line.up, line.since, line.report = False, self._clock(), None
        engine = line.adapter.engine
        log.warning("%s lost: %s", engine, why)
        self._clear(line, "the engine is lost")
        self.post(EngineLost(self._clock(), engine, why))


def _kind(action: Action) -> str:
    return type(action).__name__.lower()


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    """Returns when the event is set, at the latest after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

"""The one impure loop: events go to the core at once, its actions go to the engines behind.

`post` is `def`: it hands an event to the core and returns, whatever the engines do. Everything that waits runs in
`run()`: one planner, and per engine a dispatch that carries actions out and a watcher that finds, looks at and loses
the engine. Engines come and go while it runs.

One proxy commands one engine: whoever started last has the higher fence token and the engine refuses all others. Of
several that share a lease, its holder commands: then the token is the lease's (`take`), and without it (`release`)
engines are watched, and the core knows of none.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ParamSpec, Protocol, TypeVar

from scalesim.engine_adapters.base import EngineAdapter, EngineError, EngineRefused

from .action_log import ActionLog
from .core.actions import Action, Load
from .core.events import (
    CallEnded,
    CallSent,
    CallStarted,
    EngineFound,
    EngineLost,
    EngineRemoved,
    Event,
    Idled,
    Reported,
    Settled,
    Ticked,
)
from .core.model import Capabilities, EngineId, EngineReport
from .core.snapshot import EngineSnapshot
from .dispatch import Dispatch, Outcome, WarmUp, kind_of
from .engine_status import EngineStatus, LoadTotal, describe
from .histogram import MOMENTS, WAITS, Histogram

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

DEADLINE_S = 20.0
"""For one control call. A busy engine answers between two of its steps, and its plugin gives it 15 s for that: who asks
must wait longer, or takes a busy engine for a lost one."""
RENEW_S = 1.0
"""A plan is made at least this often, so that what ages is renewed and what is overdue decays."""
PIECE_EVERY_S = 0.001
"""From one piece to the next of what the core works out beside its plans; a piece takes about half of it."""
RESTART_S = 1.0
"""Before a part of the loop that failed runs again."""
_OF_CALLS = frozenset({CallStarted, CallSent, CallEnded})
"""No listener is told of these: they are too many, and nobody but the core has anything to do for them."""
MODELS_EVERY_S = 30.0
"""An engine is asked so often what it serves: adapters come and go."""
STRANGERS_EVERY_S = 5.0
"""The core's engines are looked through so often for those that are not there."""


class Core(Protocol):
    """What the loop needs of the controller."""

    @property
    def dirty(self) -> bool:
        """Something happened since the last plan that the next one may answer."""
        ...

    @property
    def behind(self) -> bool:
        """It left something for an `Idled`."""
        ...

    @property
    def planning(self) -> bool:
        """A plan is among that."""
        ...

    def handle(self, event: Event) -> list[Action]: ...

    def engines(self) -> Sequence[EngineSnapshot]: ...


class Health(Protocol):
    """Who is told how engines are, besides the core."""

    def answered(self, engine: EngineId, boot_id: str | None, capacity_tokens: int | None, at: float) -> None:
        """At every look."""
        ...

    def silent(self, engine: EngineId, at: float, why: str) -> None: ...

    def listed(self, engine: EngineId, cards: Sequence[object]) -> None:
        """What it serves: before it first answered, if it says so then."""
        ...

    def unlisted(self, engine: EngineId, why: str) -> None:
        """It will not say what it serves."""
        ...


class Lease(Protocol):
    """By which several proxies agree on who commands."""

    def may_command(self) -> bool:
        """Asked right before each command."""
        ...

    def outranked(self, token: int | None) -> None:
        """An engine has seen a higher token: that one, if it says so."""
        ...


class _Nobody:
    def answered(
        self, engine: EngineId, boot_id: str | None, capacity_tokens: int | None, at: float
    ) -> None: ...

    def silent(self, engine: EngineId, at: float, why: str) -> None: ...

    def listed(self, engine: EngineId, cards: Sequence[object]) -> None: ...

    def unlisted(self, engine: EngineId, why: str) -> None: ...


@dataclass(slots=True, eq=False)
class _Line:
    """What the loop knows of one engine."""

    adapter: EngineAdapter
    dispatch: Dispatch
    since: float
    doubted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a control call got no answer: the watcher then looks at once."""
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the first probe has ended, well or not."""
    up: bool = False
    commanded: bool = True
    capabilities: Capabilities | None = None
    report: EngineReport | None = None
    problem: str = "not found yet"
    models_due: float = -math.inf
    """When it is to be asked what it serves."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


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
        warm_up: WarmUp | None = None,
        listener: Callable[[Event], None] | None = None,
        health: Callable[[], Health] | None = None,
        lease: Callable[[], Lease] | None = None,
        action_log: ActionLog | None = None,
    ) -> None:
        """`clock` never goes back. `fence_token` defaults to the milliseconds of the wall clock now, so a proxy that
        was started anew outranks the one it replaces. `listener` is told each event after the core, but for those of
        calls; whom `health` gives hears how engines are (a function, as both know each other). With a `lease` nothing is
        commanded until `take`. `action_log` is told of each action and its end."""
        self.fence_token = _wall_ms() if fence_token is None else fence_token
        self._has_own_token = fence_token is None and lease is None
        self._lease = lease
        self._commands = lease is None
        self.plans = 0
        self.planning_s = 0.0
        self.rounds = Histogram(MOMENTS)
        """Seconds that a round of the planner took, without the turns of others between its pieces."""
        self.load_times: dict[str, Histogram] = {}
        """Seconds of loads ahead that were carried out, by kind of memory."""
        self.actions: Counter[tuple[str, str]] = Counter()
        """By kind and result: done, refused, fenced, unreachable, timeout, failed, superseded, dropped."""
        self.loads: dict[tuple[str, str], LoadTotal] = {}
        """By kind of memory, and state or (for what failed) result."""
        self.failures: Counter[str] = Counter()
        """Programming errors that were survived, by place."""
        self._core = core
        self._clock = clock
        self._tick_s = tick_s
        self._report_every_s = report_every_s
        self._probe_every_s = probe_every_s
        self._deadline_s = deadline_s
        self._renew_s = renew_s
        self._warm_up = warm_up
        self._listener = self.guarded("listener", listener) if listener else None
        self._overhearing: tuple[Callable[[Event], object], ...] = ()
        self._health: Callable[[], Health] = health or _Nobody
        self._log_asked = None if action_log is None else self.guarded("action log", action_log.asked)
        self._log_ended = None if action_log is None else self.guarded("action log", action_log.ended)
        self._tasks: asyncio.TaskGroup | None = None
        self._lines = {one.engine: self._line(one) for one in adapters}
        self._leaving: set[EngineId] = set()
        """Removed, and not yet to be forgotten: whoever removed them says when."""
        self._strangers_due = -math.inf
        self._woken = asyncio.Event()
        self._overdue: deque[Settled] = deque()

    def _line(self, adapter: EngineAdapter) -> _Line:
        def ended(action: Action, outcome: Outcome) -> None:
            self._ended(line, action, outcome)

        dispatch = Dispatch(
            adapter,
            self.fence_token,
            is_outranked_by=self._is_outranked_by,
            clock=self._clock,
            deadline_s=self._deadline_s,
            warm_up=self._warm_up,
            ended=ended,
            refused=self._fail_later,
            survived=self._survived,
            may_command=self._may_command,
        )
        line = _Line(adapter, dispatch, since=self._clock(), commanded=self._commands)
        return line

    def _may_command(self) -> bool:
        return self._lease is None or self._lease().may_command()

    def take(self, token: int) -> None:
        """Commands from now on, with that fence."""
        self.fence_token, self._commands = token, True
        self.forget_strangers()
        for line in self._lines.values():
            line.dispatch.fence(token)
            line.commanded = True
            if line.up and line.capabilities is not None:
                self._found(line, line.capabilities)

    def release(self, why: str) -> None:
        """Commands nothing any more: for the core all engines are lost."""
        self._commands = False
        for line in self._lines.values():
            line.commanded = False
            line.dispatch.clear(why)
            if line.up:
                self.post(EngineLost(self._clock(), line.adapter.engine, why))

    def add_engine(self, adapter: EngineAdapter) -> None:
        """It is looked for from now on. Raises `ValueError` for a name that is taken."""
        if adapter.engine in self._lines:
            raise ValueError(f"there is an engine {adapter.engine!r} already")
        self._leaving.discard(adapter.engine)
        line = self._lines[adapter.engine] = self._line(adapter)
        if self._tasks is not None:
            self._begin(line, self._tasks)

    def remove_engine(self, engine: EngineId) -> None:
        """Nothing more is asked of it, and what waits for it ends. Calls may still run there: until `forget_engine` the core
        knows it as lost."""
        line = self._lines.get(engine)
        if line is None:
            return
        self._lost(line, "it was removed")
        del self._lines[engine]
        self._leaving.add(engine)
        line.looked.set()  # nobody waits for what will not come
        for task in line.tasks:
            task.cancel()

    def forget_engine(self, engine: EngineId) -> None:
        """The last call there has ended."""
        self._leaving.discard(engine)
        self.post(EngineRemoved(self._clock(), engine))

    def forget_strangers(self) -> None:
        """The core forgets engines that are not there: what another process knew, or another member tells, may be of some that
        were removed since. Those where calls still run are met again: who commands looks again and again."""
        self._strangers_due = self._clock() + STRANGERS_EVERY_S
        for known in self._core.engines():
            if known.id not in self._lines and known.id not in self._leaving and not known.running_calls:
                self.forget_engine(known.id)

    def doubt(self, engine: EngineId) -> None:
        """It did not answer somebody else: it is looked at, at once if it was thought to be up."""
        line = self._lines.get(engine)
        if line is not None:
            line.doubted.set()

    def _is_outranked_by(self, token: int) -> bool:
        """A time to come is nobody's start: the clock was set back since."""
        return not self._has_own_token or token <= _wall_ms()

    def post(self, event: Event) -> None:
        """Never raises and never waits: a request must not fail because the core did."""
        try:
            for action in self._core.handle(event):
                self._enqueue(action)
            # Whether a plan is due takes a look at every engine, and most events find the planner woken already.
            if not self._woken.is_set() and self._core.dirty:
                self._woken.set()
        except Exception:  # noqa: BLE001  the task runner of the core: the data path goes on without it
            self._survived(f"core on {type(event).__name__}")
        if self._listener is not None and type(event) not in _OF_CALLS:
            self._listener(event)
        for overheard in self._overhearing:
            overheard(event)

    def overhear(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """`listener` is told each event too, until what is returned is called: for those who look on for a while."""
        survivable = self.guarded("somebody who looks on", listener)
        self._overhearing = (*self._overhearing, survivable)

        def end() -> None:
            self._overhearing = tuple(one for one in self._overhearing if one is not survivable)

        return end

    def guarded(self, place: str, part: Callable[P, R]) -> Callable[P, R | None]:
        """`part`, so that what it should not raise is survived and logged: for what a request must not fail by."""

        def survivable(*args: P.args, **kwargs: P.kwargs) -> R | None:
            try:
                return part(*args, **kwargs)
            except Exception:  # noqa: BLE001  the task runner: the data path goes on without it
                self._survived(place)
                return None

        return survivable

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
                waiting=line.dispatch.waiting,
                loads=line.dispatch.loads,
                problem=line.problem,
            )
            for engine, line in self._lines.items()
        )

    def kind(self, engine: EngineId) -> str:
        """What it said to be when it was last found; empty before that."""
        line = self._lines.get(engine)
        return line.capabilities.kind if line and line.capabilities else ""

    def features(self, engine: EngineId) -> frozenset[str]:
        """What the engine could do when it was last found; nothing before that.

        Also while it is lost: it may only be busy, and then its calls still want their owners and their abort ids. An
        engine that knows neither by now ignores them.
        """
        line = self._lines.get(engine)
        return line.capabilities.features if line and line.capabilities else frozenset()

    def sizes(self) -> Mapping[str, int]:
        return {
            "actions_waiting": sum(line.dispatch.waiting for line in self._lines.values()),
            "settled_waiting": len(self._overdue),
            "load_tasks": sum(line.dispatch.loads for line in self._lines.values()),
            **(self._warm_up.sizes() if self._warm_up else {}),
        }

    async def looked(self) -> None:
        """Returns once every engine was asked what it is, whether it answered or not. Needs `run`."""
        for line in list(self._lines.values()):
            await line.looked.wait()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._kept_running("planner", self._plan))
            for line in self._lines.values():
                self._begin(line, tasks)
            self._tasks = tasks
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._tasks = None

    def _begin(self, line: _Line, tasks: asyncio.TaskGroup) -> None:
        engine = line.adapter.engine
        line.tasks = [
            tasks.create_task(self._kept_running(f"sender of {engine}", line.dispatch.run)),
            tasks.create_task(self._kept_running(f"watcher of {engine}", partial(self._watch, line))),
        ]

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
            if self._commands and self._clock() >= self._strangers_due:
                self.forget_strangers()
            before = self.planning_s
            self._think(Ticked(self._clock()))
            self.plans += 1
            await self._work_out(self._clock() + self._tick_s)
            self.rounds.note(self.planning_s - before)

    async def _work_out(self, until: float) -> None:
        """What the core left for later, in pieces with a turn for everybody else between any two. What is left when the
        next tick is due goes on after that."""
        while self._core.behind and self._clock() < until:
            # No plan waits for the rest of it, so requests go first.
            await asyncio.sleep(0 if self._core.planning else PIECE_EVERY_S)
            self._think(Idled(self._clock()))
        await asyncio.sleep(max(0.0, until - self._clock()))

    def _think(self, event: Ticked | Idled) -> None:
        """Has the core decide, and counts the time it takes."""
        began = time.perf_counter()
        self.post(event)
        self.planning_s += time.perf_counter() - began

    def _enqueue(self, action: Action) -> None:
        if self._log_asked is not None:
            self._log_asked(action)
        line = self._lines.get(action.engine)
        if line is None or not line.up or not line.commanded:
            self._fail_later(action, Outcome("dropped", "the engine is not commanded now"))
            return
        line.dispatch.put(action)

    def _fail_later(self, action: Action, outcome: Outcome) -> None:
        """Told to the core by the planner: told at once, it could ask again at once, without end."""
        self._count(action, outcome)
        self._overdue.append(Settled(self._clock(), action, outcome.error, outcome.load))
        self._woken.set()

    def _ended(self, line: _Line, action: Action, outcome: Outcome) -> None:
        self._count(action, outcome)
        match outcome.result:
            case "done" if line.up and line.commanded:
                line.problem = ""
            case "timeout":
                line.problem = outcome.error or ""
            case "refused":
                line.problem = f"{kind_of(action)}: {outcome.error}"
            case "unreachable":
                line.doubted.set()
        self.post(Settled(self._clock(), action, outcome.error, outcome.load, outcome.name_taken))
        if outcome.result == "fenced":
            if self._lease is None:
                self._give_up_command(line, outcome.error or "")
            elif self._commands:
                self._lease().outranked(outcome.outranked_by)

    def _count(self, action: Action, outcome: Outcome) -> None:
        self.actions[kind_of(action), outcome.result] += 1
        if self._log_ended is not None:
            self._log_ended(action, outcome)
        if isinstance(action, Load):
            state = outcome.load.state if outcome.load else outcome.result
            total = self.loads.setdefault((action.memory.kind, state), LoadTotal())
            total.count += 1
            total.seconds += outcome.seconds
            total.moved_bytes += outcome.load.moved_bytes if outcome.load else 0
            if outcome.result == "done" and outcome.seconds > 0:  # 0: it was never sent
                kind = action.memory.kind
                self.load_times.setdefault(kind, Histogram(WAITS)).note(outcome.seconds)

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
        line.dispatch.clear(line.problem)
        if line.up and line.capabilities is not None:
            # For the core it is from now on an engine that can do nothing.
            self.post(EngineLost(self._clock(), line.adapter.engine, line.problem))
            self._found(line, line.capabilities)

    async def _watch(self, line: _Line) -> None:
        engine = line.adapter.engine
        while True:
            line.doubted.clear()
            found = await self._probe(line)
            if isinstance(found, str):
                self._lost(line, found)
                self._health().silent(engine, self._clock(), found)
                line.looked.set()
                await asyncio.sleep(self._probe_every_s)
                continue
            if line.up and line.capabilities != found:
                # To the core both are the same: what is believed to be there may not be.
                self._lost(
                    line,
                    "it was started anew" if line.adapter.front is None else "what is behind it has changed",
                )
            if self._clock() >= line.models_due or not line.up:
                await self._ask_for_models(line)
            if not line.up:
                self._found(line, found)
            self._health().answered(engine, found.boot_id, found.capacity_tokens, self._clock())
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

    async def _ask_for_models(self, line: _Line) -> None:
        """What cannot be had now is asked for again with the next look."""
        engine = line.adapter.engine
        try:
            async with asyncio.timeout(self._deadline_s):
                self._health().listed(engine, await line.adapter.models())
        except EngineRefused as exc:
            self._health().unlisted(engine, str(exc))
        except (TimeoutError, EngineError) as exc:
            log.warning("%s does not say what it serves: %s", engine, exc or "no answer in time")
            return
        line.models_due = self._clock() + MODELS_EVERY_S

    async def _look_until_in_doubt(self, line: _Line, found: Capabilities) -> None:
        """Returns when a probe must say what the engine is now."""
        reports = "residency" in found.features
        while True:
            await _set_within(line.doubted, self._report_every_s if reports else self._probe_every_s)
            if line.doubted.is_set() or not reports or self._clock() >= line.models_due:
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
            if self._tells(line):
                self.post(Reported(self._clock(), line.adapter.engine, report))
            self._health().answered(line.adapter.engine, found.boot_id, found.capacity_tokens, self._clock())

    def _found(self, line: _Line, capabilities: Capabilities) -> None:
        """An engine that another proxy took over is, for the core, one that can do nothing."""
        if not line.up:
            line.up, line.since = True, self._clock()
        line.capabilities = capabilities
        if line.commanded or not self._tells(line):
            line.problem = capabilities.reason
        else:
            capabilities = replace(capabilities, extended=False, features=frozenset(), reason=line.problem)
        engine = line.adapter.engine
        features = ", ".join(sorted(capabilities.features)) or "nothing"
        log.info("%s found: %s; it can do: %s", engine, describe(capabilities), features)
        if self._tells(line):
            self.post(EngineFound(self._clock(), engine, capabilities))

    def _lost(self, line: _Line, why: str) -> None:
        if line.commanded or not self._tells(line):
            line.problem = why
        if not line.up:
            return
        line.up, line.since, line.report = False, self._clock(), None
        engine = line.adapter.engine
        log.warning("%s lost: %s", engine, why)
        line.dispatch.clear("the engine is lost")
        if self._tells(line):
            self.post(EngineLost(self._clock(), engine, why))

    def _tells(self, line: _Line) -> bool:
        """Whether the core is to know of the engine. Those of a lease that others hold are not for it to plan."""
        return self._lease is None or line.commanded


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    """Returns when the event is set, at the latest after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

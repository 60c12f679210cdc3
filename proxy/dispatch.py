"""Carries out the actions for one engine, each of which ends in exactly one outcome.

Orders and pins go one after another. Adapters come and go in a line of their own: a disk is slow, and an adapter is
dropped only once its calls have ended. Loads run side by side, each once the orders given before it have arrived: which
memory may make room for it stands there. A stop goes at once: it must overtake what waits, and a load that itself still
waits ends there, unsent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from scalesim.engine_adapters.base import (
    ADAPTER_S,
    LOAD_GRACE_S,
    AdapterNameTaken,
    EngineAdapter,
    EngineError,
    EngineUnreachable,
    Fence,
    FenceLost,
)

from .core.actions import Action, DropAdapter, FetchAdapter, Load, Order, Renew, StopLoad
from .core.model import LoadResult, LoadState

WAITING_LIMIT = 256
"""Actions that wait in one line; those beyond it fail at once, and the next plan asks for them again."""
LOADS_LIMIT = 16
"""Copies for one engine at a time."""
FLIGHTS_LIMIT = LOADS_LIMIT + 1
"""Those and a recomputation, and as many stops; what is beyond it fails at once too."""


class WarmUp(Protocol):
    """Carries out the loads of prefixes of which the engine has no copy: the proxy has it compute them again."""

    async def load(self, adapter: EngineAdapter, action: Load) -> LoadResult:
        """Raises `EngineError`."""
        ...

    def stop(self, action: StopLoad) -> None: ...

    def sizes(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended."""

    result: str
    """done, refused, fenced, unreachable, timeout, failed, superseded or dropped."""
    error: str | None = None
    load: LoadResult | None = None
    seconds: float = 0.0
    """From when it was sent. 0 for what was not."""
    name_taken: bool = False
    """It was to fetch an adapter whose name the engine has from another path."""
    outranked_by: int | None = None
    """The engine has seen this higher token."""


class _NotOurs(Exception):
    """This process may not command now."""


@dataclass(slots=True)
class _Line:
    waiting: deque[Action] = field(default_factory=deque)
    filled: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, action: Action) -> None:
        self.waiting.append(action)
        self.filled.set()

    async def next(self) -> Action:
        while not self.waiting:
            self.filled.clear()
            await self.filled.wait()
        return self.waiting.popleft()


class Dispatch:
    """`ended` is told of each action that was sent; `refused` of those that never were, maybe while they are given."""

    def __init__(
        self,
        adapter: EngineAdapter,
        fence_token: int,
        *,
        clock: Callable[[], float],
        deadline_s: float,
        warm_up: WarmUp | None,
        ended: Callable[[Action, Outcome], None],
        refused: Callable[[Action, Outcome], None],
        survived: Callable[[str], None],
        is_outranked_by: Callable[[int], bool] = lambda token: True,
        may_command: Callable[[], bool] = lambda: True,
    ) -> None:
        """`is_outranked_by`: whether somebody with that higher token goes before us; else ours becomes higher still, as long as
        nothing of ours was carried out. `may_command` is asked right before each call. `deadline_s` is for a call that waits for
        nothing but the engine's attention. `survived` is called inside of an `except` for whatever an adapter should not have
        raised."""
        self._adapter = adapter
        self._fence_token = fence_token
        self._is_outranked_by = is_outranked_by
        self._may_command = may_command
        self._raised = False
        """The token is higher than it was given to us."""
        self._commanded = False
        """The engine took something that needs a fence."""
        self._sequence = 0
        self._clock = clock
        self._deadline_s = deadline_s
        self._warm_up = warm_up
        self._ended = ended
        self._refused = refused
        self._survived = survived
        self._ordered = _Line()
        self._ordering = False
        """An action of the ordered line is under way."""
        self._adapters = _Line()
        self._tasks: asyncio.TaskGroup | None = None
        self._flights: dict[asyncio.Task[None], Action] = {}
        """What is being carried out, but for the ordered line. Who takes an entry out tells how it ended."""

    @property
    def waiting(self) -> int:
        return len(self._ordered.waiting) + len(self._adapters.waiting)

    @property
    def loads(self) -> int:
        """In flight."""
        return self._in_flight(Load)

    def put(self, action: Action) -> None:
        """Takes it on or refuses it, without waiting."""
        match action:
            case Load() if self._ordering or self._ordered.waiting:
                self._queue(self._ordered, action)
            case StopLoad() if self._stopped_while_waiting(action):
                pass
            case Load() | StopLoad():
                self._let_fly(action)
            case FetchAdapter() | DropAdapter():
                self._queue(self._adapters, action)
            case Order() | Renew():
                # Full state: what still waits of it is out of date. At most one of each kind does. Its place is ahead of
                # the loads that were given after it.
                for place, waiting in enumerate(self._ordered.waiting):
                    if type(waiting) is type(action):
                        self._ordered.waiting[place] = action
                        why = "a later one took its place before it was sent"
                        self._refused(waiting, Outcome("superseded", why))
                        return
                self._queue(self._ordered, action)
            case _:
                self._queue(self._ordered, action)

    def clear(self, why: str) -> None:
        """Ends what waits, and what may take long. A call of the ordered line that is under way ends by itself."""
        for line in (self._ordered, self._adapters):
            while line.waiting:
                self._refused(line.waiting.popleft(), Outcome("dropped", why))
        flights, self._flights = self._flights, {}
        for task, action in flights.items():
            task.cancel()
            self._ended(action, Outcome("dropped", why))

    def fence(self, token: int) -> None:
        """What is sent from now on has this one."""
        self._fence_token = token

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._send_ordered())
                tasks.create_task(self._send_adapters(tasks))
        finally:
            self._tasks = None
            self.clear("the proxy stopped sending")

    def _queue(self, line: _Line, action: Action) -> None:
        if len(line.waiting) >= WAITING_LIMIT:
            self._refused(action, Outcome("dropped", "too many actions wait for this engine"))
            return
        line.add(action)

    def _in_flight(self, kind: type[Action]) -> int:
        return sum(type(action) is kind for action in self._flights.values())

    def _let_fly(self, action: Load | StopLoad) -> None:
        if self._tasks is None or self._in_flight(type(action)) >= FLIGHTS_LIMIT:
            self._refused(action, Outcome("dropped", "too many loads are under way at this engine"))
        else:
            self._start(action, self._tasks)

    def _stopped_while_waiting(self, stop: StopLoad) -> bool:
        """Whether the load had not been sent yet; it never is then."""
        for waiting in self._ordered.waiting:
            if isinstance(waiting, Load) and waiting.memory == stop.memory:
                self._ordered.waiting.remove(waiting)
                self._refused(waiting, Outcome("done", None, LoadResult(LoadState.STOPPED)))
                self._refused(stop, Outcome("done"))
                return True
        return False

    def _start(self, action: Action, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        task = tasks.create_task(self._fly(action))
        self._flights[task] = action
        return task

    async def _fly(self, action: Action) -> None:
        outcome = await self._carry_out(action)
        task = asyncio.current_task()
        if task is not None and self._flights.pop(task, None) is not None:
            self._ended(action, outcome)

    async def _send_ordered(self) -> None:
        while True:
            action = await self._ordered.next()
            if isinstance(action, Load):
                self._let_fly(action)
                continue
            self._ordering = True
            try:
                outcome = await self._carry_out(action)
            finally:
                self._ordering = False
            self._ended(action, outcome)

    async def _send_adapters(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            # In a task of its own, because it may have to be cancelled.
            await asyncio.wait([self._start(await self._adapters.next(), tasks)])

    async def _carry_out(self, action: Action) -> Outcome:
        began = self._clock()
        deadline_s = self._deadline_of(action)
        try:
            async with asyncio.timeout(deadline_s):
                load = await self._send(action)
        except TimeoutError:
            outcome = Outcome("timeout", f"{kind_of(action)}: no answer within {deadline_s:g} s")
        except _NotOurs:
            outcome = Outcome("dropped", "another process may lead by now")
        except FenceLost as exc:
            outcome = Outcome("fenced", str(exc), outranked_by=exc.token)
        except EngineUnreachable as exc:
            outcome = Outcome("unreachable", str(exc))
        except EngineError as exc:
            outcome = Outcome("refused", str(exc), name_taken=isinstance(exc, AdapterNameTaken))
        except Exception:  # noqa: BLE001  the task runner: the core must hear of every action, whatever broke
            self._survived(f"adapter of {action.engine} on {kind_of(action)}")
            outcome = Outcome("failed", "the adapter failed; the log says how")
        else:
            outcome = Outcome("done", None, load, self._clock() - began)
        return outcome

    async def _send(self, action: Action) -> LoadResult | None:
        if self._warm_up is not None and isinstance(action, StopLoad) and action.recompute:
            self._warm_up.stop(action)
            return None
        if not self._may_command():
            raise _NotOurs
        if self._warm_up is not None and isinstance(action, Load) and action.recompute:
            return await self._warm_up.load(self._adapter, action)
        while True:
            fence = Fence(self._fence_token, self._sequence)
            self._sequence += 1
            try:
                load = await self._adapter.carry_out(action, fence)
            except FenceLost as exc:
                if not self._outranks(fence, exc):
                    if fence.token != self._fence_token:  # it was sent with a lease before this one
                        raise _NotOurs from exc
                    raise
            else:
                self._commanded = self._commanded or not isinstance(action, FetchAdapter | DropAdapter)
                return load

    def _outranks(self, fence: Fence, lost: FenceLost) -> bool:
        """Whether it is to be sent again, with a higher token.

        Tokens are times, and the clock may have been set back since the proxy before us was started: it is outranked all the
        same. Whoever has commanded and meets a higher token has been replaced.
        """
        if (
            fence.token == self._fence_token
            and not self._commanded
            and lost.token is not None
            and not self._is_outranked_by(lost.token)
        ):
            self._fence_token, self._raised = max(self._fence_token, lost.token) + 1, True
        return self._raised and fence.token < self._fence_token

    def _deadline_of(self, action: Action) -> float:
        match action:
            case Load(within_s=within_s):
                return within_s + LOAD_GRACE_S
            case FetchAdapter() | DropAdapter():
                return ADAPTER_S
            case _:
                return self._deadline_s


def kind_of(action: Action) -> str:
    return type(action).__name__.lower()

"""Operations: what an operator asked for that takes longer than an answer should. Each is a resource with its progress.

A table of the last of them, in this process alone: who asks after a restart finds none.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Self

from pydantic import JsonValue

from scalesim.proxy.errors import ScaleSimError

log = logging.getLogger(__name__)

KEPT = 256
"""Operations that are known, those that ended included: the one that ended first makes room."""
RUNNING = 32
"""Of them, at a time."""


class OperationFailed(ScaleSimError):
    """Raised by an operation's own work: it cannot be done, and the message says why."""


class TooManyOperations(ScaleSimError):
    """As many run as there may be: wait for one of them to end, or stop it."""


class OperationState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    """By an operator, or because the proxy is about to end."""


@dataclass(slots=True, eq=False)
class Operation:
    id: str
    number: int
    """One more than that of the one that began before it."""
    kind: str
    of: Mapping[str, str]
    """What it is about, as in `{"simulation": "town", "agent": "Ann"}`."""
    began_at: float
    ended_at: float | None = None
    state: OperationState = OperationState.RUNNING
    progress: float = 0.0
    """Of its work, from 0 to 1."""
    says: str = ""
    """What it is at, or why it did not come to its end."""
    result: Mapping[str, JsonValue] = field(default_factory=dict)
    """Of one that is done; of another one what it had by then."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at its end, whatever that was."""

    def go_on(self, progress: float, says: str = "", **result: JsonValue) -> None:
        """Told by its own work. Progress never goes back."""
        self.progress = max(self.progress, min(1.0, progress))
        self.says = says
        self.result = {**self.result, **result}


Work = Callable[[Operation], Awaitable[None]]
"""Is done when it returns, failed when it raises `OperationFailed`; cancelled, it ends at once."""


class Operations:
    """Their tasks end with the `async with`. All of it on one event loop."""

    def __init__(self, clock: Callable[[], float], *, kept: int = KEPT, running: int = RUNNING) -> None:
        self._clock = clock
        self._kept = kept
        self._running = running
        self._known: OrderedDict[str, Operation] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._number = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def begin(self, kind: str, of: Mapping[str, str], work: Work) -> Operation:
        """Raises `TooManyOperations`."""
        if len(self._tasks) >= self._running:
            raise TooManyOperations(
                f"{self._running} operations run, which is as many as may do so at a time"
            )
        self._make_room()
        self._number += 1
        operation = Operation(secrets.token_hex(8), self._number, kind, dict(of), self._clock())
        self._known[operation.id] = operation
        task = self._tasks[operation.id] = asyncio.create_task(self._run(operation, work))
        # Also of one that was stopped before it ever ran.
        task.add_done_callback(lambda _: self._ended(operation))
        return operation

    def get(self, name: str) -> Operation | None:
        return self._known.get(name)

    def page(self, after: int, limit: int) -> list[Operation]:
        """At most so many that began after the one with that number, in the order in which they began."""
        return list(islice((one for one in self._known.values() if one.number > after), limit))

    def forget(self, name: str) -> None:
        """It is stopped, if it runs; what it did by then stays. Nothing for an unknown one."""
        task = self._tasks.get(name)
        if task is not None:
            task.cancel()
        self._known.pop(name, None)

    def sizes(self) -> dict[str, int]:
        return {"operations": len(self._known), "operations_running": len(self._tasks)}

    def _make_room(self) -> None:
        if len(self._known) >= self._kept:
            ended = next((one.id for one in self._known.values() if one.id not in self._tasks), None)
            if ended is not None:
                del self._known[ended]

    async def _run(self, operation: Operation, work: Work) -> None:
        try:
            await work(operation)
        except OperationFailed as exc:
            operation.state, operation.says = OperationState.FAILED, str(exc)
        except Exception:
            log.exception("the operation %s (%s) failed", operation.id, operation.kind)
            operation.state, operation.says = OperationState.FAILED, "the log of the proxy says why"
        else:
            operation.state, operation.progress = OperationState.DONE, 1.0

    def _ended(self, operation: Operation) -> None:
        del self._tasks[operation.id]
        operation.ended_at = self._clock()
        if operation.state is OperationState.RUNNING:
            operation.state = OperationState.STOPPED
        operation.over.set()

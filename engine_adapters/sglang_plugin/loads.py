"""Loads ahead of calls, in the scheduler's process: the ones asked for, in order of distance, one slice at a time.

A load is asked for by a control message and answered when its memory is usable, or will not be. Between two steps of the
scheduler `pump` looks after them; what a step itself had to load was queued on the link before that, so that a slice
never stands in front of it. All is decided from messages and from what SGLang itself keeps alike on all ranks.

`Mover` is what a kind of memory has to know: the paper's Load with a safe stop is one that moves a slice at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

logger = logging.getLogger(__name__)

MAX_WAITING = 256
"""Loads asked for and not answered."""


class State(StrEnum):
    """As in the answer to a load."""

    LOADED = "loaded"
    RESIDENT = "resident"
    STOPPED = "stopped"
    ABSENT = "absent"
    NO_ROOM = "no_room"


@dataclass(slots=True)
class Counts:
    """Of one kind, since the engine's start."""

    issued: int = 0
    """Loads that moved something."""
    used: int = 0
    """Loaded ahead, and then used by a call that came when it was usable."""
    late: int = 0
    """A call came for it while it was on its way."""
    missed: int = 0
    """A call had to load it itself."""
    stopped: int = 0
    refused: int = 0
    """Absent, or no room."""
    wasted: int = 0
    """Loaded ahead, and evicted before a call used it."""
    moved_bytes: int = 0
    wasted_bytes: int = 0
    """The same in bytes, parts of loads included."""


@dataclass(slots=True)
class Load:
    kind: str
    key: str
    distance: float
    waiters: list[Any] = field(default_factory=list)
    """The messages to answer."""
    moved_bytes: int = 0
    moving: bool = False
    stopped: bool = False


class Mover(Protocol):
    counts: Counts

    def next_slice(self, load: Load) -> int | State:
        """Starts to move the next slice: its bytes, or how the load ended if there is none to move."""
        ...

    def is_moving(self, key: str) -> bool:
        """Whether the slice that was started last is still on its way."""
        ...

    def is_busy(self) -> bool:
        """Whether anything of this kind is on its way, be it for a call or ahead of one."""
        ...


class Loads:
    """`answer(message, status, payload)` sends the answer to a message."""

    def __init__(
        self, movers: Mapping[str, Mover], answer: Callable[[Any, int, dict[str, Any]], None]
    ) -> None:
        self.movers = movers
        self._answer = answer
        self._loads: dict[tuple[str, str], Load] = {}

    @property
    def in_progress(self) -> bool:
        return bool(self._loads)

    def loading(self) -> list[list[str]]:
        """Those with a slice on its way or moved."""
        return [[load.kind, load.key] for load in self._loads.values() if load.moving or load.moved_bytes]

    def ask(self, message: Any, kind: str, key: str, distance: float) -> str:
        """Queues a load. One that is under way already gets a second waiter, and a stop that it had not come to yet is
        taken back. Returns why not, if not."""
        if kind not in self.movers:
            known = ", ".join(sorted(self.movers)) or "none"
            return f"this server cannot load {kind!r:.64}; it can load: {known}"
        load = self._loads.get((kind, key))
        if load is None:
            if len(self._loads) >= MAX_WAITING:
                return f"{MAX_WAITING} loads are waiting already"
            load = self._loads[kind, key] = Load(kind, key, distance)
        elif len(load.waiters) >= MAX_WAITING:
            return f"{MAX_WAITING} calls wait for this load already"
        load.distance, load.stopped = distance, False
        load.waiters.append(message)
        return ""

    def stop(self, kind: str, key: str) -> bool:
        """Ends a load at its next safe place. Whether there was one."""
        load = self._loads.get((kind, key))
        if load is None:
            return False
        load.stopped = True
        if not load.moving:
            self._end(load, State.STOPPED)
        return True

    def forget(self) -> None:
        """The cache was flushed: whoever still wants what was asked for asks again."""
        for load in list(self._loads.values()):
            self._end(load, State.STOPPED)

    def pump(self) -> None:
        """Ends what has arrived and starts the next slice, the nearest load first, if nothing is on its way."""
        for load in [load for load in self._loads.values() if load.moving]:
            if not self.movers[load.kind].is_moving(load.key):
                load.moving = False
                if load.stopped:
                    self._end(load, State.STOPPED)
        while self._loads and not any(mover.is_busy() for mover in self.movers.values()):
            load = min(self._loads.values(), key=lambda one: one.distance)
            try:
                begun = self.movers[load.kind].next_slice(load)
            except Exception as exc:
                logger.exception("ScaleSim could not load %s %s ahead of its call", load.kind, load.key)
                self._end(load, State.NO_ROOM, error=repr(exc))
                continue
            if isinstance(begun, State):
                self._end(load, begun)
                if begun is State.NO_ROOM:
                    break  # to look for room is a walk over the cache: one for each step
                continue
            load.moved_bytes += begun
            load.moving = self.movers[load.kind].is_moving(load.key)

    def _end(self, load: Load, state: State, error: str = "") -> None:
        del self._loads[load.kind, load.key]
        counts = self.movers[load.kind].counts
        counts.issued += load.moved_bytes > 0
        counts.moved_bytes += load.moved_bytes
        counts.stopped += state is State.STOPPED
        counts.refused += state in (State.ABSENT, State.NO_ROOM)
        for message in load.waiters:
            if error:
                self._answer(message, 500, {"error": {"type": "internal", "message": error}})
            else:
                self._answer(message, 200, {"ok": True, "state": state, "moved_bytes": load.moved_bytes})

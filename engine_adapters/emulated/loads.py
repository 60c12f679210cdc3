"""Loads ahead of calls: one slice after the other, the nearest memory first, behind every load that a call waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .counts import MemoryKey, Tally
from .link import Link
from .pools import Limit, limit_of

Ended = tuple[str, int]
"""The state of a load that ended, as the protocol names it, and the bytes it moved."""


class Store(Protocol):
    """The memory of one kind, as loads see it."""

    def report(self, key: str) -> tuple[int, int]:
        """Bytes on the device, and bytes that a load would move. Both 0: there is no copy."""

    def sizes_of(self, nearest: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        """What `report` says of all there is, or if that may be much, of the nearest owners."""

    def can_place(self, key: str, below: Limit) -> bool:
        """Whether all of it could be brought without giving up nearer memory, or such in use."""

    def begin_slice(self, key: str, below: Limit, most_bytes: int) -> int | None:
        """Starts to move the next bytes and returns how many; 0: nothing is missing. None: there is no room for them."""

    def end_slice(self, key: str) -> None: ...


@dataclass(slots=True, eq=False)
class _Load:
    memory: MemoryKey
    distance: float
    order: int
    ends_at: float
    ended: asyncio.Future[Ended]
    moved_bytes: int = 0
    late: bool = False
    stopped: bool = False


class Loads:
    """`clock` in seconds; it only has to go on. The task that moves slices lives while there are loads.

    `planned` tells the distance of a memory in the plan, None for such as is in none.
    """

    def __init__(
        self,
        stores: Mapping[str, Store],
        link: Link,
        tally: Tally,
        clock: Callable[[], float],
        planned: Callable[[MemoryKey], float | None] = lambda _: None,
    ) -> None:
        self.stores = stores
        self._planned = planned
        self._link = link
        self._tally = tally
        self._clock = clock
        self._loads: dict[MemoryKey, _Load] = {}
        self._current: _Load | None = None
        self._last: _Load | None = None
        self._made = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def under_way(self) -> list[MemoryKey]:
        return sorted(self._loads)

    @property
    def moving(self) -> bool:
        """Whether a slice is on the link."""
        return self._current is not None

    async def load(self, memory: MemoryKey, distance: float, within_s: float) -> Ended:
        """Returns when it is usable, or known why it will not be. A second load of the same memory joins the first."""
        kind, key = memory
        ends_at = self._clock() + within_s
        known = self._loads.get(memory)
        if known is None:
            device, missing = self.stores[kind].report(key)
            if not device and not missing:
                self._tally.of[kind].refused += 1
                return "absent", 0
            if not missing:
                return "resident", 0
            self._made += 1
            ended = asyncio.get_running_loop().create_future()
            known = self._loads[memory] = _Load(memory, distance, self._made, ends_at, ended)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())
        else:
            known.distance, known.ends_at = distance, max(known.ends_at, ends_at)
        return await asyncio.shield(known.ended)

    def stop(self, memory: MemoryKey) -> bool:
        """Ends a load, at once or with the slice that is on the link. False: none was under way."""
        load = self._loads.get(memory)
        if load is None:
            return False
        load.stopped = True
        if load is not self._current:
            self._end(load, "stopped")
        return True

    def call_came(self, memory: MemoryKey) -> bool:
        """Whether the call came too late for the load of what it needs; told to one call for each load."""
        load = self._loads.get(memory)
        if load is None or load.late:
            return False
        load.late = True
        return True

    async def close(self) -> None:
        """The engine stops: nobody may wait for a load that will not come."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # --- the task --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._loads:
                await self._link.no_demand()
                self._end_overdue()
                if self._loads:
                    load = min(self._loads.values(), key=lambda one: (one.distance, one.order))
                    await self._next_slice(load)
        finally:
            for load in list(self._loads.values()):
                self._end(load, "stopped")

    def _end_overdue(self) -> None:
        now = self._clock()
        for load in [one for one in self._loads.values() if one.ends_at <= now]:
            self._end(load, "stopped")

    async def _next_slice(self, load: _Load) -> None:
        kind, key = load.memory
        store, planned = self.stores[kind], self._planned(load.memory)
        # By the plan's own distance: that of the load may be newer than those of the others, and so of another scale.
        below = limit_of(load.distance if planned is None else planned)
        if not any(store.report(key)):
            self._end(load, "absent")
            return
        fits = load.moved_bytes > 0 or store.can_place(key, below)
        moved = store.begin_slice(key, below, self._link.slice_bytes) if fits else None
        if moved is None:
            self._end(load, "no_room")
            return
        if moved:
            self._current = load
            begins = load is not self._last
            self._last = load
            try:
                await self._link.slice(self._link.seconds(moved, loads=int(begins)))
            finally:
                self._current = None
                store.end_slice(key)
            load.moved_bytes += moved
            self._tally.of[kind].moved_bytes += moved
        if not store.report(key)[1]:
            self._end(load, "loaded" if load.moved_bytes else "resident")
        elif load.stopped:
            self._end(load, "stopped")

    def _end(self, load: _Load, state: str) -> None:
        self._loads.pop(load.memory, None)
        counts = self._tally.of[load.memory[0]]
        counts.issued += 1 if load.moved_bytes else 0
        counts.stopped += state == "stopped"
        counts.refused += state in ("absent", "no_room")
        if state == "loaded" and not load.late:
            self._tally.loaded(load.memory)
        if not load.ended.done():
            load.ended.set_result((state, load.moved_bytes))

    def sizes(self) -> dict[str, int]:
        return {"loads": len(self._loads)}

"""Loads ahead of calls: slice by slice, the nearest first, behind every load that a call waits for; in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from scalesim.proxy.core.model import LORA, LoadResult, LoadState, MemoryId

from .clock import Clock
from .link import SLICE_S, Link

Settle = Callable[[LoadResult], None]


class Store(Protocol):
    """Memory of one kind."""

    def is_here(self, key: str) -> bool:
        """Nothing of it would have to be moved."""
        ...

    def reserve(self, key: str, distance: float) -> list[int] | None:
        """Takes room for what is missing and returns the sizes of its parts in bytes, none if there is no copy. None: there is
        no room for it that farther memory could make."""
        ...

    def moved(self, key: str) -> None:
        """The next part is here."""
        ...

    def release(self, key: str) -> None:
        """After all parts, or before."""
        ...


@dataclass(slots=True, eq=False)
class _Load:
    memory: MemoryId
    distance: float
    order: int
    ends_at: float
    settle: Settle
    parts: list[int] | None = None
    """In bytes, what is left of each; None until room was taken."""
    moved_bytes: int = 0
    flying: int = 0
    """Bytes of it on the link."""
    stopped: bool = False
    over: bool = False


class Ahead:
    def __init__(
        self,
        clock: Clock,
        link: Link,
        stores: Mapping[str, Store],
        bytes_per_s: float,
        ended: Callable[[], None],
    ) -> None:
        """`ended` is called whenever a load has."""
        self.loaded = self.stopped = self.refused = 0
        self.moved_bytes = 0
        self._clock = clock
        self._link = link
        self._stores = stores
        self._ended = ended
        self._slice = max(1, int(bytes_per_s * SLICE_S))
        self._loads: dict[MemoryId, _Load] = {}
        self._last: _Load | None = None
        self._made = 0
        self._flying = False
        """A slice is on the link."""
        self._waits = False
        """A look at what is next is due already."""

    @property
    def under_way(self) -> frozenset[MemoryId]:
        return frozenset(self._loads)

    def load(self, memory: MemoryId, distance: float, within_s: float, settle: Settle) -> None:
        store = self._stores.get(memory.kind)
        if store is None or memory in self._loads:
            settle(LoadResult(LoadState.ABSENT))
        elif store.is_here(memory.key):
            settle(LoadResult(LoadState.RESIDENT))
        else:
            self._made += 1
            ends_at = self._clock.now + within_s
            self._loads[memory] = _Load(memory, distance, self._made, ends_at, settle)
            self._go_on()

    def stop(self, memory: MemoryId) -> None:
        load = self._loads.get(memory)
        if load is not None:
            load.stopped = True
            if not load.flying:
                self._end(load, LoadState.STOPPED)

    def take_over(self, memory: MemoryId) -> int | None:
        """A call came for it: what is neither here nor on the link is the call's to load, in bytes; it all counts as here.
        None: nothing of it is on its way."""
        load = self._loads.get(memory)
        if load is None or load.parts is None:
            return None
        left = sum(load.parts) - load.flying
        store = self._stores[memory.kind]
        for _ in load.parts:
            store.moved(memory.key)
        load.parts = []
        self._end(load, LoadState.LOADED)
        return left

    def _go_on(self) -> None:
        if self._waits or self._flying or not self._loads:
            return
        if self._link.free_at > self._clock.now:
            self._waits = True
            self._clock.at(self._link.free_at, self._look)
            return
        self._begin_slice()

    def _look(self) -> None:
        self._waits = False
        self._go_on()

    def _begin_slice(self) -> None:
        while self._loads:
            load = min(self._loads.values(), key=lambda one: (one.distance, one.order))
            if load.ends_at <= self._clock.now:
                self._end(load, LoadState.STOPPED)
                continue
            if load.parts is None:
                parts = self._stores[load.memory.kind].reserve(load.memory.key, load.distance)
                if not parts:
                    self._end(load, LoadState.NO_ROOM if parts is None else LoadState.ABSENT)
                    continue
                load.parts = parts
            self._send_slice(load, min(self._slice, sum(load.parts)))
            return

    def _send_slice(self, load: _Load, size: int) -> None:
        begins = load is not self._last
        self._last, load.flying, self._flying = load, size, True
        ends_at = self._link.take(size, int(begins), int(begins and load.memory.kind == LORA))
        self._clock.at(ends_at, lambda: self._end_slice(load, size))

    def _end_slice(self, load: _Load, size: int) -> None:
        self._flying, load.flying = False, 0
        load.moved_bytes += size
        self.moved_bytes += size
        if not load.over:
            assert load.parts is not None, "room was taken for it"
            store = self._stores[load.memory.kind]
            while load.parts and size >= load.parts[0]:
                size -= load.parts.pop(0)
                store.moved(load.memory.key)
            if not load.parts:
                self._end(load, LoadState.LOADED)
            else:
                load.parts[0] -= size
                if load.stopped:
                    self._end(load, LoadState.STOPPED)
        self._go_on()

    def _end(self, load: _Load, state: LoadState) -> None:
        del self._loads[load.memory]
        load.over = True
        if load.parts is not None:
            self._stores[load.memory.kind].release(load.memory.key)
        self.loaded += state is LoadState.LOADED
        self.stopped += state is LoadState.STOPPED
        self.refused += state in (LoadState.NO_ROOM, LoadState.ABSENT)
        load.settle(LoadResult(state, load.moved_bytes))
        self._ended()

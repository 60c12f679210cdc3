"""A cache of whole memories that is only played: what an engine would hold if it evicted by a given rule.

It never chooses the rule: whoever plays it asks which memory is the oldest or the farthest, and drops one. Memory of
calls that run is locked. Reading, taking and releasing cost O(1); finding the farthest O(log n), beside one pass over
what it holds for each order by which something is evicted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import chain

from .model import Owner

MEMORY_LIMIT = 65_536
"""In one cache, however small they are: more do not fit. What is locked counts, and stays."""

_SLACK = 64
_LAST = 2**62
"""The rank of whoever is not in the order: behind all that are, as in the engine."""


class ShadowCache:
    """Holds memories of `capacity` tokens together, or more as long as all of them are locked."""

    __slots__ = ("_farthest_first", "_idle", "_ranks", "_running", "_turn", "_used", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._used = 0
        self._turn = 0
        self._idle: OrderedDict[Owner, tuple[int, int]] = OrderedDict()
        """Not locked, the least recently used first: (size, turn of its last use)."""
        self._running: dict[Owner, int] = {}
        """Locked: their sizes."""
        self._farthest_first: list[tuple[int, int, Owner]] | None = None
        """A heap of (nearness, turn, owner) with all that is idle, and leftovers of earlier turns; None until it is needed.
        Nearness is the rank, negative."""
        self._ranks: Mapping[Owner, int] | None = None
        """By which the heap ranks."""

    def __contains__(self, owner: Owner) -> bool:
        return owner in self._running or owner in self._idle

    def __len__(self) -> int:
        return len(self._running) + len(self._idle)

    def __iter__(self) -> Iterator[Owner]:
        return chain(self._running, self._idle)

    @property
    def locked(self) -> Collection[Owner]:
        return self._running.keys()

    @property
    def overfull(self) -> bool:
        """Whether something has to leave, and can."""
        idle = self._idle
        return bool(idle) and (self._used > self.capacity or len(idle) + len(self._running) > MEMORY_LIMIT)

    def take(self, owner: Owner, size: int) -> bool:
        """A call uses the memory, which has that size from now on; it is locked until released. True if it was there."""
        before = self._running.get(owner)
        if before is None:
            before = self._idle.pop(owner, (None, 0))[0]
        self._running[owner] = size
        self._used += size - (before or 0)
        return before is not None

    def release(self, owner: Owner, size: int | None = None) -> None:
        """The last of the calls that used it ended, and it has that size now, if one is told: nothing was used more recently."""
        before = self._running.pop(owner)
        if size is None:
            size = before
        self._used += size - before
        self._turn += 1
        self._idle[owner] = (size, self._turn)
        if self._farthest_first is not None and self._ranks is not None:
            if len(self._farthest_first) > 2 * len(self._idle) + _SLACK:
                self._farthest_first = None  # mostly leftovers
            else:
                heappush(self._farthest_first, (-self._ranks.get(owner, _LAST), self._turn, owner))

    def oldest(self) -> Owner:
        """What was used longest ago. Something must be idle."""
        return next(iter(self._idle))

    def farthest(self, ranks: Mapping[Owner, int]) -> Owner:
        """What an order lets go first: who is not in it, then the last in it; among equals the oldest. Something must be
        idle, and the ranks of one order always the same object, which never changes."""
        idle, heap = self._idle, self._farthest_first
        if heap is None or self._ranks is not ranks:
            # No function for each memory: this pass is most of what the guard costs.
            rank = ranks.get
            heap = [(-rank(owner, _LAST), turn, owner) for owner, (_, turn) in idle.items()]
            heapify(heap)
            self._farthest_first, self._ranks = heap, ranks
        while idle.get(heap[0][2], (0, 0))[1] != heap[0][1]:
            heappop(heap)
        return heap[0][2]

    def drop(self, owner: Owner) -> None:
        """Of what is idle."""
        self._used -= self._idle.pop(owner)[0]

    def clear(self) -> None:
        self._idle.clear()
        self._running.clear()
        self._farthest_first = self._ranks = None
        self._used = 0

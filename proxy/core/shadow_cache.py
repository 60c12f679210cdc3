"""A cache of whole memories that is only played: what an engine would hold if it evicted by a given rule.

It never chooses the rule: whoever plays it asks which memory is the oldest or the farthest, and drops one. Memory of
calls that run is locked. Reading, taking and releasing cost O(1); finding the farthest O(log n), beside one pass over
order and content for each order by which something is evicted.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import chain

from .model import Owner

MEMORY_LIMIT = 65_536
"""In one cache, however small they are: more do not fit. What is locked counts, and stays."""

_SLACK = 64


class OrderInForce:
    """The order that the engine was sent last, told by owner. Nothing is looked at before something is evicted by it."""

    __slots__ = ("_distances", "pairs")

    def __init__(self, pairs: Sequence[tuple[Owner, float]] = ()) -> None:
        self.pairs = pairs
        """Nearest first, each owner once, all distances finite. They may not change any more."""
        self._distances: dict[Owner, float] | None = None

    @property
    def distances(self) -> Mapping[Owner, float]:
        if self._distances is None:
            self._distances = dict(self.pairs)
        return self._distances


class ShadowCache:
    """Holds memories of `capacity` tokens together, or more as long as all of them are locked."""

    __slots__ = ("_farthest_first", "_idle", "_order", "_running", "_turn", "_used", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._used = 0
        self._turn = 0
        self._idle: OrderedDict[Owner, tuple[int, int]] = OrderedDict()
        """Not locked, the least recently used first: (size, turn of its last use)."""
        self._running: dict[Owner, int] = {}
        """Locked: their sizes."""
        self._farthest_first: list[tuple[float, int, Owner]] | None = None
        """A heap of (nearness, turn, owner) with all that is idle, and leftovers of earlier turns; None until it is needed.
        Nearness is the distance, negative, and less than any for whoever is not in the order: as in the engine."""
        self._order: OrderInForce | None = None
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
        return bool(self._idle) and (self._used > self.capacity or len(self) > MEMORY_LIMIT)

    def take(self, owner: Owner, size: int) -> bool:
        """A call uses the memory, which has that size from now on; it is locked until released. True if it was there."""
        before = self._running.get(owner)
        if before is None:
            before = self._idle.pop(owner, (None, 0))[0]
        self._running[owner] = size
        self._used += size - (before or 0)
        return before is not None

    def release(self, owner: Owner) -> None:
        """The last of the calls that used it ended: nothing was used more recently."""
        size = self._running.pop(owner)
        self._turn += 1
        self._idle[owner] = (size, self._turn)
        if self._farthest_first is not None and self._order is not None:
            if len(self._farthest_first) > 2 * len(self._idle) + _SLACK:
                self._farthest_first = None  # mostly leftovers
            else:
                nearness = -self._order.distances.get(owner, math.inf)
                heappush(self._farthest_first, (nearness, self._turn, owner))

    def oldest(self) -> Owner:
        """What was used longest ago. Something must be idle."""
        return next(iter(self._idle))

    def farthest(self, order: OrderInForce) -> Owner:
        """What the order lets go first; among equals the oldest. Something must be idle."""
        idle, heap = self._idle, self._farthest_first
        if heap is None or self._order is not order:
            # No function for each memory: this pass is most of what the guard costs.
            away, far = order.distances.get, math.inf
            heap = [(-away(owner, far), turn, owner) for owner, (_, turn) in idle.items()]
            heapify(heap)
            self._farthest_first, self._order = heap, order
        while idle.get(heap[0][2], (0, 0))[1] != heap[0][1]:
            heappop(heap)
        return heap[0][2]

    def drop(self, owner: Owner) -> None:
        """Of what is idle."""
        self._used -= self._idle.pop(owner)[0]

    def clear(self) -> None:
        self._idle.clear()
        self._running.clear()
        self._farthest_first = self._order = None
        self._used = 0

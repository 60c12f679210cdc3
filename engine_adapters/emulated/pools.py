"""Device memory for which kinds of memory compete: who holds it, and who gives it up first. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..sglang_plugin.ledger import Rank

Limit = tuple[int, float]
"""Memory whose rank is below it may be given up for a load: (class, -distance), as in `Rank`."""


def limit_of(distance: float) -> Limit:
    """For a load of memory so far away: farther memory, and such as is in no plan."""
    return (1, -distance)


def is_below(rank: Rank, limit: Limit | None) -> bool:
    """Equal is not below: of two memories equally far, the one that is there stays. None: everything is."""
    return limit is None or rank[:2] < limit


class Holder(Protocol):
    """The memory of one kind in a pool. What is in use is never given up."""

    @property
    def used_bytes(self) -> int: ...

    def loose_bytes(self, below: Limit | None) -> int:
        """What it could give up."""

    def first_to_leave(self, below: Limit | None) -> Rank | None:
        """Of what it could give up, the rank of what would leave first. None: there is nothing."""

    def give_up(self, size_bytes: int, below: Limit | None) -> int:
        """Gives up at least so much if it can; returns how much."""


class Pool:
    def __init__(self, name: str, capacity_bytes: int) -> None:
        self.name = name
        self.capacity_bytes = capacity_bytes
        self.holders: dict[str, Holder] = {}
        """By kind."""

    @property
    def free_bytes(self) -> int:
        return self.capacity_bytes - sum(holder.used_bytes for holder in self.holders.values())

    def obtainable_bytes(self, below: Limit | None = None) -> int:
        return self.free_bytes + sum(holder.loose_bytes(below) for holder in self.holders.values())

    def make_room(self, size_bytes: int, below: Limit | None = None) -> bool:
        """Whether so much is free now. If it cannot be, nothing is given up."""
        if size_bytes <= self.free_bytes:
            return True
        if size_bytes > self.obtainable_bytes(below):
            return False
        while (needed := size_bytes - self.free_bytes) > 0:
            holder = _next_holder(self.holders.values(), below)
            # Alone it gives up all at once; among several each victim is weighed against the others' next one.
            if holder is None or not holder.give_up(needed if len(self.holders) == 1 else 1, below):
                return False
        return True


def _next_holder(holders: Iterable[Holder], below: Limit | None) -> Holder | None:
    ranked = [(rank, holder) for holder in holders if (rank := holder.first_to_leave(below)) is not None]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None

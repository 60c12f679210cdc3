"""Memory that is used as a whole: adapters in slots, private models. Pure.

An object is usable with its last slice. What a load that was stopped has moved stays, and may be given up like the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..sglang_plugin.ledger import Rank
from .pools import Limit, Pool, is_below


class Held:
    __slots__ = ("ahead_bytes", "device_bytes", "last_access", "locks", "moving")

    def __init__(self, last_access: int) -> None:
        self.device_bytes = 0
        self.ahead_bytes = 0
        """Of these, moved ahead of a call that has not come yet."""
        self.locks = 0
        self.last_access = last_access
        self.moving = False
        """A slice of it is on the link."""


class Objects:
    """All objects of one kind have the same size. `most`: no more may be there at once (slots)."""

    def __init__(
        self,
        kind: str,
        pool: Pool,
        size_bytes: int,
        *,
        rank: Callable[[str, Any], Rank],
        ticks: Iterator[int],
        most: int | None = None,
    ) -> None:
        self.kind = kind
        self.pool = pool
        self.size_bytes = size_bytes
        self.held: dict[str, Held] = {}
        self.wasted = 0
        """Moved ahead, if only in part, and given up before a call came."""
        self.wasted_bytes = 0
        self._rank_of = rank
        self._ticks = ticks
        self.most = most
        pool.holders[kind] = self

    # --- as a holder of the pool -----------------------------------------------------------------------------------

    @property
    def used_bytes(self) -> int:
        return sum(held.device_bytes for held in self.held.values())

    def loose_bytes(self, below: Limit | None) -> int:
        return sum(self.held[key].device_bytes for _, key in self._loose(below))

    def first_to_leave(self, below: Limit | None) -> Rank | None:
        return min((rank for rank, _ in self._loose(below)), default=None)

    def give_up(self, size_bytes: int, below: Limit | None) -> int:
        freed = 0
        for _, key in sorted(self._loose(below)):
            if freed >= size_bytes:
                break
            freed += self.held[key].device_bytes
            self.drop(key)
        return freed

    def _loose(self, below: Limit | None) -> list[tuple[Rank, str]]:
        ranked = [
            (self._rank_of(key, held.last_access), key)
            for key, held in self.held.items()
            if not held.locks and not held.moving
        ]
        return [(rank, key) for rank, key in ranked if is_below(rank, below)]

    # --- what calls and loads do -----------------------------------------------------------------------------------

    def missing_bytes(self, key: str) -> int:
        held = self.held.get(key)
        return self.size_bytes - (0 if held is None else held.device_bytes)

    def has_place(self, key: str, below: Limit | None = None) -> bool:
        """Whether there is, or could be made, a place among the `most`."""
        full = self.most is not None and len(self.held) >= self.most
        return key in self.held or not full or bool(self._loose(below))

    def place(self, key: str, below: Limit | None = None) -> bool:
        """Gives it a place among the `most`, which may be another's. False: there is none to be had."""
        if not self.has_place(key, below):
            return False
        if key not in self.held:
            if self.most is not None and len(self.held) >= self.most:
                self.drop(min(self._loose(below))[1])
            self.held[key] = Held(next(self._ticks))
        return True

    def could_load(self, key: str, below: Limit) -> bool:
        """Whether place and room could be made for all that is missing."""
        if not self.has_place(key, below):
            return False
        with self._kept(key):
            return self.missing_bytes(key) <= self.pool.obtainable_bytes(below)

    def move(self, key: str, most_bytes: int, below: Limit | None = None, *, ahead: bool) -> int | None:
        """The next bytes of an object that has a place; 0: nothing is missing. None: no room is to be had for them."""
        held = self.held[key]
        moved = min(most_bytes, self.size_bytes - held.device_bytes)
        with self._kept(key):
            if not self.pool.make_room(moved, below):
                return None
        held.device_bytes += moved
        held.ahead_bytes += moved if ahead else 0
        return moved

    @contextmanager
    def _kept(self, key: str) -> Iterator[None]:
        """Room for an object is not made of that object."""
        held = self.held.get(key)
        if held is not None:
            held.locks += 1
        yield
        if held is not None:
            held.locks -= 1

    def lock(self, key: str) -> None:
        """A call uses it from now on; it must have a place."""
        held = self.held[key]
        held.locks += 1
        held.last_access = next(self._ticks)

    def unlock(self, key: str) -> None:
        self.held[key].locks -= 1

    def forget_empty(self, key: str) -> None:
        """A place that nothing came to is free again."""
        held = self.held.get(key)
        if held is not None and not held.device_bytes and not held.locks:
            self.drop(key)

    def use(self, key: str) -> bool:
        """A call came. Returns whether anything of it had been moved ahead for one."""
        held = self.held[key]
        was_ahead, held.ahead_bytes = held.ahead_bytes > 0, 0
        return was_ahead

    def drop(self, key: str) -> None:
        unused = self.held.pop(key).ahead_bytes
        self.wasted += unused > 0
        self.wasted_bytes += unused

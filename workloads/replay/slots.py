"""The adapter slots of one engine. All adapters have a copy in host memory; a slot holds one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SlotRank = Callable[["Slot"], tuple[float, float, float]]
"""Smaller leaves earlier."""


@dataclass(slots=True)
class Slot:
    adapter: str
    owner: str | None
    """Whose call used it last."""
    locks: int = 0
    made: int = 0
    """When it came into the slot."""
    used: int = 0
    uses: int = 0
    ready: bool = False
    ahead: bool = False


class Slots:
    def __init__(self, count: int, rank: SlotRank) -> None:
        self.count = count
        self.held: dict[str, Slot] = {}
        self.wasted = 0
        """Brought ahead, and gone before any call needed it."""
        self._rank = rank
        self._ticks = 0

    @property
    def free(self) -> int:
        return self.count - len(self.held)

    def has(self, adapter: str) -> bool:
        slot = self.held.get(adapter)
        return slot is not None and slot.ready

    def has_place(self, adapter: str) -> bool:
        return adapter in self.held or self.free > 0 or any(not slot.locks for slot in self.held.values())

    def begin(self, adapter: str, owner: str | None) -> bool:
        """Locks it for a call; whether it has to be loaded for that. There has to be a place. Its load counts as done."""
        slot = self.held.get(adapter)
        is_missing = slot is None
        if slot is None:
            self._make_room()
            slot = self.held[adapter] = Slot(adapter, owner, ready=True)
        self._ticks += 1
        if is_missing:
            slot.made = self._ticks
        slot.owner, slot.used, slot.ahead = owner, self._ticks, False
        slot.uses += 1
        slot.locks += 1
        return is_missing

    def end(self, adapter: str) -> None:
        slot = self.held[adapter]
        slot.locks -= 1
        self._ticks += 1
        slot.used = self._ticks

    def reserve(self, adapter: str, limit: tuple[float, float]) -> bool:
        """A place for what is about to be moved, if need be that of an adapter which ranks below the limit."""
        if self.free <= 0:
            victim = self._victim()
            if victim is None or not self._rank(victim)[:2] < limit:
                return False
            self._leave(victim)
        self._ticks += 1
        self.held[adapter] = Slot(adapter, None, locks=1, made=self._ticks, used=self._ticks)
        return True

    def moved(self, adapter: str) -> None:
        slot = self.held[adapter]
        slot.ready = slot.ahead = True
        slot.locks -= 1

    def release(self, adapter: str) -> None:
        """After `reserve`: it was not moved."""
        del self.held[adapter]

    def _make_room(self) -> None:
        while self.free <= 0:
            victim = self._victim()
            assert victim is not None, "there is a place"
            self._leave(victim)

    def _victim(self) -> Slot | None:
        return min((slot for slot in self.held.values() if not slot.locks), key=self._rank, default=None)

    def _leave(self, slot: Slot) -> None:
        self.wasted += slot.ahead
        del self.held[slot.adapter]

"""The slots of one llama.cpp server, and whose memory is in each: which one a call gets, and which a load. Pure.

llama.cpp itself has neither owners nor an order: the slot that a call names is the one that is overwritten. So the order is
kept here, and choosing the slot of whoever calls last is what evicting is. What a slot holds is believed by the calls that
were sent to it, and corrected by looks at the server: a slot whose task is another one than was sent there holds nobody's.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from scalesim.proxy.core.model import Owner

PINS = 65_536
"""Owners that are pinned at once; there are far fewer slots."""
PATIENT_LOOKS = 20
"""For a call that was sent to a slot to begin: it may wait for its turn, or its client may have left."""


@dataclass(slots=True)
class Slot:
    number: int
    context_tokens: int
    """It takes that much of the device, however much of it is in use."""
    owner: Owner | None = None
    tokens: int = 0
    """By the last look."""
    task: int | None = None
    """The server's number of what ran there last, by the last look."""
    is_running: bool = False
    """By the last look."""
    sent: int = 0
    """Calls that were sent there and have not been seen to begin."""
    quiet_looks: int = 0
    """In a row, while a call was awaited there."""
    used: int = 0
    """When a call was sent there last, on a clock that ticks with each."""
    copied: int | None = None
    """`task`, as it was when what it holds was copied or restored."""
    is_held: bool = False
    """It is being copied or restored: no call of another owner is sent there."""

    @property
    def is_idle(self) -> bool:
        return not (self.is_running or self.sent or self.is_held)

    @property
    def needs_copy(self) -> bool:
        return self.is_idle and self.owner is not None and self.tokens > 0 and self.copied != self.task


@dataclass(frozen=True, slots=True)
class Copy:
    """Of what a slot held, in a file of the server's."""

    file: str
    tokens: int
    size_bytes: int


class _Class(IntEnum):
    """Who leaves first stands first."""

    NOBODY = 0
    UNKNOWN = 1
    EXPECTED = 2
    PINNED = 3


@dataclass(slots=True)
class Slots:
    """`files`: the names that copies may have; there are never more of them."""

    slots: Sequence[Slot]
    files: Sequence[str] = ()
    order: Mapping[Owner, float] = field(default_factory=dict)
    pins: set[Owner] = field(default_factory=set)
    uncopied: frozenset[Owner] = frozenset()
    copies: dict[Owner, Copy] = field(default_factory=dict)
    _clock: int = 0

    def of(self, owner: Owner) -> Slot | None:
        return next((slot for slot in self.slots if slot.owner == owner), None)

    def take(self, owner: Owner) -> Slot:
        """For a call of that owner: its own slot, or else that of whoever calls last, if possible one where nothing runs."""
        slot = self.of(owner)
        if slot is None:
            free = [one for one in self.slots if not one.is_held] or self.slots
            slot = min(free, key=lambda one: (one.is_running + one.sent, self._leaving(one)))
            slot.owner, slot.tokens, slot.copied = owner, 0, None
        slot.quiet_looks = 0
        self._clock += 1
        slot.sent += 1
        slot.used = self._clock
        return slot

    def for_load(self, owner: Owner, distance: float) -> Slot | None:
        """An idle slot of somebody strictly farther, or of nobody; None if there is none."""
        room = [one for one in self.slots if one.is_idle and self._is_farther(one, owner, distance)]
        return min(room, key=self._leaving, default=None)

    def to_copy(self, at_most: int) -> list[Slot]:
        """Idle slots of which there is no copy as they are, whoever leaves first first."""
        some = [one for one in self.slots if one.needs_copy and one.owner not in self.uncopied]
        return sorted(some, key=self._leaving)[:at_most]

    def file_for(self, owner: Owner) -> str | None:
        """Where the owner's copy goes. Where all files are taken, that of whoever calls last is given up, unless all are nearer."""
        if (known := self.copies.get(owner)) is not None:
            return known.file
        taken = {copy.file for copy in self.copies.values()}
        if (free := next((file for file in self.files if file not in taken), None)) is not None:
            return free
        last = max(self.copies, key=self._distance, default=None)
        if last is None or self._distance(last) < self._distance(owner):
            return None
        return self.copies.pop(last).file

    def pin(self, owners: Iterable[Owner]) -> None:
        for owner in owners:
            if len(self.pins) < PINS:
                self.pins.add(owner)

    def forget(self, owners: Collection[Owner]) -> None:
        """What they have is given up, on the device and beside it."""
        for owner in owners:
            self.copies.pop(owner, None)
            if (slot := self.of(owner)) is not None:
                empty(slot)

    def look(self, told: Sequence[Mapping[str, Any]]) -> None:
        """`told` is the answer of `/slots`."""
        by_number = {one.get("id"): one for one in told}
        for slot in self.slots:
            one = by_number.get(slot.number, {})
            task, tokens = one.get("id_task"), one.get("n_prompt_tokens")
            has_begun, is_ours = task != slot.task, task == slot.task or slot.sent > 0
            slot.task = task if isinstance(task, int) else None
            slot.tokens = tokens if isinstance(tokens, int) else 0
            slot.is_running = one.get("is_processing") is True
            slot.quiet_looks = 0 if has_begun or slot.is_running else slot.quiet_looks + 1
            if has_begun:
                slot.sent = max(0, slot.sent - 1)
            if slot.quiet_looks > PATIENT_LOOKS:
                slot.sent = 0
            if not is_ours or (slot.is_idle and not slot.tokens):
                slot.owner = slot.copied = None

    def _leaving(self, slot: Slot) -> tuple[int, float, int]:
        """The least leaves first."""
        return self._class(slot.owner), -self._distance(slot.owner), slot.used

    def _is_farther(self, slot: Slot, owner: Owner, distance: float) -> bool:
        match self._class(slot.owner):
            case _Class.PINNED:
                return False
            case _Class.EXPECTED:
                return self._distance(slot.owner) > min(distance, self.order.get(owner, math.inf))
            case _:
                return True

    def _class(self, owner: Owner | None) -> _Class:
        if owner is None:
            return _Class.NOBODY
        if owner in self.pins:
            return _Class.PINNED
        return _Class.EXPECTED if owner in self.order else _Class.UNKNOWN

    def _distance(self, owner: Owner | None) -> float:
        return math.inf if owner is None else self.order.get(owner, math.inf)


def empty(slot: Slot) -> None:
    slot.owner = slot.copied = None
    slot.tokens = 0

"""By which memory leaves an engine: what engines do by themselves, what the proxy orders, and what knows the future."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

from scalesim.engine_adapters.sglang_plugin.ledger import Ledger

from .cache import Entry, Rank
from .foresight import Foresight
from .owners import Owners
from .paths import Piece
from .slots import Slot


class MemoryRule(Protocol):
    """For prefixes and adapters alike."""

    @property
    def version(self) -> int: ...

    def rank(self, entry: Entry) -> Rank: ...

    def rank_slot(self, slot: Slot) -> Rank: ...

    def is_farther(self, entry: Entry, distance: float) -> bool: ...


class _Own:
    """An engine's own: nobody orders anything, and nothing is loaded ahead."""

    @property
    def version(self) -> int:
        return 0

    def is_farther(self, entry: Entry, distance: float) -> bool:
        return False


class LeastRecent(_Own):
    """What was used longest ago goes first: SGLang's default."""

    def rank(self, entry: Entry) -> Rank:
        return (0.0, 0.0, entry.used)

    def rank_slot(self, slot: Slot) -> Rank:
        return (0.0, 0.0, slot.used)


class LeastFrequent(_Own):
    """What was used least often goes first: SGLang's `lfu`."""

    def rank(self, entry: Entry) -> Rank:
        return (0.0, entry.uses, entry.used)

    def rank_slot(self, slot: Slot) -> Rank:
        return (0.0, slot.uses, slot.used)


class MostRecent(_Own):
    """What was used last goes first; for agents that take turns in a circle, nothing simple is better."""

    def rank(self, entry: Entry) -> Rank:
        return (0.0, 0.0, -entry.used)

    def rank_slot(self, slot: Slot) -> Rank:
        return (0.0, 0.0, -slot.used)


class FirstIn(_Own):
    """What is known longest goes first: SGLang's `fifo`."""

    def rank(self, entry: Entry) -> Rank:
        return (0.0, 0.0, entry.made)

    def rank_slot(self, slot: Slot) -> Rank:
        return (0.0, 0.0, slot.made)


class LastIn(_Own):
    """What became known last goes first: SGLang's `filo`."""

    def rank(self, entry: Entry) -> Rank:
        return (0.0, 0.0, -entry.made)

    def rank_slot(self, slot: Slot) -> Rank:
        return (0.0, 0.0, -slot.made)


PROTECTED_USES = 2
"""SGLang's own."""


class SegmentedRecent(_Own):
    """What was used once goes before what was used again, each by recency: SGLang's `slru`."""

    def rank(self, entry: Entry) -> Rank:
        return (float(entry.uses >= PROTECTED_USES), 0.0, entry.used)

    def rank_slot(self, slot: Slot) -> Rank:
        return (float(slot.uses >= PROTECTED_USES), 0.0, slot.used)


class TimeToLive(_Own):
    """What an agent holds is kept from its activation on for as long as it is usually away, and goes by recency after that, or where
    nothing else is left: after Continuum. Time is counted in steps here, and nothing is known but the past."""

    def __init__(self, foresight: Foresight, owners: Owners) -> None:
        self._foresight = foresight

    @property
    def version(self) -> int:
        return self._foresight.version

    def rank(self, entry: Entry) -> Rank:
        return (float(any(map(self._foresight.is_usually_back, entry.owners))), 0.0, entry.used)

    def rank_slot(self, slot: Slot) -> Rank:
        kept = slot.owner is not None and self._foresight.is_usually_back(slot.owner)
        return (float(kept), 0.0, slot.used)


class _Foreseen(_Own):
    def __init__(self, foresight: Foresight, owners: Owners) -> None:
        self._foresight = foresight
        self._owners = owners

    def rank(self, entry: Entry) -> Rank:
        piece = entry.piece
        if piece is None:
            return (-math.inf, 0.0, entry.used)
        soonest = min(
            (self._next(owner) for owner in entry.owners if self._asks_again(owner, piece)),
            default=(math.inf, 0.0),
        )
        return (-soonest[0], -soonest[1], entry.used)

    def rank_slot(self, slot: Slot) -> Rank:
        step, place = (math.inf, 0.0) if slot.owner is None else self._next(slot.owner)
        return (-step, -place, slot.used)

    @property
    def version(self) -> int:
        return self._foresight.version

    def _asks_again(self, owner: str, piece: Piece) -> bool:
        return self._owners.is_live(owner, piece) and not self._owners.is_task(owner, piece)

    def _next(self, owner: str) -> tuple[float, float]:
        raise NotImplementedError


class StepsToExecution(_Foreseen):
    """The farthest step goes first, as the simulation tells it, after KVFlow; without its loads ahead."""

    def _next(self, owner: str) -> tuple[float, float]:
        return (self._foresight.told_step(owner), 0.0)


class StepsAhead(StepsToExecution):
    """The same for KVFlow with its loads ahead (`kvflow.py`), which say the step they are for as their distance."""

    def is_farther(self, entry: Entry, distance: float) -> bool:
        return self.rank(entry)[:2] < (-distance, 0.0)


class Belady(_Foreseen):
    """Whose owner calls last goes first. It knows what no simulation does: each step, and the order in it."""

    def _next(self, owner: str) -> tuple[float, float]:
        return self._foresight.next_call(owner)


class Ordered:
    """As the proxy orders it, until that has aged out; then by recency. Its ledger is that of SGLang's plugin."""

    def __init__(self, ledger: Ledger, owners: Owners, tokens_of: Callable[[str], int]) -> None:
        self.ledger = ledger
        self.version = 0
        self._owners = owners
        self._tokens_of = tokens_of
        self._pinned: frozenset[str] = frozenset()

    def changed(self) -> None:
        """The ledger was told something. Pins are granted anew, nearest first, as far as the budget goes."""
        self.version += 1
        ledger = self.ledger
        if self._owners.most_tokens(ledger.pins) <= ledger.pin_budget:
            self._pinned = frozenset(ledger.pins)
            return
        left, granted = ledger.pin_budget, []
        for owner in sorted(ledger.pins, key=lambda owner: (ledger.distances.get(owner, math.inf), owner)):
            tokens = self._tokens_of(owner)
            if tokens <= left:
                left -= tokens
                granted.append(owner)
        self._pinned = frozenset(granted)

    def rank(self, entry: Entry) -> Rank:
        ledger, piece = self.ledger, entry.piece
        if piece is None or not (ledger.distances or ledger.by_recency or ledger.pins):
            return (0.0, 0.0, entry.used)
        nearest: float | None = None
        for owner in entry.owners:
            if self._owners.is_live(owner, piece):
                if owner in self._pinned:
                    return (2.0, 0.0, entry.used)
                distance = ledger.distances.get(owner, math.inf)
                nearest = distance if nearest is None else min(nearest, distance)
        if nearest is None or (nearest == math.inf and not (ledger.distances or ledger.by_recency)):
            return (0.0, 0.0, entry.used)
        return (1.0, -nearest, entry.used)

    def rank_slot(self, slot: Slot) -> Rank:
        return self.ledger.rank_adapter(slot.adapter, slot.used)

    def is_farther(self, entry: Entry, distance: float) -> bool:
        return self.rank(entry)[:2] < (1.0, -distance)


OWN: Mapping[str, Callable[[Foresight, Owners], MemoryRule]] = {
    "stock": lambda foresight, owners: LeastRecent(),
    "lfu": lambda foresight, owners: LeastFrequent(),
    "mru": lambda foresight, owners: MostRecent(),
    "fifo": lambda foresight, owners: FirstIn(),
    "filo": lambda foresight, owners: LastIn(),
    "slru": lambda foresight, owners: SegmentedRecent(),
    "ttl": TimeToLive,
    "steps_to_execution": StepsToExecution,
    "kvflow": StepsAhead,
    "belady": Belady,
}
"""Without a proxy, by name."""
LOADS_AHEAD = frozenset({"kvflow"})
"""Of these, those that bring prefixes back before their call."""
FORESEEN = frozenset({"ttl", "steps_to_execution", "kvflow", "belady"})
"""Of these, those that have to know a program, if only which step it is in."""

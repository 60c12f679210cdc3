"""The last actions: what was asked of engines, why, when, and what came of it. For people and dashboards.

Renewals come every second and say nothing, so only those that failed are kept.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .core.actions import Action, Load, Order, Renew
from .core.model import EngineId, MemoryId
from .core.reasons import memories_of
from .dispatch import Outcome, kind_of

KEPT = 2_048
"""Entries."""
LATEST = 100
"""Of those that ended, for who follows them."""
SHOWN = 16
"""Memories that an entry names."""
UNDER_WAY = 4_096
"""Actions whose end is awaited: more than may be under way at a few hundred engines."""


@dataclass(slots=True, eq=False)
class Entry:
    number: int
    """One more than that of the action before it."""
    at: float
    engine: EngineId
    kind: str
    """load, stopload, order, pin, unpin, fetchadapter, dropadapter, renew or evict."""
    memory_kind: str
    """Of all its memories; empty where it names none."""
    keys: tuple[str, ...]
    """Of the first of them: an object for each would be most of what the log takes."""
    count: int
    """Of its memories; of an order, agents."""
    distance: float | None
    """In seconds, of whom it is loaded for."""
    why: str
    result: str = ""
    """done, refused, fenced, unreachable, timeout, failed, superseded or dropped; of a load that did not fail, its state
    as the engine told it. Empty: it is under way."""
    error: str = ""
    moved_bytes: int = 0
    """To the device, by a load."""
    took_s: float | None = None
    end: int = 0
    """One more than that of the action that ended before it. 0: it is under way."""

    @property
    def memories(self) -> tuple[MemoryId, ...]:
        """The first of them. None of an order: it is of all that is near."""
        return tuple(MemoryId(self.memory_kind, key) for key in self.keys)


class ActionLog:
    def __init__(self, clock: Callable[[], float], why: Callable[[Action], str], *, kept: int = KEPT) -> None:
        """`why` is asked of each action as soon as it was asked for."""
        self._clock = clock
        self._why = why
        self._entries: deque[Entry] = deque(maxlen=kept)
        self._latest: deque[Entry] = deque(maxlen=LATEST)
        self._under_way: OrderedDict[int, tuple[Action, Entry]] = OrderedDict()
        """By their identity: two that are equal are two."""
        self._number = 0
        self.ends = 0
        """Of the actions that are kept, so many have ended."""

    def __iter__(self) -> Iterator[Entry]:
        """The newest first."""
        return reversed(self._entries)

    def ended_after(self, end: int) -> list[Entry]:
        """Of the latest, those that ended after the one of that end, in that order."""
        return [entry for entry in self._latest if entry.end > end]

    def asked(self, action: Action) -> None:
        entry = self._entry(action)
        if not isinstance(action, Renew):
            self._keep(entry)
        self._under_way[id(action)] = action, entry
        if len(self._under_way) > UNDER_WAY:
            self._under_way.popitem(last=False)

    def ended(self, action: Action, outcome: Outcome) -> None:
        _, entry = self._under_way.pop(id(action), (action, None))
        if entry is None:
            return
        if isinstance(action, Renew):
            if outcome.result in ("done", "superseded"):
                return
            self._keep(entry)
        load = outcome.load
        entry.result = load.state.value if load is not None and outcome.result == "done" else outcome.result
        entry.error = outcome.error or ""
        entry.moved_bytes = 0 if load is None else load.moved_bytes
        entry.took_s = self._clock() - entry.at
        self.ends += 1
        entry.end = self.ends
        self._latest.append(entry)

    def sizes(self) -> dict[str, int]:
        return {"logged_actions": len(self._entries), "logged_actions_under_way": len(self._under_way)}

    def _entry(self, action: Action) -> Entry:
        memories = memories_of(action)
        shown = memories[:SHOWN]
        return Entry(
            number=0,
            at=self._clock(),
            engine=action.engine,
            kind=kind_of(action),
            memory_kind=shown[0].kind if shown else "",
            keys=tuple(memory.key for memory in shown),
            count=len(action.distances) if isinstance(action, Order) else len(memories),
            distance=action.distance if isinstance(action, Load) else None,
            why=self._why(action),
        )

    def _keep(self, entry: Entry) -> None:
        self._number += 1
        entry.number = self._number
        self._entries.append(entry)

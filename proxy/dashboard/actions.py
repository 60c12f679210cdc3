"""What was done of late, in words: what, for whom, why, and how it ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from scalesim.proxy.core.actions import (
    Action,
    DropAdapter,
    Evict,
    FetchAdapter,
    Load,
    Order,
    Pin,
    Renew,
    StopLoad,
    Unpin,
)
from scalesim.proxy.core.events import Settled
from scalesim.proxy.core.model import LoadResult, LoadState

KEPT = 100
_SHOWN = 3
"""Of many, as many are named."""
_PROBLEM_CHARS = 200

_LOADED = {
    LoadState.LOADED: "on the device now",
    LoadState.RESIDENT: "it was there already",
    LoadState.STOPPED: "stopped for something more urgent",
    LoadState.ABSENT: "there is no copy to load it from",
    LoadState.NO_ROOM: "no room: all that is there is nearer",
}


class Entry(NamedTuple):
    number: int
    at: float
    engine: str
    what: str
    who: str
    why: str
    result: str
    failed: bool


class Log:
    """The last `KEPT`."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._number = 0

    def note(self, event: Settled) -> None:
        words = _words(event.action)
        if words is None:
            return
        what, who, why = words
        self._number += 1
        failed = event.error is not None
        result = event.error[:_PROBLEM_CHARS] if event.error is not None else _result(event.result)
        self._entries.append(
            Entry(self._number, round(event.at, 3), event.action.engine, what, who, why, result, failed)
        )

    @property
    def number(self) -> int:
        """Of the last."""
        return self._number

    def since(self, number: int) -> list[Any]:
        """Those after that one, oldest first."""
        return [list(one) for one in self._entries if one.number > number]


def _words(action: Action) -> tuple[str, str, str] | None:
    """What, who and why; None of what only says again what was said."""
    match action:
        case Order(distances=()):
            return "order", "nobody", "nothing is to be ordered: the cache is left to recency"
        case Order(by_recency=True, distances=distances):
            return (
                "order",
                _agents(len(distances)),
                "the guard found that recency did better than distance of late",
            )
        case Order(distances=((owner, _),)):
            return (
                "order",
                _agents(1),
                f"of {owner} alone it is known when it calls: all others leave before it",
            )
        case Order(distances=distances):
            first, last = distances[0], distances[-1]
            why = f"{first[0]} calls first, {last[0]} last: the farthest leaves first"
            return "order", _agents(len(distances)), why
        case Pin(owners=owners):
            return "pin", _some(owners), "in an activation: the next call comes at once"
        case Unpin(owners=owners):
            return "unpin", _some(owners), "the activation is over"
        case Evict(owners=owners):
            return "evict", _some(owners), "it will not call again"
        case Load(memory=memory, distance=distance, recompute=recompute):
            how = (
                "to be computed again, as there is no copy"
                if recompute
                else "to be copied to the device before that"
            )
            return "load", memory.key, f"calls in about {distance:.1f} s; {how}"
        case StopLoad(memory=memory):
            return "stop", memory.key, "nobody near needs it any more, or somebody nearer needs the link"
        case FetchAdapter(adapter=adapter):
            return "fetch", adapter, "the engine is to have it in host memory before its first call"
        case DropAdapter(adapter=adapter):
            return "drop", adapter, "host memory is needed for nearer adapters, or it was replaced"
        case Renew():
            return None


def _result(result: LoadResult | None) -> str:
    if result is None:
        return "done"
    moved = f" ({result.moved_bytes / 1e6:.1f} MB moved)" if result.moved_bytes else ""
    return _LOADED[result.state] + moved


def _agents(count: int) -> str:
    return "1 agent" if count == 1 else f"{count} agents"


def _some(owners: Sequence[str]) -> str:
    shown = ", ".join(owners[:_SHOWN])
    return shown if len(owners) <= _SHOWN else f"{shown} and {len(owners) - _SHOWN} more"

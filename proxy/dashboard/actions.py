"""An action as the page shows it: what, for whom, why, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scalesim.proxy.action_log import Entry
from scalesim.proxy.core.model import LoadState, MemoryId

_SHOWN = 3
"""Of many, as many are named."""
_PROBLEM_CHARS = 200
_LOADED: dict[str, str] = {
    LoadState.LOADED: "on the device now",
    LoadState.RESIDENT: "it was there already",
    LoadState.STOPPED: "stopped for something more urgent",
    LoadState.ABSENT: "there is no copy to load it from",
    LoadState.NO_ROOM: "no room: all that is there is nearer",
}


def row(entry: Entry) -> list[Any]:
    """Of one that ended: its number among those, when, where, what, for whom, why, how it ended, and whether it failed."""
    return [
        entry.end,
        round(entry.at + (entry.took_s or 0.0), 3),
        entry.engine,
        entry.kind,
        _whom(entry),
        entry.why,
        entry.error[:_PROBLEM_CHARS] or _result(entry),
        bool(entry.error),
    ]


def _whom(entry: Entry) -> str:
    if entry.memories:
        return _some(entry.memories, entry.count)
    return {0: "nobody", 1: "1 agent"}.get(entry.count, f"{entry.count} agents")


def _some(memories: Sequence[MemoryId], count: int) -> str:
    shown = ", ".join(one.key for one in memories[:_SHOWN])
    return shown if count <= _SHOWN else f"{shown} and {count - _SHOWN} more"


def _result(entry: Entry) -> str:
    moved = f" ({entry.moved_bytes / 1e6:.1f} MB moved)" if entry.moved_bytes else ""
    return _LOADED.get(entry.result, entry.result) + moved

"""What is measured of the proxy itself, for whoever publishes it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .core.model import EngineId
from .loop_lag import LoopLag
from .timings import Timings


@dataclass(frozen=True, slots=True)
class SpanCounts:
    """Of the trace spans since the start."""

    exported: int
    lost: int
    """The collector did not take them, or so many waited for it that no more were made."""
    waiting: int


@dataclass(frozen=True, slots=True)
class Observed:
    timings: Timings = field(default_factory=Timings)
    lag: LoopLag = field(default_factory=lambda: LoopLag(time.monotonic))
    answers: Counter[int] = field(default_factory=Counter)
    """Answers to clients, by their status."""
    suppressed_lines: Callable[[], int] = lambda: 0
    """Of the log: too many of the same came at a time."""
    waiting: Callable[[], Mapping[EngineId, int]] = dict
    """Calls that wait in the proxy for a place, by engine."""
    limits: Callable[[], Mapping[str, float]] = dict
    """How many entries each table may have, by its name."""
    spans: Callable[[], SpanCounts] | None = None
    """None: there are no traces."""

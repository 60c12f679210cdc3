"""What one measurement found, and what several of them say together. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

FULL = 0.95
"""From this share of a core on it counts as full: ticks of 10 ms and what the system itself does take the rest."""


def percentile(values: Sequence[float], of_100: int) -> float:
    """The smallest value that is not below so many of 100; not a number of none."""
    return sorted(values)[math.ceil(of_100 * len(values) / 100) - 1] if values else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One contestant under one load, in one round."""

    rps: float
    """Calls that ended well within the window, per second."""
    p50_ms: float
    p99_ms: float
    """Of calls that were under way within the window. Not a number where none ended."""
    cpu_us: float
    """Of the proxy's processes, per call; 0 without a proxy, not a number without calls."""
    busy: float
    """Cores that the proxy's processes used."""
    ends_busy: float
    """Cores that mock and load generator used, which share one."""
    rss_mb: float
    store_busy: float = 0.0
    """Cores that the Redis used by which several proxies share what they know."""
    errors: Mapping[str, int]
    """By what was wrong, from the first call on, those before the window included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Medians of all rounds, not a number where no round has one."""

    rps: float
    p50_ms: float
    p99_ms: float
    added_p50_ms: float
    """Over the direct way in the same round."""
    added_p99_ms: float
    cpu_us: float
    busy: float
    rss_mb: float
    """The most of all rounds."""
    at_least: bool
    """Whether mock and load generator were what held it up: it could do more."""
    errors: Mapping[str, int]
    """Of all rounds."""
    rounds: int


def row(samples: Sequence[Sample | None], direct: Sequence[Sample | None]) -> Row | None:
    """Of one contestant under one load; None where a round has no sample. None if it has not a single one."""
    there = [one for one in samples if one is not None]
    if not there:
        return None
    pairs = [
        (one, base) for one, base in zip(samples, direct, strict=True) if one is not None and base is not None
    ]
    errors: Counter[str] = Counter()
    for one in there:
        errors.update(one.errors)
    busy = median(one.busy for one in there)
    return Row(
        rps=median(one.rps for one in there),
        p50_ms=_median(one.p50_ms for one in there),
        p99_ms=_median(one.p99_ms for one in there),
        added_p50_ms=_median(one.p50_ms - base.p50_ms for one, base in pairs),
        added_p99_ms=_median(one.p99_ms - base.p99_ms for one, base in pairs),
        cpu_us=_median(one.cpu_us for one in there),
        busy=busy,
        rss_mb=max(one.rss_mb for one in there),
        at_least=busy < FULL <= median(one.ends_busy for one in there),
        errors=dict(errors.most_common()),
        rounds=len(there),
    )


def _median(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return median(known) if known else math.nan

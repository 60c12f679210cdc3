"""What a process holds as time goes on, and whether that grows. Pure, but for the reading of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

RSS_GROWTH = 0.02
"""What may be added after the warm-up."""
FDS_GROWTH = 8
"""What may be open more than before when all clients have gone: what libraries open once, connections of control calls."""
LOOKED_AT = 0.2
"""Growth is from the median of the first such share of the time after the warm-up to that of the last."""


@dataclass(frozen=True, slots=True)
class Look:
    at_s: float
    """Since the beginning."""
    rss_mb: float
    fds: int
    tables: Mapping[str, int]
    ended: int
    """Calls, by then."""


@dataclass(frozen=True, slots=True)
class Growth:
    rss: float
    """As a share of what it was."""
    fds: float
    seconds: float
    """From the middle of the first ones to that of the last."""


def growth(looks: Sequence[Look], warm_up_s: float) -> Growth | None:
    """None if there are too few to tell."""
    warm = [one for one in looks if one.at_s >= warm_up_s]
    few = max(1, round(len(warm) * LOOKED_AT))
    if len(warm) < 2 * few + 1:
        return None
    first, last = warm[:few], warm[-few:]
    before_mb = median(one.rss_mb for one in first)
    return Growth(
        rss=median(one.rss_mb for one in last) / before_mb - 1,
        fds=median(one.fds for one in last) - median(one.fds for one in first),
        seconds=median(one.at_s for one in last) - median(one.at_s for one in first),
    )


def open_files(pid: int) -> int:
    return len(os.listdir(Path("/proc") / str(pid) / "fd"))

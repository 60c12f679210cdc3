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
CALLS = 10_000
"""Growth is told for so many."""


@dataclass(frozen=True, slots=True)
class Look:
    at_s: float
    """Since the beginning."""
    rss_mb: float
    fds: int
    tables: Mapping[str, int]
    ended: int
    """Calls, by then."""
    least: int
    """Whole answers that the agent had by then that had the fewest."""


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Growth is looked for after it, whatever grew before. Exactly one of the two is given."""

    calls: int | None = None
    """It is over when each agent has had so many whole answers: what is kept for each of them is full then."""
    seconds: float | None = None
    """It is over when these are."""

    def is_over(self, look: Look) -> bool:
        if self.calls is not None:
            return look.least >= self.calls
        return self.seconds is not None and look.at_s >= self.seconds

    def __str__(self) -> str:
        if self.calls is not None:
            return f"until each agent had {self.calls} whole answers"
        return f"for {(self.seconds or 0.0) / 60:g} minutes"


@dataclass(frozen=True, slots=True)
class Growth:
    rss: float
    """As a share of what it was."""
    fds: float
    seconds: float
    """From the middle of the first ones to that of the last."""
    calls: int
    """That ended meanwhile."""
    warm_mb: float
    """Of the first ones."""
    mb_per_calls: float
    """For `CALLS` calls."""
    rss_of_last_half: float
    """The same share of the second half alone; 0 if there are too few looks to tell."""


def after(looks: Sequence[Look], warm_up: WarmUp) -> Sequence[Look]:
    """Those after the warm-up; empty if it was not over."""
    return next((looks[at:] for at, look in enumerate(looks) if warm_up.is_over(look)), ())


def growth(looks: Sequence[Look], warm_up: WarmUp) -> Growth | None:
    """None if there are too few to tell."""
    warm = after(looks, warm_up)
    ends = _ends(warm)
    if ends is None:
        return None
    first, last = ends
    half = _ends(warm[len(warm) // 2 :])
    before_mb, after_mb, calls = _rss_mb(first), _rss_mb(last), _ended(last) - _ended(first)
    return Growth(
        rss=after_mb / before_mb - 1,
        fds=median(one.fds for one in last) - median(one.fds for one in first),
        seconds=median(one.at_s for one in last) - median(one.at_s for one in first),
        calls=round(calls),
        warm_mb=before_mb,
        mb_per_calls=(after_mb - before_mb) * CALLS / calls if calls else 0.0,
        rss_of_last_half=0.0 if half is None else _rss_mb(half[1]) / _rss_mb(half[0]) - 1,
    )


def _ends(looks: Sequence[Look]) -> tuple[Sequence[Look], Sequence[Look]] | None:
    few = max(1, round(len(looks) * LOOKED_AT))
    return None if len(looks) < 2 * few + 1 else (looks[:few], looks[-few:])


def _rss_mb(looks: Sequence[Look]) -> float:
    return median(one.rss_mb for one in looks)


def _ended(looks: Sequence[Look]) -> float:
    return median(one.ended for one in looks)


def open_files(pid: int) -> int:
    return len(os.listdir(Path("/proc") / str(pid) / "fd"))

"""Agents by number, and the steps in which each is active. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

Schedule = Sequence[int]
"""The steps in which an agent is active, in order, up to and with the first one behind the end of the program."""


def agent_names(count: int) -> tuple[str, ...]:
    width = len(str(count - 1))
    return tuple(f"agent-{index:0{width}d}" for index in range(count))


def steps_until(active: Schedule, step: int) -> float:
    """How many steps after this one the agent is active; 0 in this one, inf if it is not any more."""
    index = bisect_left(active, step)
    return float(active[index] - step) if index < len(active) else math.inf

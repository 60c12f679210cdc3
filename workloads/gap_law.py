"""The law by which agents come back, and what somebody who knows it and nothing else would keep. Pure.

The law is that of the program: how many steps lie between one activation of an agent and its next, of all agents together.
Whoever knows it knows of an agent that was away for so many steps how likely it comes back in the next one, the one after,
and so on, and keeps those that come back soon with the greatest chance. Soon is a matter of taste: a step that is one
farther away counts `discount` times as much. Of little it leaves the chance in the next step alone, of much the mean time
until it comes back; between the two lies what fits a cache best, so several are tried.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from .program import Program
from .records import CallRecord

DISCOUNTS = (0.05, 0.5, 0.8, 0.95)


class GapLaw:
    def __init__(self, gaps: Iterable[float]) -> None:
        """In steps; inf: it never came back."""
        self._counts = Counter(gaps)
        self._longest = int(max((gap for gap in self._counts if math.isfinite(gap)), default=0))

    @classmethod
    def of(cls, program: Program) -> GapLaw:
        return cls(activation.acts_for_steps for step in program.steps for activation in step.activations)

    def worths(self, discount: float) -> list[float]:
        """By the number of steps that an agent has been away, this one included: what it is worth to keep its memory. For
        longer than the list is, nothing."""
        worth = [0.0] * (self._longest + 1)
        left: float = self._counts[math.inf]
        soon = 0.0
        for away in range(self._longest, -1, -1):
            # Of those still away after so many steps: how many come later, and what each of them counts.
            worth[away] = soon / left if left else 0.0
            left += self._counts[away]
            soon = discount * (soon + self._counts[away])
        return worth


def worth_by_law(
    law: GapLaw, discount: float, calls: Sequence[CallRecord]
) -> tuple[Callable[[int, float], float], list[float]]:
    """For `belady.most_worth`: what the agent's memory of a call is worth at a moment, and when steps begin.

    Who is active in a step is known when it begins, and keeps its memory until its last call in it has ended."""
    worths = law.worths(discount)
    begins: dict[int, float] = {}
    active_until: dict[tuple[str, int], float] = {}
    for call in calls:
        begins[call.step] = min(call.started_s, begins.get(call.step, math.inf))
        place = (call.agent, call.step)
        active_until[place] = max(call.ended_s, active_until.get(place, 0.0))
    steps = sorted(begins)
    again_at = [begins[step] for step in steps]

    def worth(call: int, at: float) -> float:
        step = steps[max(0, bisect_right(again_at, at) - 1)]
        asker = calls[call]
        if active_until.get((asker.agent, step), -math.inf) > at:
            return 1.0
        away = step - asker.step
        return worths[away] if away < len(worths) else 0.0

    return worth, again_at

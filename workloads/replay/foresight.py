"""When agents are active next: as the simulation tells it, as their past suggests, and as it will be."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping

from scalesim.workloads.program import Step

ANEW_EVERY = 16
"""Activations. What an owner held before is worth less once it calls again; that is noticed then."""


class Foresight:
    def __init__(self, steps: Iterable[Step], owner_of: Mapping[str, str]) -> None:
        """`owner_of`: how engines know each agent."""
        self._owner_of = owner_of
        self._calls: dict[str, list[tuple[float, float]]] = {}
        """By owner: the steps in which it is active, and its place in each."""
        for step in steps:
            for place, activation in enumerate(step.activations):
                moments = self._calls.setdefault(owner_of[activation.agent], [])
                moments.append((float(step.index), float(place)))
        self.version = 0
        """Another one after a while: whoever sorts by this may sort anew."""
        self._activations = 0
        self._now = -1.0
        self._told: dict[str, float] = {}
        self._over: dict[str, float] = {}
        """By owner: the step in which its last activation ended."""
        self._away: dict[str, tuple[float, int]] = {}
        """By owner: steps between its activations together, and how many times it was away."""
        self._all_away = (0.0, 0)
        """The same of all of them."""

    @property
    def now(self) -> float:
        """The step that is under way."""
        return self._now

    def begin_step(self, step: Step) -> None:
        self.version += 1
        self._now = float(step.index)
        self._told = {self._owner_of[agent]: step.index + far for agent, far in step.distances.items()}

    def end_activation(self, owner: str, acts_for_steps: float) -> None:
        self._activations += 1
        self.version += self._activations % ANEW_EVERY == 0
        self._told[owner] = self._now + acts_for_steps
        before = self._over.get(owner)
        if before is not None and before < self._now:
            self._away[owner] = _with(self._away.get(owner, (0.0, 0)), self._now - before)
            self._all_away = _with(self._all_away, self._now - before)
        self._over[owner] = self._now

    def is_usually_back(self, owner: str) -> bool:
        """Whether it is active, or has not been away for longer than it is on average; than all are, as long as nothing is known
        of itself. Of somebody whose first activation is not over, yes."""
        steps, times = self._away.get(owner, self._all_away)
        over = self._over.get(owner)
        return over is None or not times or self._now - over <= steps / times

    def due(self, within: float) -> list[str]:
        """Who is told to be active in so many steps at most, the nearest first."""
        last = self._now + within
        return [
            owner for _, owner in sorted((step, owner) for owner, step in self._told.items() if step <= last)
        ]

    def told_step(self, owner: str) -> float:
        """This one, while it is active."""
        return self._told.get(owner, math.inf)

    def next_call(self, owner: str) -> tuple[float, float]:
        """Step and place; those of the activation under way, if there is one."""
        moments = self._calls.get(owner, [])
        least = self._now + 1 if self._over.get(owner) == self._now else self._now
        index = bisect_left(moments, (least, -1.0))
        return moments[index] if index < len(moments) else (math.inf, 0.0)


def _with(sum_of: tuple[float, int], one: float) -> tuple[float, int]:
    return sum_of[0] + one, sum_of[1] + 1

"""How people of a simulated society carry out plans, after AgentSociety: how long the steps of a plan last, and which
calls they cost.

Durations follow the actions of that simulation, in whole steps of 300 simulated seconds, rescaled so that they have a
wanted mean.
"""

from __future__ import annotations

import random
from functools import cache

from .authors import Template

STEP_MINUTES = 5
ACTIONS = (
    # share of all actions, minutes from, minutes to
    (0.35, 5, 15),  # choose a place, find a person, write a message
    (0.35, 30, 60),  # travel, shopping
    (0.20, 60, 180),  # work
    (0.10, 120, 480),  # sleep
)

TEMPLATES = {
    "dispatcher": Template(59, 8, 12),
    "time": Template(140, 8, 12),
    "guidance": Template(377, 40, 60),
    "plan": Template(574, 150, 250),
    "evaluation": Template(330, 8, 12),
    "emotion": Template(270, 40, 60),
    "mood": Template(157, 40, 60),
    "place": Template(117, 8, 12),
    "radius": Template(178, 8, 12),
    "social": Template(302, 40, 60),
    "message": Template(144, 40, 60),
}

NEW_PLAN = ("evaluation", "emotion", "guidance", "plan", "dispatcher", "time", "mood", "place")
"""The chain of an agent whose plan is done; six to eight of it are made."""
CHANGED_PLAN = ("guidance", "plan", "dispatcher", "place")
"""The chain of an agent that something happened to while it carried out its plan."""
MOVE = ("dispatcher", "place", "radius", "place", "time")
"""The chain of an agent that goes somewhere; two to five of it are made."""
TALK = ("dispatcher", "message")
MEET = ("dispatcher", "social")
WORK = ("dispatcher", "time")
LONGEST_PLAN = 6


class Plan:
    """What one agent does next, step by step of its plan, and then a new one. It begins somewhere inside a plan."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._left = rng.randint(0, LONGEST_PLAN)

    def next(self) -> tuple[str, tuple[str, ...]]:
        """The kind of what is done, and the chain of calls that it takes."""
        if self._left == 0:
            chain = NEW_PLAN[: self._rng.randint(6, 8)]
            self._left = self._rng.randint(2, LONGEST_PLAN)
            return "plan", chain
        self._left -= 1
        return self._step()

    def changed(self) -> tuple[str, ...]:
        """A new plan before the old one is done."""
        self._left = self._rng.randint(2, LONGEST_PLAN)
        return CHANGED_PLAN

    def _step(self) -> tuple[str, tuple[str, ...]]:
        lot = self._rng.random()
        if lot < 0.4:
            return "move", MOVE[: self._rng.randint(2, 5)]
        if lot < 0.6:
            return "talk", TALK
        if lot < 0.7:
            return "meet", MEET
        return "work", WORK


def gap_steps(quantile: float, scale: float) -> int:
    """How many steps an action lasts that is longer than the given share of all, kind by kind."""
    return max(1, round(_minutes(quantile) * scale / STEP_MINUTES))


def is_sleep(quantile: float) -> bool:
    """Of the action that `gap_steps` takes the duration of."""
    return quantile > 1 - ACTIONS[-1][0]


def under_way(rng: random.Random, scale: float) -> float:
    """The quantile of the action that an agent is in the middle of. A moment picked at random falls into a long action
    more often than into a short one, in proportion to its length."""
    longest = gap_steps(1.0, scale)
    quantile = rng.random()
    while rng.random() * longest > gap_steps(quantile, scale):
        quantile = rng.random()
    return quantile


@cache
def scale_of(mean_gap_steps: float) -> float:
    """By what durations are multiplied so that gaps, in whole steps of at least one, have the wanted mean."""
    quantiles = [(index + 0.5) / 2000 for index in range(2000)]
    low, high = 0.0, 2 * mean_gap_steps
    for _ in range(50):
        middle = (low + high) / 2
        if sum(gap_steps(quantile, middle) for quantile in quantiles) < mean_gap_steps * len(quantiles):
            low = middle
        else:
            high = middle
    return high


def _minutes(quantile: float) -> float:
    for share, least, most in ACTIONS:
        if quantile <= share:
            return least + (most - least) * quantile / share
        quantile -= share
    return ACTIONS[-1][2]

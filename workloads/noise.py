"""What a simulation tells of distances that is wrong: errors of a wanted kind, put into what is told of a program. Pure.

The program and its exact distances stay as they are, so that what errors cost can be measured on the same calls.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from .options import Option, settled
from .program import Hints, Program, Step

LEAST_SHARE = 0.1
"""Of the time that it told, an agent that is back early has been away for at least this."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Each kind of error is applied to what the ones before it made, in the order of the fields."""

    early: float = 0.0
    """The probability that an agent is back early: it told a time of which it is away only for a share, anywhere from a tenth
    to the whole. It does not know when the step of its return begins either."""
    sigma: float = 0.0
    """Of the lognormal factor, with median 1, by which the time until an agent is back is told wrong. One factor for each
    time that it is away: who misjudges an action does not know better in the next step."""
    reversed: bool = False
    """The farthest are told to be the nearest, those who call now to be the farthest, and those who never come back to be
    here."""
    every: int = 1
    """Only each so many steps anything is told, with calls neither."""
    missing: float = 0.0
    """The share of agents that nothing is ever told of."""
    seed: int = 1

    @classmethod
    def of(cls, given: Mapping[str, float]) -> Self:
        """Raises `Impossible`, which names what there is."""
        value = settled("noise", OPTIONS, given)
        return cls(
            value["early"],
            value["sigma"],
            bool(value["reversed"]),
            int(value["every"]),
            value["missing"],
            int(value["seed"]),
        )


OPTIONS: Mapping[str, Option] = {
    "early": Option(0, most=1),
    "sigma": Option(0, most=10),
    "reversed": Option(0, most=1, whole=True),
    "every": Option(1, least=1, most=1e6, whole=True),
    "missing": Option(0, most=1),
    "seed": Option(1, most=1e12, whole=True),
}


def noisy(program: Program, noise: Noise) -> Program:
    """The same program, with what is told in place of its exact distances. The same noise tells the same of it."""
    silent = _silent(program.agents, noise)
    away_since = dict.fromkeys(program.agents, program.steps[0].index) if program.steps else {}
    steps = []
    for step in program.steps:
        told = step.index % noise.every == 0
        steps.append(replace(step, hints=_hints(step, away_since, noise, silent) if told else Hints()))
        away_since |= {activation.agent: step.index for activation in step.activations}
    return replace(program, steps=tuple(steps))


def _hints(step: Step, away_since: Mapping[str, int], noise: Noise, silent: frozenset[str]) -> Hints:
    distances = {
        agent: _misjudged(agent, step.index, distance, away_since[agent], noise)
        for agent, distance in step.distances.items()
    }
    acts_for = {
        activation.agent: _misjudged(
            activation.agent, step.index, activation.acts_for_steps, step.index, noise
        )
        for activation in step.activations
    }
    if noise.reversed:
        farthest = max((distance for distance in distances.values() if math.isfinite(distance)), default=0.0)
        distances = {agent: max(0.0, farthest - distance) for agent, distance in distances.items()}
        acts_for = {agent: max(0.0, farthest - steps) for agent, steps in acts_for.items()}
    return Hints(
        {agent: distance for agent, distance in distances.items() if agent not in silent},
        {agent: steps for agent, steps in acts_for.items() if agent not in silent},
    )


def _misjudged(agent: str, step: int, distance: float, since: int, noise: Noise) -> float:
    """`distance` steps after this one the agent is back, and it has been away since that step."""
    if math.isinf(distance):
        return distance
    back = step + distance
    # Of each time away the same is thought in every step of it.
    rng = random.Random(f"{noise.seed}/{agent}/{back:.12g}")
    is_early, share, factor = rng.random() < noise.early, rng.uniform(LEAST_SHARE, 1), rng.gauss(0, 1)
    told = since + (back - since) / share if is_early else back
    return (told - step) * math.exp(noise.sigma * factor)


def _silent(agents: tuple[str, ...], noise: Noise) -> frozenset[str]:
    count = round(noise.missing * len(agents))
    return frozenset(random.Random(f"{noise.seed}/missing").sample(agents, count))

"""When an agent's next activation begins, as far as one source knows, and the distance that follows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from .model import Clock, Moment
from .tables import Agent, Simulation


class Source(StrEnum):
    ACTIVATION = "activation"
    """It is calling now."""
    HINTED = "hinted"
    """The simulation said so."""
    PLAN = "plan"
    """The simulation said how long its action takes."""
    ANSWERS = "answers"
    """The LLM said so, to the simulation."""
    SPATIAL = "spatial"
    """It comes within reach of another agent, with whom it may interact."""
    PATH = "path"
    """A wave of activations comes its way on the simulation's graph."""
    GAP = "gap"
    """Learned from its past activations."""


@dataclass(frozen=True, slots=True)
class Estimate:
    moment: Moment
    spread: float
    """How far off it usually is, on the moment's clock; 0 if the source vouches for it."""
    source: Source


Estimator = Callable[[Agent, float], Estimate | None]
"""(agent, at) -> what this source knows, None if nothing."""

_TOLD = (Source.HINTED, Source.PLAN)

_STEP_S = 1.0
"""Seconds that a step is taken for while the pace of a simulation is not known."""


def distance(estimate: Estimate, simulation: Simulation, at: float) -> float:
    """On the clock of the estimate. Overdue counts as near (0) during a grace, and then grows with the time overdue.

    Without the growth an agent that died in silence would keep its memory for ever. What was told is trusted longer.
    """
    clock = estimate.moment.clock
    remaining = estimate.moment.value - simulation.now(clock, at)
    if remaining >= 0.0:
        return remaining
    step = 1.0 if clock is Clock.STEPS else seconds_per_step(simulation)
    grace = max(step, estimate.spread) * (2.0 if estimate.source in _TOLD else 1.0)
    return max(0.0, -remaining - grace)


def distance_s(estimate: Estimate, simulation: Simulation, at: float) -> float:
    """The distance in seconds, by the measured pace: to compare what was told on different clocks.

    Only for the moment of planning. Within one clock of one simulation it keeps the order, because all are converted
    with the same factor.
    """
    value = distance(estimate, simulation, at)
    return value * seconds_per_step(simulation) if estimate.moment.clock is Clock.STEPS else value


def seconds_per_step(simulation: Simulation) -> float:
    return simulation.steps.pace_s or _STEP_S

"""When an agent's next activation begins, as far as one source knows, and the distance that follows from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from .agent import Agent
from .model import Clock, Moment
from .model import Source as Source
from .simulation import Simulation


class Estimate(NamedTuple):
    """A tuple, because so many are made."""

    moment: Moment
    spread: float
    """How far off it usually is, on the moment's clock; 0 if the source vouches for it."""
    source: Source
    turn: float = math.inf
    """Of those expected at the same moment, who has the lower one comes first, as far as an order was learned."""
    until: float = math.inf
    """If its activation has not begun by then, on the moment's clock, the source says something else."""


Estimator = Callable[[Agent, float], Estimate | None]
"""(agent, at) -> what this source knows, None if nothing."""

_TOLD = (Source.HINTED, Source.PLAN)
_SECONDS, _TURNS, _BURSTS = Clock.SECONDS, Clock.TURNS, Clock.BURSTS

_STEP_S = 1.0
"""Seconds that a step is taken for while the pace of a simulation is not known."""

TURN_S = 1e-6
"""Turns are at least so far apart in seconds, or those of one burst would lose their order."""


def distance(estimate: Estimate, simulation: Simulation, at: float) -> float:
    """On the clock of the estimate. Overdue counts as near (0) during a grace, and then grows with the time overdue.

    Without the growth an agent that died in silence would keep its memory for ever. What was told is trusted longer.
    """
    clock = estimate.moment.clock
    remaining = estimate.moment.value - simulation.now(clock, at)
    if remaining >= 0.0:
        return remaining
    step = seconds_per_step(simulation) if clock is _SECONDS else 1.0
    grace = max(step, estimate.spread) * (2.0 if estimate.source in _TOLD else 1.0)
    return max(0.0, -remaining - grace)


def overdue(estimate: Estimate, simulation: Simulation, at: float) -> float | None:
    """For how long it should have begun, on the clock of the estimate; None: it need not have, also where an operator asked for its
    memory. Nearness does not tell: whoever is overdue for long counts as far again."""
    if estimate.source is Source.OPERATOR:
        return None
    passed = simulation.now(estimate.moment.clock, at) - estimate.moment.value
    return passed if passed > 0.0 else None


def distance_s(estimate: Estimate, simulation: Simulation, at: float) -> float:
    """The distance in seconds, by the measured pace: to compare what was told on different clocks.

    Only for the moment of planning. Within one clock of one simulation it keeps the order: all are converted alike.
    """
    value, clock = distance(estimate, simulation, at), estimate.moment.clock
    if clock is _SECONDS:
        return value
    if clock is _TURNS:
        return next_turn_s(simulation, at) + turns_s(value, simulation)
    return value * seconds_per_step(simulation, clock)


def next_turn_s(simulation: Simulation, at: float) -> float:
    """Until the next turn is expected: it alone shrinks while time passes and nobody begins."""
    turns = simulation.turns
    return max(0.0, turns.moment_s(turns.turn) - at)


def turns_s(value: float, simulation: Simulation) -> float:
    """What so many turns more take. It grows with their number, whatever the pace."""
    turns = simulation.turns
    return turns.moment_s(turns.turn + value) - turns.moment_s(turns.turn) + value * TURN_S


def seconds_per_step(simulation: Simulation, clock: Clock = Clock.STEPS) -> float:
    """Of the steps that it told, or of those that were read off its traffic."""
    steps = simulation.turns.steps.clock if clock is _BURSTS else simulation.steps
    return steps.pace_s or _STEP_S

"""Learned: an agent begins at the hours at which it began on other days or, where it has none, stays away as long as it
usually does or, if that was never the same, as all agents do that were away for so long."""

from __future__ import annotations

from ..agent import Agent
from ..estimate import Estimate, Source, seconds_per_step
from ..model import Clock, Moment

_USUAL = 0.25
"""An agent stays away as usual if that strays by no more than this part of it."""


def estimate(agent: Agent, at: float) -> Estimate | None:
    began, simulation = agent.began, agent.simulation
    if began is None or began.clock is not simulation.clock:
        return None
    clock, now = began.clock, simulation.foreseen(began.clock, at)
    if agent.hours is not None and clock is not Clock.SECONDS:
        due = simulation.period.due(agent.hours, int(now))
        if due is not None:
            return Estimate(Moment(clock, due), 0.0, Source.GAP, until=due + 1.0)
    gap = agent.gap
    if gap is not None and gap.count > 1 and gap.deviation <= _USUAL * gap.mean:
        # Whoever is usually on time is waited for a little.
        grace = max(2 * gap.deviation, seconds_per_step(simulation) if clock is Clock.SECONDS else 1.0)
        until = began.value + gap.mean + grace
        if now < until:
            return Estimate(Moment(clock, began.value + gap.mean), gap.deviation, Source.GAP, until=until)
    expected = simulation.gaps.expected(now - began.value)
    if expected is None:
        return None
    return Estimate(
        Moment(clock, began.value + expected.after), 0.0, Source.GAP, until=began.value + expected.until
    )

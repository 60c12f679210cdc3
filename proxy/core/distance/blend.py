"""The most authoritative of what is known: calling now, then what was told last, then what was learned."""

from __future__ import annotations

from ..estimate import Estimate, Source
from ..tables import Agent
from . import gap, hinted, plan


def estimate(agent: Agent, at: float) -> Estimate | None:
    if agent.in_activation(at):
        return Estimate(agent.simulation.moment(at), 0.0, Source.ACTIVATION)
    if agent.action is not None and (agent.hinted is None or agent.action.number > agent.hinted.number):
        return plan.estimate(agent, at)
    return hinted.estimate(agent, at) or gap.estimate(agent, at)

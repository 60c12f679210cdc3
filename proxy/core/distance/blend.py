"""The most authoritative of what is known: calling now, then what was told last, then what was learned.

A distance that was told is the simulation's own sum of all that may happen. Else an agent calls when the first thing
happens that makes it call: the end of its action (as the simulation told it, or else the LLM), a wave that comes its
way, or somebody it meets. What was learned stands in for the first two, and is no reason to overlook a meeting.
"""

from __future__ import annotations

from ..estimate import Estimate, Source, distance_s
from ..tables import Agent
from . import answers, gap, hinted, path, plan, spatial


def estimate(agent: Agent, at: float) -> Estimate | None:
    if agent.in_activation(at):
        return Estimate(agent.simulation.moment(at), 0.0, Source.ACTIVATION)
    if agent.hinted is not None and (agent.action is None or agent.action.number < agent.hinted.number):
        return hinted.estimate(agent, at)
    acts = plan.estimate(agent, at) or answers.estimate(agent, at)
    own = _nearer(acts, path.estimate(agent, at), agent, at) or gap.estimate(agent, at)
    return _nearer(own, spatial.estimate(agent, at), agent, at)


def _nearer(one: Estimate | None, other: Estimate | None, agent: Agent, at: float) -> Estimate | None:
    """By distance, and not by moment: what is overdue for long is far."""
    if one is None or other is None:
        return one or other
    simulation = agent.simulation
    return one if distance_s(one, simulation, at) <= distance_s(other, simulation, at) else other

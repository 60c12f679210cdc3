"""The step in which a wave of activations comes to the agent: as many hops as it is away on the simulation's graph."""

from __future__ import annotations

from ..agent import Agent
from ..estimate import Estimate, Source
from ..model import Clock, Moment


def estimate(agent: Agent, at: float) -> Estimate | None:
    simulation = agent.simulation
    if simulation.graph is None:
        return None
    moment = simulation.graph.moment(agent.name, simulation.steps.passed)
    return None if moment is None else Estimate(Moment(Clock.STEPS, moment), 0.0, Source.PATH)

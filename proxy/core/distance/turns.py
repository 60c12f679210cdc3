"""Learned: the agent's place in the order in which all of them begin, where there is such an order."""

from __future__ import annotations

from ..agent import Agent
from ..estimate import Estimate, Source
from ..model import Clock, Moment
from ..turns import Structure


def estimate(agent: Agent, at: float) -> Estimate | None:
    simulation = agent.simulation
    turns = simulation.turns
    expected = turns.expected(agent.name) if turns.tells and not turns.alone else None
    if expected is None:
        return None
    # Steps that a simulation tells of are known better than such as are read off its traffic: there gaps count in them.
    if simulation.steps.ticked and expected.structure is Structure.STEPS:
        return None
    return Estimate(Moment(Clock.TURNS, expected.position), expected.spread, Source.TURNS)

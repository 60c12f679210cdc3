"""The end of what the agent does in the simulated world, as the LLM has it: read in one of its answers."""

from __future__ import annotations

from ..agent import Agent
from ..estimate import Estimate, Source

_SOURCE = Source.ANSWERS


def estimate(agent: Agent, at: float) -> Estimate | None:
    told = agent.standing(agent.said)
    return None if told is None else Estimate(told.moment, 0.0, _SOURCE)

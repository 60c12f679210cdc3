"""The end of what the agent does in the simulated world, as the LLM has it: read in one of its answers."""

from __future__ import annotations

from ..estimate import Estimate, Source
from ..tables import Agent


def estimate(agent: Agent, at: float) -> Estimate | None:
    return None if agent.said is None else Estimate(agent.said, 0.0, Source.ANSWERS)

"""Learned: an agent's activations begin about as far apart as they did before."""

from __future__ import annotations

from ..estimate import Estimate, Source
from ..model import Moment
from ..tables import Agent


def estimate(agent: Agent, at: float) -> Estimate | None:
    began, gap = agent.began, agent.gap
    if began is None or gap is None:
        return None
    return Estimate(Moment(began.clock, began.value + gap.mean), gap.deviation, Source.GAP)

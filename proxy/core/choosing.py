"""Who tells when an agent calls next: the proxy's own choice, or the one estimator that was chosen for its simulation; and
before either, an operator who wants its memory on the device now."""

from __future__ import annotations

from typing import NamedTuple

from . import distance
from .agent import Agent
from .estimate import Estimate, Estimator, Source
from .model import Clock, Moment

AUTO = "auto"
"""The proxy weighs all of them, and by how right each of them was."""


class Chosen(NamedTuple):
    """It alone is asked; of whom it knows nothing, nothing is known."""

    name: str
    estimate: Estimator


def names() -> list[str]:
    """What may be chosen."""
    return [AUTO, *(name for name in distance.names() if name != "blend")]


def find(name: str) -> Chosen | None:
    """None for `AUTO`. Raises `ValueError` that lists what there is."""
    if name not in names():
        raise ValueError(f"no estimator is called {name!r}; there are {', '.join(names())}")
    return None if name == AUTO else Chosen(name, distance.find(name))


def by_choice(own: Estimator) -> Estimator:
    """`own`, but of simulations for which another one was chosen, and of agents whom an operator asked for."""

    def estimate(agent: Agent, at: float) -> Estimate | None:
        asked = agent.asked
        if asked is not None and at < asked.until and not agent.goes_on(at):
            # All the time that it is asked for, it is neither nearer nor overdue.
            moment, spread = Moment(Clock.SECONDS, asked.at), asked.until - asked.at
            return Estimate(moment, spread, Source.OPERATOR, until=asked.until)
        chosen = agent.simulation.estimator
        if chosen is None:
            return own(agent, at)
        if agent.goes_on(at):
            return Estimate(agent.simulation.moment(at), 0.0, Source.ACTIVATION)
        return chosen.estimate(agent, at)

    return estimate

"""What the client says of a call, and what one rung of the ladder does."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from scalesim.proxy.core.model import AgentName, SimulationId

EXPLICIT = 1.0
"""The confidence in a name that the client gave outright, by the header or the URL."""
THRESHOLD = 0.8
"""By how much confidence a caller is known, unless an operator wants it otherwise."""
SIMULATION_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Rung(StrEnum):
    """How callers are found that do not say who they are."""

    RECIPES = "recipes"
    ANSWERS = "answers"
    LEARNED = "learned"


class Told(NamedTuple):
    """What the client says, by a header, the URL or a field of the body."""

    simulation: SimulationId | None
    client: str
    """Stands for its API key, and tells nothing of it; empty without one."""
    agent: AgentName | None
    source: str
    """Names the header, the body's field, or `URL`; empty where the agent is unknown."""
    confidence: float


class CallerKind(StrEnum):
    AGENT = "agent"
    OTHER = "other"
    """A caller of its own kind: a game master, an evaluator, a selector, the environment. It has memory and a distance like
    an agent, and is never merged with one, nor split by whom it speaks about."""


class Guess(NamedTuple):
    agent: AgentName
    """How the caller is called from now on: the same name for the same caller as long as it is known."""
    source: str
    """`recipe:oasis`, `answer`, `learned`."""
    confidence: float
    """0 to 1: of calls with this confidence, so many are named rightly."""
    why: str
    """One line for a person: what in the request says so."""
    kind: CallerKind = CallerKind.AGENT

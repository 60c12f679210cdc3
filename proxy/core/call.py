"""What is known of one running call."""

from __future__ import annotations

from dataclasses import dataclass

from .agent import Agent
from .engine import Engine
from .misses import Found
from .model import AdapterName
from .simulation import Simulation


@dataclass(slots=True, eq=False)
class Call:
    simulation: Simulation
    agent: Agent | None
    engine: Engine
    adapter: AdapterName | None
    first: bool
    """It opened an activation, and not the agent's first one."""
    played: int = 0
    """The engine's `beginning` when its guard was told of it; 0: it was not."""
    found: Found | None = None
    """Of the memory of a known agent, when it started."""

"""How a controller is to behave: every number that an operator may set."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .durations import Reading
from .loads import MAX_BYTES_IN_FLIGHT, MAX_IN_FLIGHT
from .model import Mode, Part

_FROM_ONE = (
    "agent_limit",
    "total_agent_limit",
    "simulation_limit",
    "call_limit",
    "plan_limit",
    "loads_in_flight",
    "load_budget_bytes",
    "adapter_limit",
    "edge_limit",
)


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """Refuses values that make no sense with a `ValueError` that names them."""

    mode: Mode = Mode.ON
    """Of simulations for which nothing else was set."""
    reading: Reading | None = None
    """Of their answers, as above; None: they are not read."""
    policy: str = "nearest_first"
    distance: str = "blend"
    agent_limit: int = 200_000
    """Per simulation. Beyond it the least recently seen agent without a running call is forgotten."""
    total_agent_limit: int = 400_000
    """Over all simulations. Beyond it such an agent of the same simulation is forgotten; if it has none, one of the
    least recently seen simulation that has."""
    simulation_limit: int = 256
    """Beyond it the least recently seen without a running call is forgotten, if possible one in the mode above."""
    call_limit: int = 65_536
    """Running at once. Beyond it the oldest is taken as ended."""
    plan_limit: int = 4_096
    """Owners in one order: more than an engine holds are of no use."""
    pin_share: float = 0.5
    """Of an engine's capacity, at most so much is pinned."""
    parts: frozenset[Part] = frozenset(Part)
    """Of memory control, those that are switched on."""
    guard: bool = True
    """An engine's cache is left to recency for as long as distance does worse (`guard.py`). Of no account where the
    part `order` is off: nothing is ordered then."""
    prefetch_steps: float = 3.0
    """Agents that are nearer than this on their simulation's steps are loaded for ahead of their calls."""
    prefetch_s: float = 30.0
    """The same for those whose distance is known in seconds."""
    loads_in_flight: int = MAX_IN_FLIGHT
    """Per engine, at once."""
    load_budget_bytes: int = MAX_BYTES_IN_FLIGHT
    """Per engine, in flight at once; a single load may be larger."""
    adapter_limit: int = 100_000
    """Registered by operators. Beyond it they are refused."""
    edge_limit: int = 1_000_000
    """Of the graphs of all simulations together. Beyond it they are refused."""
    idle_after_s: float = 600.0
    """A simulation of which nothing was seen for so long, and no call runs, gives back pins, places and what was told.
    0: none does."""

    def __post_init__(self) -> None:
        for name in _FROM_ONE:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)!r}")
        for name in ("prefetch_steps", "prefetch_s", "idle_after_s"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)!r}")
        if not 0.0 <= self.pin_share <= 1.0:
            raise ValueError(f"pin_share must be from 0 to 1, not {self.pin_share!r}")

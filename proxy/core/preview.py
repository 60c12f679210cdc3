"""What would be done for an engine now, and why: a plan that is made as any other, and of which nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .actions import Action
from .model import AdapterName, AgentName, EngineId, Owner, SimulationId, Source


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One agent in the order."""

    owner: Owner
    simulation: SimulationId
    agent: AgentName
    distance_s: float
    source: Source | None
    in_activation: bool
    near: bool
    """Its memory is loaded ahead, if it is away."""
    pinned: bool
    size_tokens: int | None


@dataclass(frozen=True, slots=True)
class Intended:
    action: Action
    why: str


@dataclass(frozen=True, slots=True)
class Preview:
    number: int
    """One more than that of the one before, of any engine."""
    at: float
    engine: EngineId
    shadow: bool
    """As if the simulations in shadow were on."""
    policy: str
    by_distance: bool
    """Else recency is in charge, and the order is not sent."""
    charge: str
    """Why, as far as the guard judges that."""
    order: Sequence[Foreseen]
    """The first of them, nearest first."""
    ordered: int
    """All of them."""
    pins: Sequence[Owner]
    pin_budget_tokens: int
    pinned_tokens: int
    adapters: Sequence[tuple[AdapterName, float]]
    """The first of them, nearest first, with seconds."""
    pinned_adapters: Sequence[AdapterName]
    actions: Sequence[Intended]
    """What would be sent. Nothing: all that is wanted is in force, or on its way."""
    waits: str
    """Why not all of it would be sent at once; empty if it would."""

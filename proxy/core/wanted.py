"""What a policy is shown of one engine, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .model import AdapterName, Owner, SimulationId


class Candidate(NamedTuple):
    """An agent that is on the engine and expected to call again. A tuple, because plans make thousands of them."""

    owner: Owner
    distance: float
    """Finite, >= 0, comparable with that of all others in the view; 0 for all in an activation."""
    in_activation: bool
    used_at: float
    """When its last call started or ended."""
    size_tokens: int | None
    """Of its memory; None until an engine reported a call."""
    spread: float = 0.0
    """How far off the distance usually is, in the same unit; 0 if its source vouches for it."""
    adapter: AdapterName | None = None
    """On which its next call is expected to run; None: the base model, or unknown."""
    has_copy: bool = False
    """The engine copies its prefix back from host memory; else it computes it again."""
    simulation: SimulationId = SimulationId("")
    """Whose agent it is: simulations share the room for pins."""


@dataclass(frozen=True, slots=True)
class View:
    candidates: Sequence[Candidate]
    pin_budget_tokens: int
    plan_limit: int
    bytes_per_token: int | None = None
    """Of a prefix; None: the engine does not tell."""
    adapter_bytes: int | None = None
    """Of an adapter, where adapters take room from the same pool as prefixes."""
    weights: Mapping[SimulationId, int] = field(default_factory=dict)
    """Of the simulations' shares of the room."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where memory should be. A policy says order and pins; the controller corrects what breaks an invariant, and adds
    the rest, which follows from the order."""

    order: tuple[tuple[Owner, float], ...] = ()
    """Nearest first. Empty: recency decides."""
    pins: tuple[Owner, ...] = ()
    adapters: tuple[tuple[AdapterName, float], ...] = ()
    """Nearest first, each once."""
    pinned_adapters: tuple[AdapterName, ...] = ()
    no_host_copy: tuple[Owner, ...] = ()
    ready_first: bool = False
    by_recency: bool = False
    """As of `Order`."""


Policy = Callable[[View], Wanted]

"""What is known of a generation call once it has ended: what the relay tells whoever keeps a record of calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from .core.model import AdapterName, AgentName, CallId, Outcome, SimulationId, Usage


class Spoken(Protocol):
    """An answer that went by."""

    @property
    def held_bytes(self) -> int:
        """What it takes in memory."""
        ...

    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class ServedCall:
    call: CallId
    route: str
    """The engine's route, one of a closed set: never with what a client put before it."""
    simulation: SimulationId
    agent: AgentName | None
    source: str
    """Who named the agent; empty where nobody did."""
    confidence: float
    adapter: AdapterName | None
    body: Mapping[str, object] | None
    """As the client sent it; None if it is no JSON object."""
    raw: bytes
    """The bytes of `body`."""
    arrived_at: float
    first_byte_at: float | None
    """When the first piece of the answer's body came from the engine; None if none did."""
    ended_at: float
    outcome: Outcome
    status: int | None
    """Of the engine's answer; None if there was none."""
    usage: Usage | None
    answer: Spoken | None
    kind: str = "agent"
    """Of the caller, in the recogniser's words."""
    step: float | None = None
    """The simulation's, where the request says it."""


Record = Callable[[ServedCall], None]
"""Told of each call once, when it has ended. Must neither raise nor wait."""

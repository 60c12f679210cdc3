"""What the data plane tells of a call to whoever traces it. Nothing of it may raise or wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Protocol

from .core.model import AgentName, EngineId, Outcome, SimulationId, Usage

Headers = list[tuple[bytes, bytes]]


class Agents(StrEnum):
    """How agents are named in spans."""

    HASHED = "hashed"
    """By a keyed hash: what belongs together can be seen, and no name."""
    NAMED = "named"
    OFF = "off"


class CallSpan(Protocol):
    """Of one generation call, from when it is there until it has ended."""

    def carried(self, headers: Headers) -> Headers:
        """Those for the engine, with this span as the parent of its own in place of what the client said."""
        ...

    def recognised(
        self, simulation: SimulationId, agent: AgentName | None, source: str, confidence: float
    ) -> None: ...

    def placed(self, engine: EngineId, base_url: str, *, moves: bool) -> None:
        """It has a place there, and maybe not for the first time. `moves`: its agent's memory is to be there from now on."""
        ...

    def sent(self) -> None:
        """To the engine where it has its place."""
        ...

    def first_piece(self) -> None:
        """Of the answer's body has come."""
        ...

    def refused(self) -> None:
        """It was never started."""
        ...

    def ended(self, outcome: Outcome, status: int | None, usage: Usage | None) -> None: ...


Trace = Callable[[Headers, str, Mapping[str, object] | None], CallSpan | None]
"""Begins the span of a call, by its headers, its route and its body, if that is an object. None: this one is not traced."""

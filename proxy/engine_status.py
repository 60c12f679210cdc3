"""What is known of one engine, for people."""

from __future__ import annotations

from dataclasses import dataclass

from .core.model import Capabilities, EngineId, EngineReport


@dataclass(frozen=True, slots=True)
class EngineStatus:
    engine: EngineId
    base_url: str
    up: bool
    since: float
    """On the proxy's clock: when `up` last changed."""
    commanded: bool
    """False once a proxy with a higher fence has taken over. It stays so until this proxy is started anew."""
    capabilities: Capabilities | None
    """As last found; kept while the engine is lost."""
    report: EngineReport | None
    """The last one since the engine was found."""
    waiting: int
    """Actions that wait to be sent."""
    loads: int
    """In flight."""
    problem: str
    """Why it is lost, not extended or not commanded, or the last control call that failed; empty if all is well."""

    @property
    def about(self) -> str:
        """One line for people."""
        return "not found yet" if self.capabilities is None else describe(self.capabilities)

    @property
    def capacity_tokens(self) -> int | None:
        """As it last reported, or else as it says of itself."""
        if self.report is not None:
            return self.report.capacity_tokens
        return None if self.capabilities is None else self.capabilities.capacity_tokens


@dataclass(slots=True)
class LoadTotal:
    """Of the loads that ended alike."""

    count: int = 0
    seconds: float = 0.0
    """From when they were sent until they were done; of failed ones nothing is counted."""
    moved_bytes: int = 0


def describe(capabilities: Capabilities) -> str:
    """What it is, and whether it takes orders; a short line."""
    name = f"{capabilities.kind} {capabilities.version}".strip()
    if capabilities.extended:
        return f"{name}, extended"
    return f"{name}, not extended: {capabilities.reason or 'no reason given'}"

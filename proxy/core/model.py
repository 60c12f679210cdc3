"""The words of the domain: ids, clocks, moments, and what an engine says of itself.

Nothing here may do I/O, read a clock, or know how an engine is spoken to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

SimulationId = NewType("SimulationId", str)
AgentName = NewType("AgentName", str)
EngineId = NewType("EngineId", str)
CallId = NewType("CallId", int)
Owner = NewType("Owner", str)
"""An agent's name towards an engine: it carries the simulation, so that two simulations may both have an `Ann`."""

FAR = math.inf
"""The distance of an agent that is not expected to call again."""


def owner_of(simulation: SimulationId, agent: AgentName) -> Owner:
    return Owner(f"{simulation}/{agent}")


class Clock(StrEnum):
    """The clock a moment was told on. Moments of one clock are ordered on it, never converted when they arrive."""

    STEPS = "steps"
    """The simulation's own steps, moved by `StepTicked`."""
    SECONDS = "seconds"
    """Wall seconds, as in the `at` of events."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A point on a clock: step 17, or second 812.5 since the proxy's origin."""

    clock: Clock
    value: float


class Mode(StrEnum):
    """What is done for a simulation. `SHADOW` computes and counts, and sends nothing."""

    OFF = "off"
    SHADOW = "shadow"
    ON = "on"


class Outcome(StrEnum):
    """How a call ended, seen from the proxy."""

    DONE = "done"
    """The engine's answer (of whatever status) reached the client whole."""
    CLIENT_GONE = "client_gone"
    ENGINE_FAILED = "engine_failed"
    """No answer, or half of one: the engine was unreachable, or broke off."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the engine reported for one call, in tokens; `cached` is None where the engine does not say."""

    prompt: int
    cached: int | None
    output: int


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one engine can do, as it says itself. `reason` tells a person why `extended` is False; empty if True."""

    kind: str
    version: str
    extended: bool
    features: frozenset[str] = frozenset()
    """Out of: order, pin, evict, residency, owners, abort."""
    boot_id: str | None = None
    """Changes whenever the engine starts anew and has forgotten everything."""
    capacity_tokens: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EngineReport:
    """A look at a running engine. Sizes in tokens."""

    boot_id: str
    plan_in_force: bool
    """False once the plan has aged out: the engine then evicts by recency."""
    pinned_owners: frozenset[Owner]
    pinned_tokens: int
    capacity_tokens: int

"""One look at an agent: when it calls next and where its memory is. Cheap enough to be had of thousands, again and again.

When it calls is told as a moment and not as a distance: the moment stays what it is while time passes, so whoever shows
agents has to look at one again only when something else is known of it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from .agent import Agent
from .engine import Engine
from .estimate import Estimate, seconds_per_step, turns_s
from .model import KV_PREFIX, Clock, EngineId, MemoryId, Source
from .simulation import Simulation


class Whereabouts(StrEnum):
    """Of an agent's prefix, by the engine's last report and what happened since."""

    DEVICE = "device"
    LOADING = "loading"
    """On its way to the device ahead of a call."""
    HOST = "host"
    """Most of it is not on the device; a load would bring it."""
    GONE = "gone"
    """The engine reports none of it."""
    UNKNOWN = "unknown"
    """It never called, or its engine reports no memory."""


class Glance(NamedTuple):
    due: float | None
    """On `clock`; inf: not expected again; None: nothing is known."""
    clock: Clock | None
    source: Source | None
    running_calls: int
    in_activation: bool
    engine: EngineId | None
    """Where its last call went."""
    place: Whereabouts


class Reckoning(NamedTuple):
    """How a clock of a simulation stands."""

    now: float
    unit_s: float
    """Seconds that one of its units is taken for."""


def at_agent(agent: Agent, known: Estimate | None, at: float) -> Glance:
    return Glance(
        due=None if known is None else known.moment.value,
        clock=None if known is None else known.moment.clock,
        source=None if known is None else known.source,
        running_calls=agent.running,
        in_activation=agent.in_activation(at),
        engine=None if agent.engine is None else agent.engine.id,
        place=Whereabouts.UNKNOWN if agent.engine is None else _place(agent, agent.engine),
    )


def clocks_of(simulation: Simulation, at: float) -> dict[Clock, Reckoning]:
    units = {
        Clock.SECONDS: 1.0,
        Clock.STEPS: seconds_per_step(simulation, Clock.STEPS),
        Clock.BURSTS: seconds_per_step(simulation, Clock.BURSTS),
        Clock.TURNS: turns_s(1.0, simulation),
    }
    return {clock: Reckoning(simulation.now(clock, at), unit_s) for clock, unit_s in units.items()}


def _place(agent: Agent, engine: Engine) -> Whereabouts:
    memory, residency = MemoryId(KV_PREFIX, agent.owner), engine.residency
    if memory in engine.loads.loading or memory in residency.loading:
        return Whereabouts.LOADING
    known = residency.reported(memory)
    if known is None:
        return Whereabouts.GONE if residency.reports else Whereabouts.UNKNOWN
    if known.device_bytes and known.device_bytes >= known.missing_bytes:
        return Whereabouts.DEVICE
    return Whereabouts.HOST if known.missing_bytes else Whereabouts.GONE

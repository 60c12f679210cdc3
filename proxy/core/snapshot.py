"""Copies of what the controller knows, for people and dashboards. Reading them changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .actions import Action
from .counters import Counters, Totals
from .estimate import Estimator, Source, distance
from .model import AgentName, Capabilities, Clock, EngineId, Mode, Owner, SimulationId
from .reconciler import Ranks
from .wanted import Wanted
from .world import Agent, Engine, Simulation


@dataclass(frozen=True, slots=True)
class SimulationSnapshot:
    id: SimulationId
    mode: Mode
    step: float | None
    """What the simulation calls its current step; None if it never ticked."""
    pace_s: float | None
    """Seconds per step."""
    pause_s: float
    """After so long without a call an activation is over."""
    agents: int
    running_calls: int
    seen_at: float
    counters: Counters


@dataclass(frozen=True, slots=True)
class AgentSnapshot:
    name: AgentName
    owner: Owner
    distance: float | None
    """On `clock`; None if nothing is known."""
    clock: Clock | None
    spread: float | None
    source: Source | None
    in_activation: bool
    running_calls: int
    activations: int
    engine: EngineId | None
    size_tokens: int | None
    used_at: float


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    id: EngineId
    reachable: bool
    capabilities: Capabilities | None
    capacity_tokens: int | None
    agents: int
    """Whose memory is on it."""
    plan_due: bool
    """Something changed since the last plan, or that waits for what is in flight."""
    order: tuple[Owner, ...] | None
    """Believed in force, nearest first; None if unknown."""
    pins: tuple[Owner, ...]
    in_flight: tuple[Action, ...]
    pin_budget_tokens: int
    wanted: Wanted
    """By the last plan."""
    shadow: Wanted | None
    """What would be wanted if the simulations in shadow were on; None if there are none."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    at: float
    simulations: tuple[SimulationSnapshot, ...]
    engines: tuple[EngineSnapshot, ...]
    totals: Totals


def of_simulation(simulation: Simulation) -> SimulationSnapshot:
    steps = simulation.steps
    return SimulationSnapshot(
        id=simulation.id,
        mode=simulation.mode,
        step=steps.step if steps.ticked else None,
        pace_s=steps.pace_s,
        pause_s=simulation.pause_s,
        agents=len(simulation.agents),
        running_calls=simulation.running,
        seen_at=simulation.seen_at,
        counters=replace(simulation.counters),
    )


def of_agent(agent: Agent, estimate: Estimator, at: float) -> AgentSnapshot:
    known = estimate(agent, at)
    return AgentSnapshot(
        name=agent.name,
        owner=agent.owner,
        distance=None if known is None else distance(known, agent.simulation, at),
        clock=None if known is None else known.moment.clock,
        spread=None if known is None else known.spread,
        source=None if known is None else known.source,
        in_activation=agent.in_activation(at),
        running_calls=agent.running,
        activations=agent.activations,
        engine=None if agent.engine is None else agent.engine.id,
        size_tokens=agent.size_tokens,
        used_at=agent.used_at,
    )


def of_engine(engine: Engine) -> EngineSnapshot:
    belief = engine.belief
    return EngineSnapshot(
        id=engine.id,
        reachable=engine.reachable,
        capabilities=engine.capabilities,
        capacity_tokens=engine.capacity_tokens,
        agents=len(engine.agents),
        plan_due=engine.dirty or engine.blocked,
        order=None if belief.order is None else _owners(belief.order),
        pins=tuple(belief.pins),
        in_flight=belief.in_flight,
        pin_budget_tokens=engine.budget_tokens,
        wanted=engine.wanted,
        shadow=engine.shadow,
    )


def _owners(ranks: Ranks) -> tuple[Owner, ...]:
    return tuple(ranks)  # made from an order, so its keys are nearest first

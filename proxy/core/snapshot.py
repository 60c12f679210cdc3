"""Copies of what the controller knows, for people and dashboards. Reading them changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from .accuracy import Score
from .actions import Action
from .adapters import Adapter
from .agent import Agent
from .choosing import AUTO
from .counters import Counters, Totals
from .engine import Engine
from .estimate import Estimate, Estimator, Source, distance, distance_s, overdue
from .guard import GuardState
from .loads import LoadCounters
from .model import (
    LORA,
    AdapterName,
    AgentName,
    Capabilities,
    Clock,
    EngineId,
    MemoryId,
    MemoryReport,
    Mode,
    Owner,
    Pool,
    SimulationId,
)
from .pins import OperatorPin
from .simulation import Simulation
from .wanted import Wanted


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
    resting: bool
    """Nothing was seen of it for so long that nothing is done for it, until something is."""
    counters: Counters
    accuracy: dict[Source, Score]
    """Of each source that told when agents call next."""
    in_charge: Source | None
    """Whose word goes before that of one with more authority, because it told the order better; None: nobody's."""
    estimator: str = AUTO
    """Who is asked when its agents call."""
    engines: tuple[EngineId, ...] = ()
    """Where its agents' memory is."""


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """Of a memory that an agent's calls need, on its engine."""

    kind: str
    key: str
    device_bytes: int | None
    """None if the engine did not say."""
    missing_bytes: int | None
    loading: bool
    """It is on its way to the device ahead of a call."""


@dataclass(frozen=True, slots=True)
class EstimateSnapshot:
    """What one source says of when an agent calls next."""

    source: Source
    distance: float
    """On `clock`; may be inf."""
    clock: Clock
    spread: float
    distance_s: float
    overdue: float | None = None
    """On `clock`; None if it is not."""


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
    number: int = 0
    """One more than that of the agent that became known before it."""
    adapter: AdapterName | None = None
    """On which its next call is expected to run."""
    memories: tuple[MemorySnapshot, ...] = ()
    pin: OperatorPin | None = None
    pin_in_force: bool = False
    """As far as we know."""
    overdue: float | None = None
    """On `clock`; None if it is not."""


class Place(StrEnum):
    """Where an adapter is on one engine."""

    SLOT = "slot"
    HOST = "host"
    LOADING = "loading"
    """From its disk to host memory, or from there to a slot."""
    UNKNOWN = "unknown"
    """It was not told of it, or did not say."""


@dataclass(frozen=True, slots=True)
class AdapterSnapshot:
    name: str
    path: str
    version: int
    key: AdapterName
    """What engines call the current version."""
    agents: int
    """To which it is assigned."""
    engines: dict[EngineId, Place]
    problems: dict[EngineId, str]
    """Why it could not be fetched, by engines on which that is so."""
    ready: frozenset[EngineId] = frozenset()
    """On which calls that name it are known to run on what lies at `path`."""
    pin: OperatorPin | None = None
    pinned_on: frozenset[EngineId] = frozenset()
    """Engines that were told to keep its slot, by whomever, as far as we know."""
    number: int = 0
    """One more than that of the adapter that was registered before it."""


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    id: EngineId
    reachable: bool
    capabilities: Capabilities | None
    capacity_tokens: int | None
    own_policy: str | None
    """None: that of all engines."""
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
    running_calls: int
    pools: tuple[Pool, ...]
    """By its last report, corrected by what is known since."""
    adapters: int
    """Known to it."""
    loading: tuple[MemoryId, ...]
    """On their way to the device on our behalf."""
    loading_bytes: int
    loads: LoadCounters
    guard: GuardState | None
    """None where there is nothing to guard, or it is switched off."""
    guard_rehearses: bool
    """No simulation is on, so nothing is sent: it plays what would be if those in shadow were."""


@dataclass(frozen=True, slots=True)
class ResidencySnapshot:
    """What an engine is believed to hold."""

    reports: bool = False
    """It says so itself."""
    memories: Sequence[tuple[MemoryId, MemoryReport]] = ()
    loading: frozenset[MemoryId] = frozenset()
    pinned: frozenset[Owner] = frozenset()
    pinned_adapters: frozenset[AdapterName] = frozenset()


@dataclass(frozen=True, slots=True)
class Snapshot:
    at: float
    simulations: tuple[SimulationSnapshot, ...]
    engines: tuple[EngineSnapshot, ...]
    totals: Totals


def of_simulation(simulation: Simulation, engines: Iterable[Engine] = ()) -> SimulationSnapshot:
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
        resting=simulation.resting,
        counters=replace(simulation.counters, misses=dict(simulation.counters.misses)),
        accuracy=simulation.accuracy.scores,
        in_charge=simulation.in_charge,
        estimator=AUTO if simulation.estimator is None else simulation.estimator.name,
        engines=tuple(engine.id for engine in engines if simulation in engine.simulations),
    )


def of_agent(
    agent: Agent,
    memories: Sequence[MemoryId],
    estimate: Estimator,
    at: float,
    pin: OperatorPin | None = None,
) -> AgentSnapshot:
    engine = agent.engine
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
        number=agent.number,
        adapter=agent.adapter,
        memories=() if engine is None else tuple(_of_memory(memory, engine) for memory in memories),
        pin=pin,
        pin_in_force=pin is not None and engine is not None and agent.owner in engine.belief.pins,
        overdue=None if known is None else overdue(known, agent.simulation, at),
    )


def of_estimate(known: Estimate, simulation: Simulation, at: float) -> EstimateSnapshot:
    return EstimateSnapshot(
        source=known.source,
        distance=distance(known, simulation, at),
        clock=known.moment.clock,
        spread=known.spread,
        distance_s=distance_s(known, simulation, at),
        overdue=overdue(known, simulation, at),
    )


def _of_memory(memory: MemoryId, engine: Engine) -> MemorySnapshot:
    known = engine.residency.reported(memory)
    return MemorySnapshot(
        kind=memory.kind,
        key=memory.key,
        device_bytes=None if known is None else known.device_bytes,
        missing_bytes=None if known is None else known.missing_bytes,
        loading=memory in engine.loads.loading or memory in engine.residency.loading,
    )


def of_adapter(
    adapter: Adapter, engines: Iterable[Engine], pin: OperatorPin | None = None
) -> AdapterSnapshot:
    engines = list(engines)
    failures = {engine.id: engine.hosting.failures.get(adapter.key) for engine in engines}
    return AdapterSnapshot(
        name=adapter.name,
        path=adapter.path,
        number=adapter.number,
        version=adapter.version,
        key=adapter.key,
        agents=adapter.agents,
        engines={engine.id: _place(adapter.key, engine) for engine in engines},
        ready=frozenset(engine.id for engine in engines if engine.hosting.has(adapter)),
        pin=pin,
        pinned_on=frozenset(
            engine.id
            for engine in engines
            if engine.belief.order is not None and adapter.key in engine.belief.order.pinned_adapters
        ),
        problems={name: failure.problem for name, failure in failures.items() if failure is not None},
    )


def _place(key: AdapterName, engine: Engine) -> Place:
    memory = MemoryId(LORA, key)
    flying = engine.hosting.flying
    if (flying is not None and flying.adapter == key) or _of_memory(memory, engine).loading:
        return Place.LOADING
    known = engine.residency.memories.get(memory)
    if known is not None and known.device_bytes:
        return Place.SLOT
    return Place.HOST if key in engine.hosting.held else Place.UNKNOWN


def of_residency(engine: Engine) -> ResidencySnapshot:
    order, residency = engine.belief.order, engine.residency
    return ResidencySnapshot(
        reports=residency.reports,
        memories=list(residency.memories.items()),
        loading=engine.loads.loading | residency.loading,
        pinned=frozenset(engine.belief.pins),
        pinned_adapters=frozenset() if order is None else order.pinned_adapters,
    )


def of_engine(engine: Engine) -> EngineSnapshot:
    belief = engine.belief
    hosting = () if engine.hosting.flying is None else (engine.hosting.flying,)
    return EngineSnapshot(
        id=engine.id,
        reachable=engine.reachable,
        capabilities=engine.capabilities,
        capacity_tokens=engine.capacity_tokens,
        own_policy=engine.policy,
        agents=len(engine.agents),
        plan_due=engine.dirty or engine.blocked,
        order=None if belief.order is None else tuple(belief.order.owners),  # nearest first, as it was made
        pins=tuple(belief.pins),
        in_flight=(*belief.in_flight, *engine.loads.in_flight, *hosting),
        pin_budget_tokens=engine.budget_tokens,
        wanted=engine.wanted,
        shadow=engine.shadow,
        running_calls=engine.running,
        pools=engine.residency.pools,
        adapters=len(engine.hosting.held),
        loading=tuple(sorted(engine.loads.loading)),
        loading_bytes=engine.loads.in_flight_bytes,
        loads=replace(engine.loads.counters),
        guard=None if engine.guard is None else engine.guard.state(),
        guard_rehearses=engine.plays_shadow,
    )

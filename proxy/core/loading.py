"""What is brought to one engine ahead of its calls: from the plan and what the device holds to loads and adapters.

The rule is in `prefetch`, the queue in `loads`, what a kind of memory is in `kinds`; here they meet the world.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .actions import Action, DropAdapter, FetchAdapter, Load, StopLoad
from .adapters import Adapters
from .kinds import AgentView, Kind, Way
from .model import LORA, AdapterName, LoadResult, LoadState, MemoryId, Part, Pool
from .planning import Sight, nearest_adapters
from .prefetch import Resident, Want, choose
from .tables import Agent, Engine
from .wanted import Wanted

_GRACE_S = 10.0
_GRACE = 2.0
"""Times the distance: how much later than expected a call may come before its memory is of no use any more."""

_UNREPORTED = MemoryId("", "")
"""Whatever a pool holds beyond what the engine reports: it is of owners that are in no plan, so it may make room."""


class _Near(NamedTuple):
    distance: float
    agent: AgentView
    kind: Kind
    way: Way


@dataclass(slots=True)
class _Needs:
    """What the agents of a plan need."""

    distances: dict[MemoryId, float] = field(default_factory=dict)
    """Of the nearest owner of each."""
    active: set[MemoryId] = field(default_factory=set)
    """An owner is in an activation."""
    running: set[MemoryId] = field(default_factory=set)
    """A call of an owner runs: the engine loads it for that."""
    near: dict[MemoryId, _Near] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loading:
    """The same for all engines."""

    kinds: Sequence[Kind]
    parts: frozenset[Part]
    adapters: Adapters

    def plan(self, engine: Engine, wanted: Wanted, sight: Sight, at: float) -> list[Action]:
        """`wanted` is the plan before anything was left out of it because it is switched off."""
        wants = self.wants(engine, wanted, sight, at)
        preempt = Part.PREEMPT in self.parts
        loads, _ = engine.loads.plan(wants, at, idle=engine.running == 0, preempt=preempt)
        steps = self._host(engine, wanted, sight, at)
        engine.loads_due = bool(wants or engine.loads.in_flight)
        engine.wake_at = min(sight.wake_at, engine.loads.wake_at, engine.hosting.wake_at)
        return [*loads, *steps]

    def wants(self, engine: Engine, wanted: Wanted, sight: Sight, at: float) -> list[Want]:
        """What is to be loaded ahead, nearest first, what is on its way included."""
        if not engine.residency.pools:
            return []
        flying = engine.loads.loading
        needs = self._needs(engine, wanted, sight)
        needs.running.update(MemoryId(LORA, adapter) for adapter in engine.adapters_in_use)
        offloaded = [
            want
            for memory, near in needs.near.items()
            # A load on its way when the call comes is left to finish.
            if (memory not in needs.running or memory in flying)
            and (want := self._want(engine, memory, near, flying, at))
        ]
        if not offloaded:
            return []
        self._add_distances(needs, wanted, sight)
        chosen: list[Want] = []
        for pool in engine.residency.pools:
            here = [want for want in offloaded if want.memory.kind in pool.kinds]
            if here:
                residents = self._residents(engine, needs, pool, flying)
                chosen += choose(here, residents, pool.free_bytes, math.inf)
        return sorted(chosen, key=lambda want: (want.distance, want.memory))

    def settle(
        self, engine: Engine, action: Load | StopLoad, error: str | None, result: LoadResult | None, at: float
    ) -> bool:
        """True if it was one of ours in flight."""
        expected_bytes = engine.loads.size_bytes(action.memory)
        if not engine.loads.settle(action, error, result, at):
            return False
        if isinstance(action, Load) and error is None:
            state = LoadState.LOADED if result is None else result.state
            if state in (LoadState.LOADED, LoadState.RESIDENT):
                engine.residency.settle(action.memory, None)
                engine.residency.compute(action.memory, expected_bytes)
        return True

    def settle_adapter(
        self, engine: Engine, action: FetchAdapter | DropAdapter, error: str | None, at: float
    ) -> bool:
        """True if it was one of ours in flight."""
        if not engine.hosting.settle(action, error, at):
            return False
        memory, residency = MemoryId(LORA, action.adapter), engine.residency
        if error is None and isinstance(action, FetchAdapter):
            residency.host(memory, residency.view.adapter_bytes)
        elif error is None:
            residency.drop(memory)
        return True

    def used(self, engine: Engine, agent: Agent, adapter: AdapterName | None) -> None:
        """A call of the agent was answered whole: it left its memory on the device."""
        view = AgentView(agent.owner, adapter, agent.size_tokens)
        for kind in self.kinds:
            memory = kind.of_agent(view)
            if memory is not None:
                engine.residency.use(memory, kind.size_bytes(view, engine.residency.view))
                engine.loads.renew(memory)

    def memories(self, agent: Agent) -> list[MemoryId]:
        view = AgentView(agent.owner, agent.adapter, agent.size_tokens)
        return [memory for kind in self.kinds if (memory := kind.of_agent(view)) is not None]

    def _needs(self, engine: Engine, wanted: Wanted, sight: Sight) -> _Needs:
        needs = _Needs()
        features, leaving = engine.features, self.adapters.leaving
        ways = {
            (kind.name, host_copy): kind.way(features, host_copy, self.parts)
            for kind in self.kinds
            for host_copy in (False, True)
        }
        for owner, distance in wanted.order:
            if owner not in sight.near and owner not in sight.active:
                continue
            agent = sight.agents[owner]
            adapter = agent.adapter if agent.adapter not in leaving else None
            view = AgentView(owner, adapter, agent.size_tokens)
            is_near, is_active = owner in sight.near, owner in sight.active
            for kind in self.kinds:
                memory = kind.of_agent(view)
                if memory is None:
                    continue
                if is_active:
                    needs.active.add(memory)
                if agent.running:
                    needs.running.add(memory)
                if is_near and memory not in needs.near:
                    way = ways[kind.name, agent.has_host_copy(kind.name)]
                    if way is not None:
                        needs.near[memory] = _Near(distance, view, kind, way)
        return needs

    def _add_distances(self, needs: _Needs, wanted: Wanted, sight: Sight) -> None:
        # Only where something is to be loaded: most of what a plan costs is the number of those who are far.
        for owner, distance in wanted.order:
            agent = sight.agents[owner]
            view = AgentView(owner, agent.adapter, agent.size_tokens)
            for kind in self.kinds:
                memory = kind.of_agent(view)
                if memory is not None:
                    needs.distances.setdefault(memory, distance)

    def _want(
        self, engine: Engine, memory: MemoryId, near: _Near, flying: frozenset[MemoryId], at: float
    ) -> Want | None:
        """None if nothing of it is missing, or if it is not known to be loadable."""
        if engine.loads.has_given_up(memory):
            return None
        if memory.kind == LORA and memory.key not in engine.hosting.held:
            return None
        size_bytes = self._missing_bytes(engine, memory, near)
        if memory in flying:
            # It ends by itself. The engine made room for it when it began.
            size_bytes = 0 if memory in engine.residency.loading else size_bytes or 0
        elif not size_bytes:
            return None
        grace = max(_GRACE_S, _GRACE * near.distance)
        return Want(memory, near.distance, size_bytes, near.way, at + near.distance + grace)

    def _missing_bytes(self, engine: Engine, memory: MemoryId, near: _Near) -> int | None:
        residency = engine.residency
        size_bytes = near.kind.size_bytes(near.agent, residency.view)
        if near.way is Way.RECOMPUTE:
            return None if size_bytes is None else residency.missing_when_computed(memory, size_bytes)
        known = residency.memories.get(memory)
        return size_bytes if known is None else known.missing_bytes

    def _residents(
        self, engine: Engine, needs: _Needs, pool: Pool, flying: frozenset[MemoryId]
    ) -> list[Resident]:
        residency = engine.residency
        active = needs.active | needs.running | flying | residency.loading
        residents = [
            Resident(memory, needs.distances.get(memory, math.inf), known.device_bytes, memory in active)
            for memory, known in residency.memories.items()
            if known.device_bytes and memory.kind in pool.kinds
        ]
        coming = (residency.memories.get(memory) for memory in residency.loading if memory.kind in pool.kinds)
        known_bytes = sum(one.size_bytes for one in residents)
        coming_bytes = sum(one.missing_bytes for one in coming if one is not None)
        unknown_bytes = pool.capacity_bytes - pool.free_bytes - known_bytes - coming_bytes
        if unknown_bytes > 0:
            residents.append(Resident(_UNREPORTED, math.inf, unknown_bytes, False))
        return residents

    def _host(
        self, engine: Engine, wanted: Wanted, sight: Sight, at: float
    ) -> list[FetchAdapter | DropAdapter]:
        if "fetch_adapters" not in engine.features:
            return []
        leaving = self.adapters.leaving
        soon = dict.fromkeys(
            adapter
            for owner, _ in wanted.order
            if owner in sight.soon and (adapter := sight.agents[owner].adapter) is not None
        )
        moving = engine.loads.loading | engine.residency.loading
        capabilities = engine.capabilities
        return engine.hosting.plan(
            engine.id,
            self.adapters,
            nearest_adapters(wanted, sight, engine, leaving),
            soon,
            engine.adapters_in_use | {AdapterName(key) for kind, key in moving if kind == LORA},
            None if capabilities is None else capabilities.host_adapters,
            at,
        )

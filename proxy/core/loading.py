"""What is brought to one engine ahead of its calls: from the plan and what the device holds to loads and adapters.

The rule is in `prefetch`, the queue in `loads`, what a kind of memory is in `kinds`; here they meet the world.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain

from .actions import Action, DropAdapter, FetchAdapter, Load, StopLoad
from .adapters import Adapters
from .agent import Agent
from .asks import Ask
from .engine import Engine, Needed
from .hosting import Hosting
from .kinds import AgentView, Kind, Way
from .model import KV_PREFIX, LORA, AdapterName, LoadResult, LoadState, MemoryId, Owner, Part, Pool
from .planning import Nearest, Sight, nearest_adapters
from .prefetch import Resident, Want, choose

_GRACE_S = 10.0
_GRACE = 2.0
"""Times the distance: how much later than expected a call may come before its memory is of no use any more."""

_OTHERS = MemoryId("", "")
"""Whatever a pool holds beyond that: of owners that are in no plan, so it may make room."""


_WAITING = 64
"""Loads that wait for their turn: the next plan comes long before they are done."""
_PIECE = 64
_MODERATE, _LIGHT = 2, 8
"""By so much less does it cost to pass by an agent, or a memory, than to look at it."""


_Near = tuple[float, AgentView, Kind, Way]
"""The distance of the owner that is loaded for, and what is known of both. A plain tuple, because plans make hundreds."""


class Standing(StrEnum):
    """How far a memory is from being on the device ahead of a call."""

    HERE = "here"
    COMING = "coming"
    WAITS = "waits"
    """Its load has not begun: others are nearer, or no room may be made for it."""
    NO_ROOM = "no_room"
    """The engine had none; it is asked again."""
    ABSENT = "absent"
    """There is no copy of it."""
    FAILED = "failed"
    """Its loads failed time and again."""
    IMPOSSIBLE = "impossible"
    """The engine loads none of its kind, or that is switched off, or its size is not known."""

    @property
    def may_change(self) -> bool:
        """By itself, soon."""
        return self in (Standing.COMING, Standing.WAITS, Standing.NO_ROOM)

    @property
    def is_over(self) -> bool:
        """It will not come."""
        return not self.may_change and self is not Standing.HERE


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

    def plan(
        self, engine: Engine, nearest: Nearest, sight: Sight, at: float
    ) -> Generator[int, None, list[Action]]:
        """`nearest` are those of the plan before anything was left out of it because it is switched off. In pieces: yields
        how many agents it looked at since it yielded last."""
        wants = yield from self.wants(engine, nearest, sight, at)
        preempt = Part.PREEMPT in self.parts
        loads, _ = engine.loads.plan(wants, at, idle=engine.running == 0, preempt=preempt)
        steps = self._host(engine, engine.hosting, nearest, sight, at)
        engine.loads_due = bool(wants or engine.loads.in_flight)
        engine.wake_at = min(sight.wake_at, engine.loads.wake_at, engine.hosting.wake_at)
        return [*loads, *steps]

    def imagine(
        self, engine: Engine, nearest: Nearest, sight: Sight, at: float
    ) -> Generator[int, None, tuple[list[Action], frozenset[MemoryId]]]:
        """What `plan` would answer, and which memories are wanted; nothing is changed by it."""
        wants = yield from self.wants(engine, nearest, sight, at)
        preempt = Part.PREEMPT in self.parts
        loads, _ = engine.loads.copied().plan(wants, at, idle=engine.running == 0, preempt=preempt)
        steps = self._host(engine, engine.hosting.copied(), nearest, sight, at)
        return [*loads, *steps], frozenset(want.memory for want in wants)

    def wants(
        self, engine: Engine, nearest: Nearest, sight: Sight, at: float
    ) -> Generator[int, None, list[Want]]:
        """What is to be loaded ahead, nearest first, what is on its way included."""
        if not (engine.residency.pools and any(chain.from_iterable(self._ways(engine).values()))):
            engine.needed = {}
            return []
        needs = yield from self._needs(engine, nearest, sight)
        needs.running.update(MemoryId(LORA, adapter) for adapter in engine.adapters_in_use)
        flying = engine.loads.loading
        offloaded: list[Want] = []
        waiting = 0
        for number, (memory, near) in enumerate(needs.near.items(), 1):
            if number % _PIECE == 0:
                yield _PIECE // _MODERATE
            if waiting == _WAITING:
                break
            if memory in flying or memory not in needs.running:
                want = self._want(engine, memory, near, flying, at)
                if want is not None:
                    offloaded.append(want)
                    waiting += 1
        # A load on its way when the call comes is left to finish, however many are nearer now.
        for memory in flying - {want.memory for want in offloaded}:
            if memory in needs.near:
                want = self._want(engine, memory, needs.near[memory], flying, at)
                if want is not None:
                    offloaded.append(want)
        if not offloaded:
            return []
        chosen: list[Want] = []
        for pool in engine.residency.pools:
            here = [want for want in offloaded if want.memory.kind in pool.kinds]
            if here:
                # While recency is in charge, distance takes no room from anybody: it is not believed.
                takes_room = engine.by_distance or KV_PREFIX not in pool.kinds
                residents = (yield from self._residents(engine, needs, pool, flying)) if takes_room else []
                yield (len(here) + len(residents)) // _MODERATE
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

    def standing(self, engine: Engine, agent: Agent, ask: Ask | None) -> dict[MemoryId, Standing]:
        """Of each memory that the agent's calls need there."""
        view = AgentView(agent.owner, agent.adapter, agent.size_tokens)
        standing: dict[MemoryId, Standing] = {}
        for kind in self.kinds:
            memory = kind.of_agent(view)
            if memory is not None:
                way = kind.way(engine.features, agent.has_host_copy(kind.name), self.parts)
                result = None if ask is None else ask.results.get(memory)
                standing[memory] = self._standing(engine, memory, view, kind, way, result)
        return standing

    def _standing(
        self,
        engine: Engine,
        memory: MemoryId,
        agent: AgentView,
        kind: Kind,
        way: Way | None,
        result: LoadState | None,
    ) -> Standing:
        known = engine.residency.reported(memory)
        if known is not None and known.device_bytes and not known.missing_bytes:
            return Standing.HERE
        has_pool = any(kind.name in pool.kinds for pool in engine.residency.pools)
        if way is None or not has_pool:
            return Standing.IMPOSSIBLE
        if memory in engine.loads.loading or memory in engine.residency.loading:
            return Standing.COMING
        if result is LoadState.ABSENT or (known is not None and not any(known)):
            return Standing.ABSENT
        if engine.loads.has_given_up(memory):
            return Standing.FAILED
        missing = self._missing_bytes(engine, memory, agent, kind, way)
        if missing == 0 or (way is Way.RECOMPUTE and result in (LoadState.LOADED, LoadState.RESIDENT)):
            return Standing.HERE
        if missing is None:
            return Standing.IMPOSSIBLE
        return Standing.NO_ROOM if result is LoadState.NO_ROOM else Standing.WAITS

    def fills_slots(self, engine: Engine) -> bool:
        """Whether adapters come to a slot ahead of a call."""
        has_pool = any(LORA in pool.kinds for pool in engine.residency.pools)
        ways = (kind.way(engine.features, True, self.parts) for kind in self.kinds if kind.name == LORA)
        return has_pool and any(way is not None for way in ways)

    def memories(self, agent: Agent) -> list[MemoryId]:
        view = AgentView(agent.owner, agent.adapter, agent.size_tokens)
        return [memory for kind in self.kinds if (memory := kind.of_agent(view)) is not None]

    def _needs(self, engine: Engine, nearest: Nearest, sight: Sight) -> Generator[int, None, _Needs]:
        needs = _Needs()
        leaving, ways = self.adapters.leaving, self._ways(engine)
        agents, near, active, distances = sight.agents, sight.near, sight.active, needs.distances
        away, is_active, is_running = needs.near, needs.active, needs.running
        for adapter in sight.asked_adapters:
            if adapter not in leaving:
                self._ask_for(adapter, needs, ways)
        # Most agents were in the plan before, and need what they needed then.
        before, needed = engine.needed, {}
        for number, (owner, distance) in enumerate(nearest, 1):
            if number % _PIECE == 0:
                yield _PIECE // _MODERATE
            agent = agents[owner]
            runs_on = agent.requested if agent.assigned is None else agent.adapter
            known = before.get(owner)
            if leaving and runs_on in leaving:
                runs_on = None
            if known is None or known[0] != (owner, runs_on, agent.size_tokens):
                known = self._needed(AgentView(owner, runs_on, agent.size_tokens))
            view, memories = needed[owner] = known
            goes_on, runs, is_near = owner in active, agent.running, owner in near
            has_own = is_near and (agent.host_copy is not None or agent.simulation.host_copy)
            for memory, kind in memories:
                if is_new := memory not in distances:
                    distances[memory] = distance
                if goes_on:
                    is_active.add(memory)
                if runs:
                    is_running.add(memory)
                if is_near and (is_new or memory not in away):
                    way = ways[kind.name][not has_own or agent.has_host_copy(kind.name)]
                    if way is not None:
                        away[memory] = distance, view, kind, way
        engine.needed = needed
        return needs

    def _ways(self, engine: Engine) -> dict[str, tuple[Way | None, Way | None]]:
        """By kind, how the engine loads what is to have no copy in host memory, and what is."""
        features, parts = engine.features, self.parts
        return {
            kind.name: (kind.way(features, False, parts), kind.way(features, True, parts))
            for kind in self.kinds
        }

    def _ask_for(
        self, adapter: AdapterName, needs: _Needs, ways: Mapping[str, tuple[Way | None, Way | None]]
    ) -> None:
        """An operator wants it on the device, whoever may need it."""
        view = AgentView(Owner(""), adapter)
        for kind in self.kinds:
            way, memory = ways[kind.name][True], kind.of_agent(view)
            if kind.name == LORA and way is not None and memory is not None:
                needs.distances[memory] = 0.0
                needs.near[memory] = 0.0, view, kind, way

    def _needed(self, agent: AgentView) -> Needed:
        memories = ((kind.of_agent(agent), kind) for kind in self.kinds)
        return agent, tuple((memory, kind) for memory, kind in memories if memory is not None)

    def _want(
        self, engine: Engine, memory: MemoryId, near: _Near, flying: frozenset[MemoryId], at: float
    ) -> Want | None:
        """None if nothing of it is missing, or if it is not known to be loadable."""
        distance, agent, kind, way = near
        size_bytes = self._missing_bytes(engine, memory, agent, kind, way)
        if memory in flying:
            # It ends by itself. The engine made room for it when it began.
            size_bytes = 0 if memory in engine.residency.loading else size_bytes or 0
        elif not size_bytes:
            return None
        if engine.loads.has_given_up(memory):
            return None
        if memory.kind == LORA and memory.key not in engine.hosting.held:
            return None
        grace = max(_GRACE_S, _GRACE * distance)
        return Want(memory, distance, size_bytes, way, at + distance + grace)

    def _missing_bytes(
        self, engine: Engine, memory: MemoryId, agent: AgentView, kind: Kind, way: Way
    ) -> int | None:
        residency = engine.residency
        known = None if way is Way.RECOMPUTE else residency.memories.get(memory)
        if known is not None:
            return known.missing_bytes
        size_bytes = kind.size_bytes(agent, residency.view)
        if way is Way.RECOMPUTE and size_bytes is not None:
            return residency.missing_when_computed(memory, size_bytes)
        return size_bytes

    def _residents(
        self, engine: Engine, needs: _Needs, pool: Pool, flying: frozenset[MemoryId]
    ) -> Generator[int, None, list[Resident]]:
        residency = engine.residency
        active = needs.active | needs.running | flying | residency.loading
        residents: list[Resident] = []
        known_bytes = 0
        memories, kinds = residency.memories, pool.kinds
        # All others are like what is not reported: nobody in the plan needs them.
        others = dict.fromkeys(active - needs.distances.keys(), math.inf)
        for number, (memory, distance) in enumerate(chain(needs.distances.items(), others.items()), 1):
            if number % _PIECE == 0:
                yield _PIECE // _LIGHT
            known = memories.get(memory)
            if known is not None and known.device_bytes and memory.kind in kinds:
                residents.append(Resident(memory, distance, known.device_bytes, memory in active))
                known_bytes += known.device_bytes
        coming = (residency.memories.get(memory) for memory in residency.loading if memory.kind in pool.kinds)
        coming_bytes = sum(one.missing_bytes for one in coming if one is not None)
        unknown_bytes = pool.capacity_bytes - pool.free_bytes - known_bytes - coming_bytes
        if unknown_bytes > 0:
            residents.append(Resident(_OTHERS, math.inf, unknown_bytes, False))
        return residents

    def _host(
        self, engine: Engine, hosting: Hosting, nearest: Nearest, sight: Sight, at: float
    ) -> list[FetchAdapter | DropAdapter]:
        if "fetch_adapters" not in engine.features:
            return []
        leaving = self.adapters.leaving
        soon = dict.fromkeys(one for one in sight.asked_adapters if one not in leaving)
        soon.update(
            (adapter, None)
            for owner, _ in nearest
            if owner in sight.soon and (adapter := sight.agents[owner].adapter) is not None
        )
        moving = engine.loads.loading | engine.residency.loading
        capabilities = engine.capabilities
        return hosting.plan(
            engine.id,
            self.adapters,
            nearest_adapters(nearest, sight, engine, leaving),
            soon,
            engine.adapters_in_use | {AdapterName(key) for kind, key in moving if kind == LORA},
            None if capabilities is None else capabilities.host_adapters,
            at,
        )

"""The builder of the core's tests: a controller that is talked to, checked after every event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalesim.proxy.core.actions import Action
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import (
    ActionStarted,
    AdapterAssigned,
    AdapterForgotten,
    AdapterRegistered,
    AgentLeft,
    CallEnded,
    CallSent,
    CallStarted,
    DistanceHinted,
    EngineFound,
    EngineLost,
    EngineRemoved,
    Event,
    HostCopySet,
    Idled,
    ModeSet,
    Reported,
    Settled,
    SimulationEnded,
    StepTicked,
    Ticked,
)
from scalesim.proxy.core.kinds import Kind
from scalesim.proxy.core.model import (
    KV_PREFIX,
    LORA,
    AdapterName,
    AgentName,
    CallId,
    Capabilities,
    Clock,
    EngineId,
    EngineReport,
    LoadResult,
    LoadState,
    MemoryId,
    MemoryReport,
    Mode,
    Outcome,
    Owner,
    Pool,
    SimulationId,
    Usage,
)
from scalesim.proxy.core.snapshot import AgentSnapshot, EngineSnapshot, SimulationSnapshot
from scalesim.proxy.core.wanted import Policy

TOWN = SimulationId("town")
GPU = EngineId("gpu")
BOTH = frozenset({"order", "pin"})
HOST_TIER = BOTH | {"load_kv_prefix", "host_copy"}
LORAS = BOTH | {"adapters", "load_lora", "fetch_adapters"}


def own(*agents: str, simulation: str = TOWN) -> tuple[Owner, ...]:
    return tuple(Owner(f"{simulation}/{agent}") for agent in agents)


def prefix(agent: str, simulation: str = TOWN) -> MemoryId:
    return MemoryId(KV_PREFIX, f"{simulation}/{agent}")


def lora(adapter: str) -> MemoryId:
    return MemoryId(LORA, adapter)


def key(adapter: str) -> AdapterName:
    return AdapterName(adapter)


def pool(
    kind: str = KV_PREFIX, *others: str, free: int, capacity: int = 1000, name: str | None = None
) -> Pool:
    return Pool(name or kind, frozenset({kind, *others}), capacity, free)


class Conversation:
    """Time stands at `at`, and moves only by `wait`."""

    def __init__(
        self,
        *,
        policy: str | Policy = "nearest_first",
        kinds: Sequence[Kind] | None = None,
        **config: Any,
    ) -> None:
        if isinstance(policy, str):
            self.controller = Controller(ControllerConfig(policy=policy, **config), kinds=kinds)
        else:
            self.controller = Controller(ControllerConfig(**config), policy=policy, kinds=kinds)
        self.at = 0.0
        self.checked = True
        """After every event, at a cost that grows with everything known: a crowd is better made unchecked."""
        self._calls = 0

    def post(self, event: Event) -> list[Action]:
        actions = self.controller.handle(event)
        if self.checked:
            self.controller.check()
        return actions

    def wait(self, seconds: float) -> None:
        self.at += seconds

    # Engines

    def find(
        self,
        engine: EngineId = GPU,
        *,
        features: frozenset[str] = BOTH,
        boot: str | None = "boot-1",
        capacity: int | None = 1000,
        slots: int | None = None,
        host_adapters: int | None = None,
    ) -> list[Action]:
        capabilities = Capabilities(
            "emulated", "1", bool(features), features, boot, capacity, slots, host_adapters
        )
        return self.post(EngineFound(self.at, engine, capabilities))

    def lose(self, engine: EngineId = GPU) -> None:
        assert self.post(EngineLost(self.at, engine, "unplugged")) == []

    def remove(self, engine: EngineId = GPU) -> None:
        assert self.post(EngineRemoved(self.at, engine)) == []

    def report(
        self,
        *,
        engine: EngineId = GPU,
        boot: str = "boot-1",
        plan: bool = True,
        pins: tuple[Owner, ...] = (),
        capacity: int = 1000,
        pools: Sequence[Pool] = (),
        memories: Mapping[MemoryId, tuple[int, int]] | None = None,
        loading: Sequence[MemoryId] = (),
        running: Sequence[str] = (),
    ) -> list[Action]:
        """`memories` are bytes on the device and bytes missing."""
        known = {memory: MemoryReport(*sizes) for memory, sizes in (memories or {}).items()}
        report = EngineReport(
            boot,
            plan,
            frozenset(pins),
            0,
            capacity,
            tuple(pools),
            known,
            frozenset(loading),
            frozenset(map(key, running)),
        )
        return self.post(Reported(self.at, engine, report))

    def settle(
        self, actions: Sequence[Action], error: str | None = None, state: LoadState | None = None
    ) -> None:
        result = None if state is None else LoadResult(state)
        for action in actions:
            assert self.post(Settled(self.at, action, error, result)) == []

    def tick(self) -> list[Action]:
        return self.post(Ticked(self.at))

    def idle(self) -> list[Action]:
        return self.post(Idled(self.at))

    def plan(self) -> list[Action]:
        """A tick whose actions are carried out at once."""
        actions = self.tick()
        self.settle(actions)
        return actions

    # Simulations

    def start(
        self,
        agent: str | None,
        *,
        simulation: str = TOWN,
        engine: EngineId = GPU,
        adapter: str | None = None,
        moves: bool = True,
    ) -> CallId:
        self._calls += 1
        call = CallId(self._calls)
        name = None if agent is None else AgentName(agent)
        runs_on = None if adapter is None else key(adapter)
        started = CallStarted(self.at, call, SimulationId(simulation), name, engine, runs_on, moves)
        assert self.post(started) == []
        return call

    def send(
        self, call: CallId, engine: EngineId = GPU, *, adapter: str | None = None, moves: bool = True
    ) -> None:
        runs_on = None if adapter is None else key(adapter)
        assert self.post(CallSent(self.at, call, engine, runs_on, moves)) == []

    def end(
        self,
        call: CallId,
        *,
        prompt: int | None = 90,
        cached: int | None = 0,
        output: int = 10,
        acts_for: float | None = None,
        said: float | None = None,
        clock: Clock = Clock.STEPS,
        outcome: Outcome = Outcome.DONE,
    ) -> None:
        usage = None if prompt is None else Usage(prompt, cached, output)
        acts, read = (None if one is None else (one, clock) for one in (acts_for, said))
        assert self.post(CallEnded(self.at, call, outcome, usage, acts, read)) == []

    def call(
        self,
        agent: str,
        *,
        simulation: str = TOWN,
        engine: EngineId = GPU,
        adapter: str | None = None,
        **end: Any,
    ) -> None:
        """A call that takes no time."""
        self.end(self.start(agent, simulation=simulation, engine=engine, adapter=adapter), **end)

    def hint(self, clock: Clock = Clock.STEPS, *, simulation: str = TOWN, **distances: float) -> None:
        told = {AgentName(name): distance for name, distance in distances.items()}
        assert self.post(DistanceHinted(self.at, SimulationId(simulation), clock, told)) == []

    def act(self, agent: str, duration: float, clock: Clock = Clock.STEPS) -> None:
        assert self.post(ActionStarted(self.at, TOWN, AgentName(agent), duration, clock)) == []

    def step(self, step: float | None = None, *, simulation: str = TOWN) -> None:
        assert self.post(StepTicked(self.at, SimulationId(simulation), step)) == []

    def leave(self, agent: str) -> None:
        assert self.post(AgentLeft(self.at, TOWN, AgentName(agent))) == []

    def finish(self, simulation: str = TOWN) -> list[Action]:
        return self.post(SimulationEnded(self.at, SimulationId(simulation)))

    def set_mode(self, mode: Mode, simulation: str = TOWN) -> list[Action]:
        return self.post(ModeSet(self.at, SimulationId(simulation), mode))

    # Operators

    def register(self, name: str, path: str = "/adapters") -> None:
        assert self.post(AdapterRegistered(self.at, name, path)) == []

    def forget_adapter(self, name: str) -> None:
        assert self.post(AdapterForgotten(self.at, name)) == []

    def assign(self, agent: str, name: str | None, simulation: str = TOWN) -> None:
        told = AdapterAssigned(self.at, SimulationId(simulation), AgentName(agent), name)
        assert self.post(told) == []

    def host_copy(self, agent: str | None, wanted: bool, kind: str = KV_PREFIX) -> None:
        name = None if agent is None else AgentName(agent)
        assert self.post(HostCopySet(self.at, TOWN, name, kind, wanted)) == []

    # Reading

    def agent(self, name: str, simulation: str = TOWN) -> AgentSnapshot:
        known = self.controller.agent(SimulationId(simulation), AgentName(name))
        assert known is not None
        return known

    def distance(self, name: str) -> float | None:
        return self.agent(name).distance

    @property
    def engine(self) -> EngineSnapshot:
        return next(engine for engine in self.controller.engines() if engine.id == GPU)

    @property
    def town(self) -> SimulationSnapshot:
        return next(known for known in self.controller.simulations() if known.id == TOWN)

"""The builder of the core's tests: a controller that is talked to, checked after every event."""

from __future__ import annotations

from typing import Any

from scalesim.proxy.core.actions import Action
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import (
    ActionStarted,
    AgentLeft,
    CallEnded,
    CallStarted,
    DistanceHinted,
    EngineFound,
    EngineLost,
    Event,
    ModeSet,
    Reported,
    Settled,
    SimulationEnded,
    StepTicked,
    Ticked,
)
from scalesim.proxy.core.model import (
    AgentName,
    CallId,
    Capabilities,
    Clock,
    EngineId,
    EngineReport,
    Mode,
    Outcome,
    Owner,
    SimulationId,
    Usage,
)
from scalesim.proxy.core.snapshot import AgentSnapshot, EngineSnapshot, SimulationSnapshot
from scalesim.proxy.core.wanted import Policy

TOWN = SimulationId("town")
GPU = EngineId("gpu")
BOTH = frozenset({"order", "pin"})


def own(*agents: str, simulation: str = TOWN) -> tuple[Owner, ...]:
    return tuple(Owner(f"{simulation}/{agent}") for agent in agents)


class Conversation:
    """Time stands at `at`, and moves only by `wait`."""

    def __init__(self, *, policy: str | Policy = "nearest_first", **config: Any) -> None:
        if isinstance(policy, str):
            self.controller = Controller(ControllerConfig(policy=policy, **config))
        else:
            self.controller = Controller(ControllerConfig(**config), policy=policy)
        self.at = 0.0
        self._calls = 0

    def post(self, event: Event) -> list[Action]:
        actions = self.controller.handle(event)
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
    ) -> list[Action]:
        capabilities = Capabilities("emulated", "1", bool(features), features, boot, capacity)
        return self.post(EngineFound(self.at, engine, capabilities))

    def lose(self, engine: EngineId = GPU) -> None:
        assert self.post(EngineLost(self.at, engine, "unplugged")) == []

    def report(
        self,
        *,
        engine: EngineId = GPU,
        boot: str = "boot-1",
        plan: bool = True,
        pins: tuple[Owner, ...] = (),
        capacity: int = 1000,
    ) -> list[Action]:
        return self.post(
            Reported(self.at, engine, EngineReport(boot, plan, frozenset(pins), 0, capacity)),
        )

    def settle(self, actions: list[Action], error: str | None = None) -> None:
        for action in actions:
            assert self.post(Settled(self.at, action, error)) == []

    def tick(self) -> list[Action]:
        return self.post(Ticked(self.at))

    def plan(self) -> list[Action]:
        """A tick whose actions are carried out at once."""
        actions = self.tick()
        self.settle(actions)
        return actions

    # Simulations

    def start(self, agent: str | None, *, simulation: str = TOWN, engine: EngineId = GPU) -> CallId:
        self._calls += 1
        call = CallId(self._calls)
        name = None if agent is None else AgentName(agent)
        assert self.post(CallStarted(self.at, call, SimulationId(simulation), name, engine)) == []
        return call

    def end(
        self,
        call: CallId,
        *,
        prompt: int | None = 90,
        cached: int | None = 0,
        output: int = 10,
        acts_for: float | None = None,
        clock: Clock = Clock.STEPS,
        outcome: Outcome = Outcome.DONE,
    ) -> None:
        usage = None if prompt is None else Usage(prompt, cached, output)
        acts = None if acts_for is None else (acts_for, clock)
        assert self.post(CallEnded(self.at, call, outcome, usage, acts)) == []

    def call(self, agent: str, *, simulation: str = TOWN, engine: EngineId = GPU, **end: Any) -> None:
        """A call that takes no time."""
        self.end(self.start(agent, simulation=simulation, engine=engine), **end)

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

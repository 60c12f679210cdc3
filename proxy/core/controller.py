"""Events in, actions out: the one door of the core.

It does no I/O and reads no clock: time arrives inside events. Nothing that is told makes it raise. What must always
hold is kept here and not left to policies; `check` states it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import islice

from . import distance, invariants, policies, snapshot
from .actions import Action, Order, Pin, Renew, Unpin
from .counters import Totals
from .events import (
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
from .model import AgentName, Mode, SimulationId
from .planning import keep_invariants, view_of
from .snapshot import AgentSnapshot, EngineSnapshot, SimulationSnapshot, Snapshot
from .wanted import Policy, View, Wanted
from .world import Engine, World

_SENT = frozenset({Mode.ON})
_COMPUTED = frozenset({Mode.ON, Mode.SHADOW})


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """Refuses values that make no sense with a `ValueError` that names them."""

    mode: Mode = Mode.ON
    """Of simulations for which nothing else was set."""
    policy: str = "nearest_first"
    distance: str = "blend"
    agent_limit: int = 200_000
    """Per simulation. Beyond it the least recently seen agent without a running call is forgotten."""
    total_agent_limit: int = 400_000
    """Over all simulations. Beyond it such an agent of the same simulation is forgotten; if it has none, one of the
    least recently seen simulation that has."""
    simulation_limit: int = 256
    """Beyond it the least recently seen without a running call is forgotten, if possible one in the mode above."""
    call_limit: int = 65_536
    """Running at once. Beyond it the oldest is taken as ended."""
    plan_limit: int = 4_096
    """Owners in one order: more than an engine holds are of no use."""
    pin_share: float = 0.5
    """Of an engine's capacity, at most so much is pinned."""

    def __post_init__(self) -> None:
        for name in ("agent_limit", "total_agent_limit", "simulation_limit", "call_limit", "plan_limit"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)!r}")
        if not 0.0 <= self.pin_share <= 1.0:
            raise ValueError(f"pin_share must be from 0 to 1, not {self.pin_share!r}")


class Controller:
    """`policy` overrules the config's, to try one out that has no name.

    Every action returned must come back as exactly one `Settled`, unless its engine is lost first. Those for one engine
    are to be carried out in the order in which they were returned.
    """

    def __init__(self, config: ControllerConfig, *, policy: Policy | None = None) -> None:
        self._config = config
        self._policy = policy or policies.find(config.policy)
        self._estimate = distance.find(config.distance)
        self._now = 0.0
        self._world = World(
            mode=config.mode,
            agent_limit=config.agent_limit,
            total_agent_limit=config.total_agent_limit,
            simulation_limit=config.simulation_limit,
            call_limit=config.call_limit,
        )

    @property
    def dirty(self) -> bool:
        """Whether a `Ticked` would plan. Time alone never makes a plan due: without calls nothing is evicted."""
        return any(self._due(engine) for engine in self._world.engines.values())

    def handle(self, event: Event) -> list[Action]:
        """Only `Ticked`, `Reported`, `EngineFound`, `ModeSet` and `SimulationEnded` return actions."""
        at = self._advance(event.at)
        world = self._world
        match event:
            case CallStarted():
                world.start_call(event, at)
            case CallEnded():
                world.end_call(event, at)
            case DistanceHinted():
                world.hint(event, at)
            case ActionStarted():
                world.start_action(event, at)
            case StepTicked():
                world.tick_steps(event, at)
            case AgentLeft():
                world.leave(event)
            case Settled():
                self._settle(event, at)
            case EngineLost():
                self._lose(event)
            case EngineFound():
                self._find(event)
                return self._act(at)
            case Reported():
                self._learn(event)
                return self._act(at)
            case ModeSet():
                self._set_mode(event, at)
                return self._act(at)
            case SimulationEnded():
                self._end_simulation(event.simulation)
                return self._act(at)
            case Ticked():
                world.end_pauses(at)
                return self._act(at)
        return []

    # Reading

    def mode(self, simulation: SimulationId) -> Mode:
        """Of an unknown one: what it would begin with."""
        known = self._world.simulations.get(simulation)
        return self._config.mode if known is None else known.mode

    def knows(self, simulation: SimulationId, agent: AgentName | None = None) -> bool:
        known = self._world.simulations.get(simulation)
        return known is not None and (agent is None or agent in known.agents)

    def snapshot(self) -> Snapshot:
        return Snapshot(self._now, tuple(self.simulations()), tuple(self.engines()), self.totals())

    def simulations(self) -> list[SimulationSnapshot]:
        return [snapshot.of_simulation(simulation) for simulation in self._world.simulations.values()]

    def agents(
        self, simulation: SimulationId, offset: int = 0, limit: int | None = None
    ) -> list[AgentSnapshot]:
        """`limit` of them from `offset` on, in the order in which they became known; none of an unknown simulation."""
        known = self._world.simulations.get(simulation)
        if known is None:
            return []
        page = islice(known.agents.values(), offset, None if limit is None else offset + limit)
        return [snapshot.of_agent(agent, self._estimate, self._now) for agent in page]

    def agent(self, simulation: SimulationId, name: AgentName) -> AgentSnapshot | None:
        known = self._world.simulations.get(simulation)
        agent = None if known is None else known.agents.get(name)
        return None if agent is None else snapshot.of_agent(agent, self._estimate, self._now)

    def engines(self) -> list[EngineSnapshot]:
        return [snapshot.of_engine(engine) for engine in self._world.engines.values()]

    def totals(self) -> Totals:
        return replace(self._world.totals)

    def sizes(self) -> dict[str, int]:
        """Entries per table. None of them can grow without limit."""
        world = self._world
        return {
            "simulations": len(world.simulations),
            "agents": sum(len(simulation.agents) for simulation in world.simulations.values()),
            "calls": len(world.calls),
            "engines": len(world.engines),
            "ordered_owners": sum(len(engine.belief.order or ()) for engine in world.engines.values()),
            "pinned_owners": sum(
                len(engine.belief.pins) + len(engine.belief.doubtful) for engine in world.engines.values()
            ),
        }

    def check(self) -> None:
        """Raises `AssertionError` if what must always hold does not. Its cost grows with everything known: for tests."""
        invariants.check(self._world, self._config.plan_limit, self._now)

    # Events that change engines or modes

    def _advance(self, at: float) -> float:
        if self._now < at < math.inf:
            self._now = at
        return self._now

    def _settle(self, event: Settled, at: float) -> None:
        engine = self._world.engines.get(event.action.engine)
        if engine is None or not engine.belief.settle(event.action, event.error, at):
            return
        self._world.totals.failed_actions += event.error is not None
        engine.dirty = engine.dirty or engine.blocked or event.error is not None
        engine.blocked = False

    def _find(self, event: EngineFound) -> None:
        engine = self._world.engine(event.engine)
        capabilities = event.capabilities
        self._booted(engine, capabilities.boot_id)
        engine.reachable, engine.capabilities = True, capabilities
        if capabilities.capacity_tokens is not None:
            engine.capacity_tokens = capabilities.capacity_tokens
        engine.dirty = True

    def _lose(self, event: EngineLost) -> None:
        engine = self._world.engine(event.engine)
        engine.reachable = False
        engine.forget()

    def _learn(self, event: Reported) -> None:
        engine = self._world.engine(event.engine)
        report = event.report
        if self._booted(engine, report.boot_id) or engine.capacity_tokens != report.capacity_tokens:
            engine.capacity_tokens = report.capacity_tokens
            engine.dirty = True
        if engine.reachable and engine.belief.heal(report):
            self._world.totals.healed += 1
            engine.dirty = True

    def _booted(self, engine: Engine, boot_id: str | None) -> bool:
        """Whether this is not the process that we knew: it has forgotten everything, so we do too."""
        if boot_id is None or boot_id == engine.boot_id:
            return False
        anew = engine.boot_id is not None
        engine.boot_id = boot_id
        if anew:
            engine.forget()
        return anew

    def _set_mode(self, event: ModeSet, at: float) -> None:
        simulation = self._world.simulation(event.simulation, at)
        if simulation is not None and simulation.mode is not event.mode:
            simulation.mode = event.mode
            self._world.mark_all()

    def _end_simulation(self, name: SimulationId) -> None:
        simulation = self._world.simulations.get(name)
        if simulation is not None:
            self._world.drop_simulation(simulation)

    # Planning

    def _act(self, at: float) -> list[Action]:
        actions: list[Action] = []
        for engine in self._world.engines.values():
            if self._due(engine) and not engine.belief.waits(at):
                actions += self._plan(engine, at)
            if engine.reachable:
                actions += engine.belief.renewal(engine.id, at)
        self._count(actions)
        return actions

    def _due(self, engine: Engine) -> bool:
        return engine.dirty and engine.belief.is_free(engine.features)

    def _plan(self, engine: Engine, at: float) -> list[Action]:
        engine.budget_tokens = int(self._config.pin_share * (engine.capacity_tokens or 0))
        engine.wanted, view = self._wanted(engine, _SENT, at)
        self._world.totals.plans += 1
        engine.shadow = None
        if any(simulation.mode is Mode.SHADOW for simulation in self._world.simulations.values()):
            engine.shadow, _ = self._wanted(engine, _COMPUTED, at)
            self._world.totals.shadow_plans += 1
        belief = engine.belief
        pins = {*engine.wanted.pins, *belief.pins, *belief.doubtful}
        sizes = {
            c.owner: c.size_tokens for c in view.candidates if c.owner in pins and c.size_tokens is not None
        }
        engine.pinned_tokens = sum(sizes[owner] for owner in engine.wanted.pins)
        actions, complete = belief.steps(
            engine.id, engine.wanted, sizes, engine.budget_tokens, engine.features, at
        )
        engine.dirty, engine.blocked = False, not complete
        return actions

    def _wanted(self, engine: Engine, modes: frozenset[Mode], at: float) -> tuple[Wanted, View]:
        view = view_of(
            engine.agents,
            modes,
            self._estimate,
            at,
            pin_budget_tokens=engine.budget_tokens,
            plan_limit=self._config.plan_limit,
        )
        asked = self._policy(view)
        wanted = keep_invariants(asked, view)
        self._world.totals.corrected_plans += wanted != asked
        return wanted, view

    def _count(self, actions: list[Action]) -> None:
        totals = self._world.totals
        for action in actions:
            totals.orders += isinstance(action, Order)
            totals.pins += isinstance(action, Pin)
            totals.unpins += isinstance(action, Unpin)
            totals.renewals += isinstance(action, Renew)

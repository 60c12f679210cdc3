"""Events in, actions out: the one door of the core.

It does no I/O and reads no clock: time arrives inside events. Nothing that is told makes it raise. What must always
hold is kept here and not left to policies; `check` states it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from operator import attrgetter

from . import choosing, distance, invariants, policies, reasons, snapshot
from .actions import Action, DropAdapter, FetchAdapter, Load, Order, Pin, Renew, StopLoad, Unpin
from .adapters import Adapter
from .agent import Agent
from .agent_pages import AgentFilter, agents_after
from .config import ControllerConfig as ControllerConfig
from .counters import Totals
from .distance.blend import known_of
from .durations import Reading
from .engine import ENGINE_TABLES, Engine
from .estimate import distance_s
from .events import (
    ActionStarted,
    Activated,
    AdapterAsked,
    AdapterAssigned,
    AdapterForgotten,
    AdapterLetGo,
    AdapterPinned,
    AdapterRegistered,
    AdapterUnpinned,
    AgentLeft,
    AgentPinned,
    AgentUnpinned,
    CallEnded,
    CallSent,
    CallStarted,
    DistanceHinted,
    EdgesGiven,
    EngineFound,
    EngineLost,
    EngineRemoved,
    EstimatorSet,
    Event,
    GraphCleared,
    HostCopySet,
    Idled,
    Interacted,
    ModeSet,
    Moved,
    PolicySet,
    PrefetchAsked,
    PreviewAsked,
    ReadingSet,
    Rehomed,
    Reported,
    Settled,
    SimulationEnded,
    SpaceCleared,
    SpaceSet,
    StepTicked,
    Ticked,
)
from .glance import Glance, Reckoning, at_agent, clocks_of
from .keeping import Keeping
from .kinds import Kind
from .kinds import find as find_kind
from .kinds import names as kind_names
from .loading import Loading, Standing
from .model import (
    AdapterName,
    AgentName,
    Clock,
    EngineId,
    LoadState,
    MemoryId,
    MemoryReport,
    Mode,
    Outcome,
    SimulationId,
)
from .pins import PinRoom
from .planner import Planner
from .preview import Preview
from .rebalancing import Far
from .snapshot import (
    AdapterSnapshot,
    AgentSnapshot,
    EngineSnapshot,
    EstimateSnapshot,
    Place,
    ResidencySnapshot,
    SimulationSnapshot,
    Snapshot,
)
from .space import SpaceRules
from .story import Stories, StorySnapshot
from .surroundings import Surroundings
from .wanted import Policy
from .world import World

ANY_MODE = frozenset(Mode)


class Controller:
    """`policy` overrules the config's, to try one out that has no name; `kinds` are of memory, else all there are.

    Every action returned must come back as exactly one `Settled`, unless its engine is lost first. Orders, pins and
    renewals of one engine are to be carried out in the order in which they were returned, and so are its fetches and
    drops of adapters; loads go side by side with both.
    """

    def __init__(
        self,
        config: ControllerConfig,
        *,
        policy: Policy | None = None,
        kinds: Sequence[Kind] | None = None,
    ) -> None:
        self._config = config
        self._estimate = choosing.by_choice(distance.find(config.distance))
        self._policy = policy or policies.find(config.policy)
        self._kinds = tuple(map(find_kind, kind_names()) if kinds is None else kinds)
        self._now = 0.0
        self._begin()

    def _begin(self) -> None:
        config, known = self._config, self._kinds
        self._world = World(config, kinds=[kind.name for kind in known], stories=Stories(self._estimate))
        self._simulations = self._world.population.simulations
        self._surroundings = Surroundings(self._world, config.edge_limit)
        self._loading = Loading(known, config.parts, self._world.adapters)
        self._planner = Planner(self._world, self._loading, config, self._policy, self._estimate)
        self.keeping = Keeping(self._world, self._planner)
        """What another process needs to go on from here."""

    def clear(self) -> None:
        """It knows nothing but the time any more. No engine may be reachable: what is in flight is not to be settled."""
        self._begin()

    def configure(self, config: ControllerConfig) -> None:
        """From now on. Only `mode`, `reading`, `pin_share`, `prefetch_steps`, `prefetch_s` and `idle_after_s` may differ; a
        `ValueError` names another that does, and nothing was changed."""
        may_differ = {
            name: getattr(config, name)
            for name in ("mode", "reading", "pin_share", "prefetch_steps", "prefetch_s", "idle_after_s")
        }
        if replace(self._config, **may_differ) != config:
            raise ValueError(f"only {', '.join(may_differ)} can be changed while it runs")
        self._config = config
        self._world.configure(config)
        self._planner.configure(config)

    @property
    def dirty(self) -> bool:
        """Whether a `Ticked` would plan, or catch up with something. Time alone makes a plan due only where somebody
        comes near by it, or something that failed may be tried again."""
        if self._surroundings.behind or self._planner.is_planning:
            return True
        # No generator: this is asked after each call's events.
        for engine in self._world.engines.values():
            if engine.wake_at <= self._now or self._planner.is_due(engine):
                return True
        return False

    @property
    def behind(self) -> bool:
        """Whether an `Idled` would work out anything."""
        return self._surroundings.behind or self._planner.behind

    @property
    def planning(self) -> bool:
        """Whether a plan was begun that an `Idled` goes on with."""
        return self._planner.is_planning

    def handle(self, event: Event) -> list[Action]:
        """Only `Ticked`, `Idled`, `Reported`, `EngineFound`, `ModeSet` and `SimulationEnded` return actions."""
        at = self._advance(event.at)
        world = self._world
        match event:
            case CallStarted():
                world.start_call(event, at)
            case CallSent():
                world.send_call(event, at)
            case CallEnded():
                self._end_call(event, at)
            case DistanceHinted():
                world.hint(event, at)
            case ActionStarted():
                world.start_action(event, at)
            case StepTicked():
                world.tick_steps(event, at)
            case ReadingSet():
                world.set_reading(event, at)
            case EstimatorSet():
                world.set_estimator(event, at)
            case PolicySet():
                self._set_policy(event)
            case PreviewAsked():
                self._preview(event)
            case SpaceSet():
                self._surroundings.set_space(event, at)
            case SpaceCleared():
                self._surroundings.clear_space(event, at)
            case Moved():
                self._surroundings.move(event, at)
            case Interacted():
                self._surroundings.interact(event, at)
            case EdgesGiven():
                self._surroundings.connect(event, at)
            case GraphCleared():
                self._surroundings.clear_graph(event, at)
            case Activated():
                self._surroundings.activate(event, at)
            case Rehomed():
                world.rehome(event, at)
            case AgentLeft():
                world.leave(event, at)
            case AdapterRegistered():
                world.assignments.register(event)
            case AdapterForgotten():
                world.assignments.forget_adapter(event)
            case AdapterAssigned():
                world.assignments.assign(event, at)
            case HostCopySet():
                world.assignments.set_host_copy(event, at)
            case AgentPinned():
                world.assignments.pin(event, at)
            case AgentUnpinned():
                world.assignments.unpin(event)
            case AdapterPinned():
                world.assignments.pin_adapter(event, at)
            case AdapterUnpinned():
                world.assignments.unpin_adapter(event)
            case PrefetchAsked():
                self._ask(event, at)
            case AdapterAsked():
                world.assignments.ask_for_adapter(event, world.asks, at)
            case AdapterLetGo():
                world.assignments.let_adapter_go(event, at)
            case Settled():
                self._settle(event, at)
            case EngineLost():
                self._lose(event, at)
            case EngineRemoved():
                self._remove(event, at)
            case EngineFound():
                self._find(event, at)
                return self._act(at)
            case Reported():
                self._learn(event, at)
                return self._act(at)
            case ModeSet():
                self._set_mode(event, at)
                return self._act(at)
            case SimulationEnded():
                self._end_simulation(event.simulation)
                return self._act(at)
            case Idled():
                if self._surroundings.behind and not self.planning:
                    self._surroundings.catch_up(at)
                else:
                    return self._counted(self._planner.go_on(at, event.pieces))
            case Ticked():
                self._surroundings.catch_up(at)
                world.activations.end_pauses(at)
                world.population.rest(at)
                world.asks.tidy(at)
                if world.pins.tidy(at):
                    world.population.mark_all()
                return self._act(at)
        return []

    # Reading

    def mode(self, simulation: SimulationId) -> Mode:
        """Of an unknown one: what it would begin with."""
        known = self._simulations.get(simulation)
        return self._config.mode if known is None else known.mode

    def reading(self, simulation: SimulationId) -> Reading | None:
        """How its answers are read; None if they are not."""
        known = self._simulations.get(simulation)
        return self._config.reading if known is None or known.reading is None else known.reading

    def policy(self, engine: EngineId | None = None) -> str:
        """By which memory leaves the engine, or those that have none of their own."""
        return self._planner.policy_of(None if engine is None else self._world.engines.get(engine))

    def why(self, action: Action) -> str:
        """In words, of one that was returned just now."""
        return reasons.why(action, self._world, self._estimate, self.policy(action.engine), self._now)

    def knows(self, simulation: SimulationId, agent: AgentName | None = None) -> bool:
        known = self._simulations.get(simulation)
        return known is not None and (agent is None or agent in known.agents)

    @property
    def agent_limit(self) -> int:
        """Of each simulation."""
        return self._config.agent_limit

    def identity(self, simulation: SimulationId) -> object | None:
        """The same for as long as the simulation does not end; None of an unknown one."""
        return self._simulations.get(simulation)

    def adapter_of(self, simulation: SimulationId, agent: AgentName) -> AdapterName | None:
        """What an operator assigned to the agent, as engines call its current version. It is to be added to its
        requests, whatever the mode: it is part of the answer."""
        known = self._simulations.get(simulation)
        found = None if known is None else known.agents.get(agent)
        return None if found is None else found.assigned_adapter

    def has_host_copy(self, simulation: SimulationId, agent: AgentName, kind: str) -> bool:
        """As operators set it; True of whom nothing is known."""
        known = self._simulations.get(simulation)
        found = None if known is None else known.agents.get(agent)
        return found is None or found.has_host_copy(kind)

    def knows_adapter(self, name: str) -> bool:
        return name in self._world.adapters.current

    @property
    def adapter_count(self) -> int:
        """Registered."""
        return len(self._world.adapters.current)

    def adapters(self, offset: int = 0, limit: int | None = None) -> list[AdapterSnapshot]:
        """`limit` of them from `offset` on, in the order in which they were registered."""
        engines = self._world.engines.values()
        known = self._world.adapters.current.values()
        page = islice(known, offset, None if limit is None else offset + limit)
        return [self._adapter(adapter, engines) for adapter in page]

    def adapters_after(self, number: int, limit: int) -> list[AdapterSnapshot]:
        """At most so many that were registered after the one of that number, in that order."""
        engines, known = self._world.engines.values(), list(self._world.adapters.current.values())
        begin = bisect_right(known, number, key=attrgetter("number"))
        return [self._adapter(adapter, engines) for adapter in known[begin : begin + limit]]

    def adapter(self, name: str) -> AdapterSnapshot | None:
        known = self._world.adapters.current.get(name)
        return None if known is None else self._adapter(known, self._world.engines.values())

    def snapshot(self) -> Snapshot:
        return Snapshot(self._now, tuple(self.simulations()), tuple(self.engines()), self.totals())

    def simulations(self) -> list[SimulationSnapshot]:
        engines = self._world.engines.values()
        return [snapshot.of_simulation(simulation, engines) for simulation in self._simulations.values()]

    def simulation(self, name: SimulationId) -> SimulationSnapshot | None:
        known = self._simulations.get(name)
        return None if known is None else snapshot.of_simulation(known, self._world.engines.values())

    def agents(
        self, simulation: SimulationId, offset: int = 0, limit: int | None = None
    ) -> list[AgentSnapshot]:
        """`limit` of them from `offset` on, in the order in which they became known; none of an unknown simulation."""
        known = self._simulations.get(simulation)
        if known is None:
            return []
        page = islice(known.agents.values(), offset, None if limit is None else offset + limit)
        return [self._agent(agent) for agent in page]

    def agent(self, simulation: SimulationId, name: AgentName) -> AgentSnapshot | None:
        agent = self._world.population.find(simulation, name)
        return None if agent is None else self._agent(agent)

    def pin_room(self, simulation: SimulationId, name: AgentName) -> PinRoom | None:
        """Whether an operator may pin the agent; None of an unknown one."""
        agent = self._world.population.find(simulation, name)
        return None if agent is None else self._world.pins.room_of(agent)

    def adapter_pin_room(self, name: str) -> PinRoom | None:
        known = self._world.adapters.current.get(name)
        return None if known is None else self._world.pins.room_for(known, self._world.engines.values())

    def far(self, engine: EngineId, beyond_s: float, limit: int) -> list[Far]:
        """Of the `limit` agents of the engine that were farthest when plans last looked, those that are beyond so many seconds now and
        that nothing holds there. Only of simulations that are on."""
        known = self._world.engines.get(engine)
        if known is None:
            return []
        here = (one for one in self._planner.farthest(known, limit) if one.engine is known)
        return [
            Far(agent.simulation.id, agent.name, away_s)
            for agent in here
            if agent.is_free(self._now) and (away_s := self._away_s(agent)) > beyond_s
        ]

    def standing(self, simulation: SimulationId, name: AgentName) -> dict[MemoryId, Standing] | None:
        """How far each memory of the agent is from being on the device of its engine; nothing where that cannot be reached. None
        of an unknown agent, or of one without memory."""
        agent = self._world.population.find(simulation, name)
        if agent is None or agent.engine is None:
            return None
        if not agent.engine.reachable:
            return {}
        return self._loading.standing(agent.engine, agent, self._world.asks.of(agent))

    def adapter_places(self) -> dict[EngineId, Place]:
        """Of each engine that can be told to get adapters: up to where it takes one ahead of a call."""
        engines = self._world.engines.values()
        return {
            one.id: Place.SLOT if self._loading.fills_slots(one) else Place.HOST
            for one in engines
            if "fetch_adapters" in one.features
        }

    def pins(self, after: int, limit: int) -> list[tuple[SimulationId, AgentSnapshot]]:
        """At most so many agents that operators pinned after the pin of that number, in that order."""
        page = self._world.pins.agents_after(after, limit)
        return [(agent.simulation.id, self._agent(agent)) for agent, _ in page]

    def pinned_adapters(self) -> list[AdapterSnapshot]:
        """By operators, in the order in which they were pinned."""
        engines = self._world.engines.values()
        return [self._adapter(adapter, engines) for adapter in self._world.pins.adapters]

    def pin_budgets(self) -> dict[EngineId, tuple[int, int]]:
        """Of each engine that takes pins: the tokens that operators have pinned there, and may pin."""
        pins, engines = self._world.pins, self._world.engines.values()
        return {
            engine.id: (sum(pins.granted(engine, ANY_MODE).values()), pins.budget_tokens(engine))
            for engine in engines
            if "pin" in engine.features
        }

    def walk_agents(
        self, simulation: SimulationId, after: int, wanted: AgentFilter
    ) -> Iterator[tuple[int, AgentSnapshot | None]]:
        """Looks at the agents that became known after the one of that number, one by one: each one's number, and what is known
        of it if it fits. Others may be told of meanwhile. None of an unknown simulation."""
        known = self._simulations.get(simulation)
        for agent in () if known is None else agents_after(known, after):
            fits = wanted.fits(agent, self._estimate, self._now)
            yield agent.number, self._agent(agent) if fits else None

    def estimates(self, simulation: SimulationId, name: AgentName) -> list[EstimateSnapshot]:
        """What each source says of an agent, whether or not it is believed; nothing of an unknown one."""
        agent = self._world.population.find(simulation, name)
        if agent is None:
            return []
        at = self._now
        return [snapshot.of_estimate(one, agent.simulation, at) for one in known_of(agent, at)]

    def story(self, simulation: SimulationId, name: AgentName) -> StorySnapshot | None:
        """What happened to the agent of late, empty if it did not call; None of an unknown one."""
        agent = self._world.population.find(simulation, name)
        return None if agent is None else self._world.stories.of(agent)

    @property
    def simulation_count(self) -> int:
        return len(self._simulations)

    def latest(self, limit: int) -> list[SimulationSnapshot]:
        """`limit` simulations, the one that was seen last first."""
        return [snapshot.of_simulation(one) for one in islice(reversed(self._simulations.values()), limit)]

    def names(self, simulation: SimulationId, limit: int) -> list[AgentName]:
        """Of the first agents that became known; none of an unknown simulation."""
        known = self._simulations.get(simulation)
        return [] if known is None else list(islice(known.agents, limit))

    def glance(self, simulation: SimulationId, name: AgentName) -> Glance | None:
        """None of an unknown agent."""
        agent = self._world.population.find(simulation, name)
        return None if agent is None else at_agent(agent, self._estimate(agent, self._now), self._now)

    def clocks(self, simulation: SimulationId) -> dict[Clock, Reckoning]:
        """On which its agents are expected; empty of an unknown simulation."""
        known = self._simulations.get(simulation)
        return {} if known is None else clocks_of(known, self._now)

    def memories(self, engine: EngineId) -> Mapping[MemoryId, MemoryReport]:
        """What it is believed to hold: not to be changed, nor kept."""
        known = self._world.engines.get(engine)
        return {} if known is None else known.residency.memories

    def engines(self) -> list[EngineSnapshot]:
        return [snapshot.of_engine(engine) for engine in self._world.engines.values()]

    def residency(self, engine: EngineId) -> ResidencySnapshot:
        """What it is believed to hold; nothing of an unknown one."""
        known = self._world.engines.get(engine)
        return ResidencySnapshot() if known is None else snapshot.of_residency(known)

    def preview(self, engine: EngineId) -> Preview | None:
        """The last that was worked out for it."""
        return self._planner.previews.get(engine)

    def space_rules(self, simulation: SimulationId) -> SpaceRules | None:
        known = self._simulations.get(simulation)
        return None if known is None or known.space is None else known.space.rules

    def has_position(self, simulation: SimulationId, agent: AgentName) -> bool:
        known = self._simulations.get(simulation)
        return known is not None and known.space is not None and agent in known.space

    def graph_size(self, simulation: SimulationId) -> tuple[int, int] | None:
        """Agents with edges, and edges; None where no graph was given."""
        known = self._simulations.get(simulation)
        return None if known is None or known.graph is None else (known.graph.nodes, known.graph.edges)

    def edge_room(self, simulation: SimulationId) -> int:
        """How many edges a new graph of this simulation may have."""
        return self._surroundings.edge_room(simulation)

    def totals(self) -> Totals:
        return replace(self._world.totals)

    def sizes(self) -> dict[str, int]:
        """Entries per table. None of them can grow without limit."""
        world = self._world
        engines, simulations = world.engines.values(), self._simulations.values()
        return {
            "simulations": len(simulations),
            "agents": world.population.agent_count,
            "calls": len(world.calls),
            "engines": len(world.engines),
            "ordered_owners": sum(
                len(engine.belief.order.owners) for engine in engines if engine.belief.order
            ),
            "pinned_owners": sum(len(engine.belief.pins) + len(engine.belief.doubtful) for engine in engines),
            "adapters": len(world.adapters.current),
            "leaving_adapters": len(world.adapters.leaving),
            "answer_rules": sum(len(one.reading.rules) for one in simulations if one.reading),
            **self._surroundings.sizes(),
            **world.stories.sizes(),
            **world.pins.sizes(),
            **world.asks.sizes(),
            **self._planner.sizes(),
            "gap_classes": sum(one.gaps.sizes()["gap_classes"] for one in simulations),
            "turn_agents": sum(one.turns.sizes()["turn_agents"] for one in simulations),
            "accuracy_agents": sum(one.accuracy.sizes()["accuracy_agents"] for one in simulations),
            **{name: sum(engine.sizes()[name] for engine in engines) for name in ENGINE_TABLES},
        }

    def check(self) -> None:
        """Raises `AssertionError` if what must always hold does not. Its cost grows with everything known: for tests."""
        invariants.check(self._world, self._config, self._now)

    def _away_s(self, agent: Agent) -> float:
        """0 where nothing is known."""
        known = self._estimate(agent, self._now)
        return 0.0 if known is None else distance_s(known, agent.simulation, self._now)

    # Events that change engines or modes

    def _advance(self, at: float) -> float:
        if self._now < at < math.inf:
            self._now = at
        return self._now

    def _settle(self, event: Settled, at: float) -> None:
        engine = self._world.engines.get(event.action.engine)
        if engine is None:
            return
        match event.action:
            case Load() | StopLoad() as action:
                ours = self._loading.settle(engine, action, event.error, event.result, at)
                engine.dirty = engine.dirty or ours
                if ours and isinstance(action, Load):
                    state = LoadState.LOADED if event.result is None else event.result.state
                    self._world.asks.settled(action.memory, state if event.error is None else None)
            case FetchAdapter() | DropAdapter() as action:
                ours = self._loading.settle_adapter(engine, action, event.error, at)
                engine.dirty = engine.dirty or ours
                if ours and event.name_taken:
                    self._world.assignments.rename_adapter(engine, action.adapter)
            case action:
                ours = engine.belief.settle(action, event.error, at)
                if ours:
                    engine.dirty = engine.dirty or engine.blocked or event.error is not None
                    engine.blocked = False
                    engine.follow()
        if ours:
            self._world.stories.moved(event.action, event.error, event.result, at)
        self._world.totals.failed_actions += ours and event.error is not None

    def _end_call(self, event: CallEnded, at: float) -> None:
        call = self._world.end_call(event, at)
        if call is not None and call.agent is not None and event.outcome is Outcome.DONE:
            self._loading.used(call.engine, call.agent, call.adapter)

    def _find(self, event: EngineFound, at: float) -> None:
        engine = self._world.engine(event.engine)
        capabilities = event.capabilities
        self._booted(engine, capabilities.boot_id, at)
        engine.find(capabilities)
        engine.dirty = True
        self._world.assignments.ask_for_assigned()

    def _lose(self, event: EngineLost, at: float) -> None:
        engine = self._world.engine(event.engine)
        engine.reachable = False
        self._planner.give_up(engine)
        engine.forget(at)

    def _remove(self, event: EngineRemoved, at: float) -> None:
        """Agents whose memory was there find out with their next call: there may be very many."""
        engine = self._world.engines.pop(event.engine, None)
        if engine is not None:
            self._planner.forget(engine)
            engine.reachable = False
            engine.start_anew(at)
            self._world.assignments.let_adapters_go()

    def _learn(self, event: Reported, at: float) -> None:
        engine = self._world.engine(event.engine)
        report = event.report
        booted = self._booted(engine, report.boot_id, at)
        if engine.reachable and engine.learn(report, at):
            engine.dirty = True
        self._world.assignments.let_adapters_go()
        if booted or engine.capacity_tokens != report.capacity_tokens:
            engine.measure(report.capacity_tokens)
            engine.dirty = True
        if engine.reachable and engine.belief.heal(report):
            self._world.totals.healed += 1
            engine.dirty = True

    def _booted(self, engine: Engine, boot_id: str | None, at: float) -> bool:
        """Whether this is not the process that we knew: it has forgotten everything, so we do too."""
        if boot_id is None or boot_id == engine.boot_id:
            return False
        anew = engine.boot_id is not None
        engine.boot_id = boot_id
        if anew:
            self._planner.give_up(engine)
            engine.start_anew(at)
            self._world.assignments.ask_for_assigned()
        return anew

    def _set_mode(self, event: ModeSet, at: float) -> None:
        simulation = self._world.population.simulation(event.simulation, at)
        if simulation is not None and simulation.mode is not event.mode:
            simulation.mode = event.mode
            self._planner.give_up_all()
            self._world.population.mark_all()

    def _ask(self, event: PrefetchAsked, at: float) -> None:
        simulation = self._world.population.seen(event.simulation, at)
        agent = None if simulation is None else simulation.agents.get(event.agent)
        if agent is None or not self._world.asks.ask(agent, self._loading.memories(agent), at, event.for_s):
            self._world.totals.refused += 1
            return
        if agent.engine is not None and event.for_s > 0.0:
            for memory in self._loading.memories(agent):
                agent.engine.loads.renew(memory)
        agent.mark()

    def _preview(self, event: PreviewAsked) -> None:
        engine = self._world.engines.get(event.engine)
        if engine is None:
            self._world.totals.refused += 1
        else:
            self._planner.preview(engine, event)

    def _set_policy(self, event: PolicySet) -> None:
        known = event.policy is None or event.policy in policies.names()
        if not known or (event.policy is None and event.engine is None):
            self._world.totals.refused += 1
            return
        self._planner.set_policy(
            None if event.engine is None else self._world.engine(event.engine), event.policy
        )

    def _end_simulation(self, name: SimulationId) -> None:
        simulation = self._simulations.get(name)
        if simulation is not None:
            self._planner.give_up_all()
            self._world.population.drop_simulation(simulation)

    # Planning

    def _act(self, at: float) -> list[Action]:
        return self._counted(self._planner.act(at))

    def _agent(self, agent: Agent) -> AgentSnapshot:
        memories, pin = self._loading.memories(agent), self._world.pins.of(agent)
        return snapshot.of_agent(agent, memories, self._estimate, self._now, pin)

    def _adapter(self, adapter: Adapter, engines: Iterable[Engine]) -> AdapterSnapshot:
        return snapshot.of_adapter(adapter, engines, self._world.pins.of_adapter(adapter))

    def _counted(self, actions: list[Action]) -> list[Action]:
        totals = self._world.totals
        for action in actions:
            totals.orders += isinstance(action, Order)
            totals.pins += isinstance(action, Pin)
            totals.unpins += isinstance(action, Unpin)
            totals.renewals += isinstance(action, Renew)
            totals.loads += isinstance(action, Load)
            totals.stops += isinstance(action, StopLoad)
            totals.fetches += isinstance(action, FetchAdapter)
            totals.drops += isinstance(action, DropAdapter)
        return actions

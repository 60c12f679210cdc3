"""What is known of one simulation, one agent, one call, one engine. `World` has the tables of them and changes them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .accuracy import Accuracy
from .adapters import Adapter
from .authority import Authority
from .average import Average
from .barriers import Barriers
from .clock import StepClock
from .counters import Counters
from .durations import Reading
from .graph import Graph
from .guard import Guard, InCharge
from .handovers import Handovers
from .hosting import Hosting
from .loads import LoadQueue
from .mean import Mean
from .misses import Found, LastCall
from .model import (
    LORA,
    AdapterName,
    AgentName,
    Capabilities,
    Clock,
    EngineId,
    EngineReport,
    MemoryId,
    Mode,
    Moment,
    Owner,
    SimulationId,
    Source,
    Usage,
)
from .periods import Hours, Period
from .recent import Recent
from .reconciler import Belief
from .residency import Residency
from .residuals import Residuals
from .shares import weights_of
from .space import Space
from .turns import Turns
from .wanted import Wanted

GUARD_TABLES = ("guard_memories", "guard_running", "guard_ordered")

ENGINE_TABLES = (
    "reported_memories",
    "computed_memories",
    "hosted_adapters",
    "confirmed_adapters",
    "hosting_queue",
    "hosting_failures",
    "loads_in_flight",
    "loads_waiting",
    "loads_resting",
    "loads_elsewhere",
    *GUARD_TABLES,
)
"""Of each engine, as they are published: all engines' together."""

_MEMORIES = 1 / 64
"""The weight of the newest call in how large memories usually are."""

_FIRST_PAUSE_S = 2.0
_PAUSES_WAITED = 4.0
_PAUSE_MIN_S, _PAUSE_MAX_S = 0.2, 30.0
_USE_HALF_LIFE_S = 600.0


class Told(NamedTuple):
    """A moment that the simulation told; the higher `number` was told later."""

    moment: Moment
    number: int
    since: float | None = None
    """When it was told, on the same clock, if a call of the agent ran."""

    def outlives(self, now: float) -> bool:
        """Whether it stands though an activation begins at `now`: it was told during one, of which this may be the rest that
        we took for another, and less than half of the way is over."""
        since, moment = self.since, self.moment.value
        return since is not None and moment < math.inf and now - since < (moment - since) / 2


@dataclass(slots=True, eq=False)
class Simulation:
    id: SimulationId
    mode: Mode
    seen_at: float
    steps: StepClock = field(default_factory=StepClock)
    agents: dict[AgentName, Agent] = field(default_factory=dict)
    idle: OrderedDict[AgentName, Agent] = field(default_factory=OrderedDict)
    """Agents without a running call and an assigned adapter, the least recently seen first: any of them may be given up."""
    pausing: OrderedDict[AgentName, Agent] = field(default_factory=OrderedDict)
    """Agents between two calls of an activation, or after its last: by the end of their last call."""
    running: int = 0
    resting: bool = False
    """Nothing was seen of it for so long that it is in no plan, until something is."""
    epoch: int = 0
    """Raised whenever something else may be known of all its agents at once."""
    told_before: int = 0
    """What was told up to this number counts no longer: it came to rest after that."""
    assigned: int = 0
    """Agents to which an adapter is assigned."""
    pause_s: float = _FIRST_PAUSE_S
    """An activation is over when its agent has not called for so long, or when `handovers` or `barriers` say so."""
    counters: Counters = field(default_factory=Counters)
    host_copy: dict[str, bool] = field(default_factory=dict)
    """By kind, where it was set; else there is a copy in host memory."""
    reading: Reading | None = None
    """Of its answers, where it was set."""
    graph: Graph | None = None
    """Along which activations spread, where it was given."""
    space: Space | None = None
    """In which its agents move, where it was set."""
    turns: Turns = field(default_factory=Turns)
    """The order in which its agents begin."""
    gaps: Residuals = field(default_factory=Residuals)
    """How long its agents stay away, on its clock."""
    period: Period = field(default_factory=Period)
    """After which they come again, in its steps."""
    handovers: Handovers = field(default_factory=Handovers)
    barriers: Barriers = field(default_factory=Barriers)
    accuracy: Accuracy = field(default_factory=Accuracy)
    """Of what was told and learned of its agents."""
    authority: Authority = field(default_factory=Authority)
    """What follows from that."""
    use: Recent = field(default_factory=lambda: Recent(_USE_HALF_LIFE_S))
    """Of engines, in activations: its weight where it shares one with other simulations."""
    _pause: Average = field(default_factory=Average)

    @property
    def clock(self) -> Clock:
        """Its own one where it ticks, or one of which the ticks show in its traffic."""
        if self.steps.ticked:
            return Clock.STEPS
        return Clock.BURSTS if self.turns.steps.recognised else Clock.SECONDS

    @property
    def unfinished(self) -> bool:
        """Something was told that is not worked out yet."""
        return (self.graph is not None and self.graph.searching) or (
            self.space is not None and self.space.searching
        )

    @property
    def in_charge(self) -> Source | None:
        """Whose word goes before that of one with more authority, because it was right more often; None: nobody's."""
        return self.authority.in_charge

    def now(self, clock: Clock, at: float) -> float:
        match clock:
            case Clock.STEPS:
                return self.steps.passed
            case Clock.BURSTS:
                return self.turns.steps.clock.passed
            case Clock.TURNS:
                return self.turns.turn
            case Clock.SECONDS:
                return at

    def moment(self, at: float) -> Moment:
        clock = self.clock
        return Moment(clock, self.now(clock, at))

    def forget_gaps(self) -> None:
        """Its clock is another one."""
        self.gaps, self.period = Residuals(), Period()

    def learn_pause(self, pause_s: float) -> None:
        self._pause.add(pause_s)
        self.pause_s = min(max(self._pause.mean * _PAUSES_WAITED, _PAUSE_MIN_S), _PAUSE_MAX_S)


@dataclass(slots=True, eq=False)
class Agent:
    name: AgentName
    owner: Owner
    simulation: Simulation
    engine: Engine | None = None
    """Where its last call went, and so its memory is."""
    running: int = 0
    activated: bool = False
    acts_next: bool = False
    """It was said to act, while a call of it ran: the activation ends with that call."""
    activations: int = 0
    called: int | None = None
    """The simulation's calls by its last one, those of unknown callers left out."""
    barrier: int = 0
    """The simulation's barriers by its last call."""
    began: Moment | None = None
    """The last activation."""
    gap: Average | None = None
    """Between beginnings of activations, on the clock of `began`."""
    hours: Hours | None = None
    """The last of these, where they are in steps."""
    hinted: Told | None = None
    action: Told | None = None
    """The end of what it does in the simulated world."""
    said: Told | None = None
    """The same as the LLM has it: read in an answer of this activation, the last in which it stood."""
    used_at: float = 0.0
    ended_at: float = 0.0
    size_tokens: int | None = None
    requested: AdapterName | None = None
    """What its last request named of its own accord."""
    assigned: Adapter | None = None
    """By an operator. It may have been forgotten since."""
    host_copy: dict[str, bool] | None = None
    """By kind, where it was set for this agent: it overrides its simulation's."""
    last_call: LastCall | None = None
    """That was answered whole."""
    gone: bool = False
    """In no table any more, while calls of it may still run."""

    @property
    def assigned_adapter(self) -> AdapterName | None:
        return None if self.assigned is None or self.assigned.forgotten else self.assigned.key

    @property
    def adapter(self) -> AdapterName | None:
        """On which its next call is expected to run."""
        return self.requested or self.assigned_adapter

    def standing(self, told: Told | None) -> Told | None:
        """`told`, unless its simulation has rested since."""
        return None if told is None or told.number <= self.simulation.told_before else told

    def has_host_copy(self, kind: str) -> bool:
        if self.host_copy is not None and kind in self.host_copy:
            return self.host_copy[kind]
        return self.simulation.host_copy.get(kind, True)

    def in_activation(self, at: float) -> bool:
        if self.running > 0 or not self.activated:
            return self.running > 0
        simulation = self.simulation
        return at - self.ended_at <= simulation.pause_s and self.barrier == simulation.barriers.count

    def begin_activation(self, at: float) -> None:
        began = self.simulation.moment(at)
        if self.began is not None and self.began.clock is began.clock:
            self.gap = self.gap or Average()
            self.gap.add(began.value - self.began.value)
            self.simulation.gaps.add(began.value - self.began.value)
        else:
            self.gap = self.hours = None
        self.began = began
        self.activated = True
        self.activations += 1
        self.simulation.counters.activations += 1
        self.simulation.use.add(at)
        # What was told of this activation says nothing of the one after it.
        hinted, self.action, self.said = self.hinted, None, None
        if hinted is not None and not hinted.outlives(self.simulation.now(hinted.moment.clock, at)):
            self.hinted = None

    def end_activation(self) -> None:
        self.activated = self.acts_next = False
        self.simulation.pausing.pop(self.name, None)

    def learn_size(self, usage: Usage) -> None:
        # A short call between long ones says nothing of what the long ones left behind; only slowly does size shrink.
        size = self.size_tokens or 0
        self.size_tokens = max(usage.prompt + usage.output, size - size // 8)


@dataclass(slots=True, eq=False)
class Call:
    simulation: Simulation
    agent: Agent | None
    engine: Engine
    adapter: AdapterName | None
    first: bool
    """It opened an activation, and not the agent's first one."""
    played: int = 0
    """The engine's `beginning` when its guard was told of it; 0: it was not."""
    found: Found | None = None
    """Of the memory of a known agent, when it started."""


@dataclass(slots=True, eq=False)
class Engine:
    id: EngineId
    loads: LoadQueue
    guarded: bool = False
    """There is to be a guard, where there is something to guard."""
    agents: dict[Agent, None] = field(default_factory=dict)
    """Those whose memory is on it."""
    simulations: dict[Simulation, int] = field(default_factory=dict)
    """Whose agents these are, with how many of them; none is zero."""
    reachable: bool = False
    capabilities: Capabilities | None = None
    boot_id: str | None = None
    capacity_tokens: int | None = None
    belief: Belief = field(default_factory=Belief)
    called: dict[Agent, None] = field(default_factory=dict)
    """Agents that began or ended a call, an activation..."""
    noted: dict[Agent, None] = field(default_factory=dict)
    """... and those of whom something else is known now, or who left, since the agenda was brought up to date."""
    memory_tokens: Mean = field(default_factory=lambda: Mean(_MEMORIES))
    """How large an agent's memory on it usually is."""
    dirty: bool = False
    """Something changed since its last plan was begun."""
    planning: bool = False
    """A plan is being made."""
    blocked: bool = False
    """Its last plan asked for something that waits for the end of what is in flight."""
    wanted: Wanted = field(default_factory=Wanted)
    shadow: Wanted | None = None
    """What would be wanted if the simulations in shadow were on; None if there are none."""
    budget_tokens: int = 0
    """For pins, at the last plan."""
    pinned_tokens: int = 0
    """Of `wanted.pins`, at the last plan."""
    adapter_pin_limit: int = 0
    """At the last plan."""
    running: int = 0
    """Calls, of whomever."""
    running_adapters: dict[AdapterName, int] = field(default_factory=dict)
    """How many of these run on each; none is zero."""
    residency: Residency = field(default_factory=Residency)
    hosting: Hosting = field(default_factory=Hosting)
    loads_due: bool = False
    """Its last plan left loads in flight or waiting, to which the first and the last running call make a difference."""
    wake_at: float = math.inf
    """When time alone makes a plan due: somebody comes near by then, or may be tried again."""
    shadow_loads: frozenset[MemoryId] = frozenset()
    """What would be loaded ahead if the simulations in shadow were on, and is not, at the last plan."""
    guard: Guard | None = None
    """Where its cache takes an order and its size is known, if it is guarded."""
    beginning: int = 0
    """How often there was a guard that held nothing: calls from before say nothing of what it holds."""
    plays_shadow: bool = False
    """By the last plan no simulation is on: its guard plays what would be ordered if those in shadow were, so that what
    distance would be worth can be seen before anything is sent."""

    @property
    def features(self) -> frozenset[str]:
        """What we may ask of it now."""
        if self.capabilities is None or not self.reachable:
            return frozenset()
        return self.capabilities.features

    @property
    def loads_ahead(self) -> bool:
        """Whether it told enough of itself to bring anything to it before it is called for."""
        return self.reachable and (bool(self.residency.pools) or "fetch_adapters" in self.features)

    @property
    def by_distance(self) -> bool:
        """Whether distance decides what leaves its cache; else recency does."""
        return self.guard is None or self.guard.in_charge is InCharge.DISTANCE

    @property
    def modes(self) -> set[Mode]:
        """Of the simulations whose agents' memory is on it."""
        return {simulation.mode for simulation in self.simulations}

    def weights(self, modes: Collection[Mode], at: float) -> dict[SimulationId, int]:
        """Of the shares of the simulations in these modes."""
        return weights_of({one.id: one.use.count(at) for one in self.simulations if one.mode in modes})

    @property
    def adapters_in_use(self) -> set[AdapterName]:
        """By calls of whomever, as far as we or it know."""
        return {*self.running_adapters, *self.residency.running_adapters}

    def may_hold(self, adapter: AdapterName) -> bool:
        """Whether it may still know it, or be about to."""
        if self.capabilities is None or "fetch_adapters" not in self.capabilities.features:
            return False
        if not self.reachable or ("adapters" in self.features and not self.residency.pools):
            return True  # it did not say yet
        flying = self.hosting.flying
        return (
            adapter in self.hosting.held
            or adapter in self.adapters_in_use
            or (flying is not None and flying.adapter == adapter)
        )

    def sizes(self) -> dict[str, int]:
        """How full the tables of `ENGINE_TABLES` are."""
        guard = dict.fromkeys(GUARD_TABLES, 0) if self.guard is None else self.guard.sizes()
        return {**self.residency.sizes(), **self.loads.sizes(), **self.hosting.sizes(), **guard}

    def note(self, agent: Agent) -> None:
        self.noted[agent] = None

    def take_in(self, agent: Agent) -> None:
        """The agent's memory is on it from now on."""
        self.agents[agent] = None
        self.simulations[agent.simulation] = self.simulations.get(agent.simulation, 0) + 1

    def let_go(self, agent: Agent) -> None:
        """The agent left, or its memory is elsewhere from now on."""
        del self.agents[agent]
        self.simulations[agent.simulation] -= 1
        if not self.simulations[agent.simulation]:
            del self.simulations[agent.simulation]
        if not self.simulations and self.guard is not None:
            before = self.guard.in_charge
            self.guard.pardon()
            self._note_charge(self.guard, before)

    def forget(self, at: float) -> None:
        """It cannot be reached: nothing is believed of it. It may well have forgotten nothing."""
        self.belief.forget()
        self.follow()
        self.loads.forget()
        self.residency.forget()
        self.hosting.forget(at)
        self.blocked = self.loads_due = False
        self.wake_at = math.inf

    def start_anew(self, at: float) -> None:
        """It is another process than before, and has forgotten everything."""
        self.forget(at)
        if self.guard is not None:
            self.guard.forget()
            self.beginning += 1

    def find(self, capabilities: Capabilities) -> None:
        """It can be reached, and is what it says."""
        self.reachable, self.capabilities = True, capabilities
        if capabilities.capacity_tokens is not None:
            self.capacity_tokens = capabilities.capacity_tokens
        self._set_guard()
        # Not where there is an order: what that keeps is not what was used last.
        is_stock = self.features.isdisjoint({"order", "residency"}) and "warm_up" in self.features
        if is_stock and self.capacity_tokens is not None:
            self.residency.assume(self.capacity_tokens)

    def measure(self, capacity_tokens: int) -> None:
        """Its cache has room for so many tokens."""
        self.capacity_tokens = capacity_tokens
        self._set_guard()

    def play(self, agent: Agent) -> int:
        """A call of the agent starts. In every mode: its memory takes room, and an order that does not name it has it
        leave first. What to end it with, or 0 if no guard was told."""
        guard = self.guard
        if guard is None:
            return 0
        before = guard.in_charge
        guard.called(agent.owner, agent.size_tokens)
        self._note_charge(guard, before)
        return self.beginning

    def keeps(self, agent: Agent) -> bool | None:
        """Whether distance alone would still hold the agent's memory; None if no guard plays that."""
        return None if self.guard is None else self.guard.keeps(agent.owner)

    def release(self, agent: Agent, played: int, *, failed: bool = False) -> None:
        """A call ended that `play` answered so. The agent may be in no table any more."""
        guard = self.guard
        if guard is not None and played == self.beginning:
            before = guard.in_charge
            guard.ended(agent.owner, agent.size_tokens, failed=failed)
            self._note_charge(guard, before)

    def rehearse(self, order: Sequence[tuple[Owner, float]]) -> None:
        """A plan was made that would have distance order its cache so. The guard plays that where the engine is sent no
        order, as recency is in charge or no simulation is on; else what the engine has in force."""
        if self.guard is not None and (self.plays_shadow or not self.by_distance):
            self.guard.ordered(order)
        self.follow()

    def follow(self) -> None:
        """What is believed of it may have changed: where it is sent orders, the guard plays the one that is in force. O(1)
        as long as that is the same."""
        if self.guard is not None and self.by_distance and not self.plays_shadow:
            self.guard.adopt({} if self.belief.order is None else self.belief.order.owners)

    def learn(self, report: EngineReport, at: float) -> bool:
        """True if that makes a difference to what is loaded ahead."""
        changed = self.residency.learn(report)
        if report.pools:
            self.hosting.learn(AdapterName(key) for kind, key in report.memories if kind == LORA)
        return self.loads.heal(report.loading, report.memories, at) or changed

    def start(self, adapter: AdapterName | None) -> None:
        self.running += 1
        first_of_adapter = False
        if adapter is not None:
            first_of_adapter = adapter not in self.running_adapters
            self.running_adapters[adapter] = self.running_adapters.get(adapter, 0) + 1
        self._note(first_of_adapter, self.running == 1)

    def end(self, adapter: AdapterName | None) -> None:
        self.running -= 1
        last_of_adapter = False
        if adapter is not None:
            self.running_adapters[adapter] -= 1
            last_of_adapter = not self.running_adapters[adapter]
            if last_of_adapter:
                del self.running_adapters[adapter]
        self._note(last_of_adapter, self.running == 0)

    def _set_guard(self) -> None:
        takes_order = self.capabilities is not None and "order" in self.capabilities.features
        if not (self.guarded and takes_order) or self.capacity_tokens is None:
            self.guard = None
        elif self.guard is None:
            self.guard = Guard(self.capacity_tokens)
            self.beginning += 1
        else:
            before = self.guard.in_charge
            self.guard.resize(self.capacity_tokens)
            self._note_charge(self.guard, before)

    def _note_charge(self, guard: Guard, before: InCharge) -> None:
        # What the engine was sent is no longer what decides.
        self.dirty = self.dirty or guard.in_charge is not before

    def _note(self, adapters_changed: bool, idleness_changed: bool) -> None:
        # Whoever calls, also those for whom nothing is done: pins leave room for their adapters, and what is computed
        # ahead for others gives way to them.
        if (adapters_changed and self.wanted.pinned_adapters) or (idleness_changed and self.loads_due):
            self.dirty = True

"""What is known of one engine: what it has, what it was told, what it is to be told, and what its guard says."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from .agent import Agent
from .guard import Guard, InCharge
from .hosting import Hosting
from .kinds import AgentView, Kind
from .loads import LoadQueue
from .mean import Mean
from .model import (
    AdapterName,
    Capabilities,
    EngineId,
    EngineReport,
    MemoryId,
    Mode,
    Owner,
    SimulationId,
)
from .reconciler import Belief
from .residency import Residency
from .shares import weights_of
from .simulation import Simulation
from .wanted import Wanted

GUARD_TABLES = ("guard_memories", "guard_running", "guard_ordered")

ENGINE_TABLES = (
    "reported_memories",
    "computed_memories",
    "hosted_adapters",
    "confirmed_adapters",
    "hosting_queue",
    "unwanted_adapters",
    "hosting_failures",
    "loads_in_flight",
    "loads_waiting",
    "loads_resting",
    "loads_elsewhere",
    "needy_owners",
    *GUARD_TABLES,
)
"""Of each engine, as they are published: all engines' together."""

Needed = tuple[AgentView, tuple[tuple[MemoryId, Kind], ...]]
"""An agent, as kinds of memory are shown it, and what it needs of each."""

_MEMORIES = 1 / 64
"""The weight of the newest call in how large memories usually are."""


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
    policy: str | None = None
    """Its own, where an operator chose one; else that of all."""
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
    needed: dict[Owner, Needed] = field(default_factory=dict)
    """By those who were in its last plan that was to load anything ahead."""
    loads_due: bool = False
    """Its last plan left loads in flight or waiting, to which the first and the last running call make a difference."""
    wake_at: float = math.inf
    """When time alone makes a plan due: somebody comes near by then, or may be tried again, or the next step is foreseen."""
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
        needed = {"needy_owners": len(self.needed)}
        return {**self.residency.sizes(), **self.loads.sizes(), **self.hosting.sizes(), **needed, **guard}

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
        self.needed = {}
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

    def go_on(self) -> None:
        """It has begun what it was asked by now: its guard makes room for that. To be said before each plan."""
        if self.guard is not None:
            before = self.guard.in_charge
            self.guard.go_on()
            self._note_charge(self.guard, before)

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
            before = self.guard.in_charge
            self.guard.adopt({} if self.belief.order is None else self.belief.order.owners)
            self._note_charge(self.guard, before)

    def learn(self, report: EngineReport, at: float) -> bool:
        """True if that makes a difference to what is loaded ahead."""
        changed = self.residency.learn(report)
        if report.pools:
            self.hosting.learn(AdapterName(memory.key) for memory in self.residency.adapters)
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

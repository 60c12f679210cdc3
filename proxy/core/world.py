"""What is known of simulations, agents, calls and engines, and how events change it.

Never decides what to do. Every change costs the same however many agents are idle, and every table has a limit.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from .average import Average
from .checks import check_distance
from .clock import StepClock
from .counters import Counters, Totals
from .events import ActionStarted, AgentLeft, CallEnded, CallStarted, DistanceHinted, StepTicked
from .model import (
    AgentName,
    CallId,
    Capabilities,
    Clock,
    EngineId,
    Mode,
    Moment,
    Outcome,
    Owner,
    SimulationId,
    Usage,
    owner_of,
)
from .reconciler import Belief
from .wanted import Wanted

_FIRST_PAUSE_S = 2.0
_PAUSES_WAITED = 4.0
_PAUSE_MIN_S, _PAUSE_MAX_S = 0.2, 30.0


class Told(NamedTuple):
    """A moment that the simulation told; the higher `number` was told later."""

    moment: Moment
    number: int


@dataclass(slots=True, eq=False)
class Simulation:
    id: SimulationId
    mode: Mode
    seen_at: float
    steps: StepClock = field(default_factory=StepClock)
    agents: dict[AgentName, Agent] = field(default_factory=dict)
    idle: OrderedDict[AgentName, Agent] = field(default_factory=OrderedDict)
    """Agents without a running call, the least recently seen first."""
    pausing: OrderedDict[AgentName, Agent] = field(default_factory=OrderedDict)
    """Agents between two calls of an activation, or after its last: by the end of their last call."""
    running: int = 0
    pause_s: float = _FIRST_PAUSE_S
    """An activation is over when its agent has not called for so long."""
    counters: Counters = field(default_factory=Counters)
    _pause: Average = field(default_factory=Average)

    @property
    def clock(self) -> Clock:
        """Its own one where it ticks."""
        return Clock.STEPS if self.steps.ticked else Clock.SECONDS

    def now(self, clock: Clock, at: float) -> float:
        return self.steps.passed if clock is Clock.STEPS else at

    def moment(self, at: float) -> Moment:
        clock = self.clock
        return Moment(clock, self.now(clock, at))

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
    began: Moment | None = None
    """The last activation."""
    gap: Average | None = None
    """Between beginnings of activations, on the clock of `began`."""
    hinted: Told | None = None
    action: Told | None = None
    """The end of what it does in the simulated world."""
    used_at: float = 0.0
    ended_at: float = 0.0
    size_tokens: int | None = None
    gone: bool = False
    """In no table any more, while calls of it may still run."""

    def in_activation(self, at: float) -> bool:
        return self.running > 0 or (self.activated and at - self.ended_at <= self.simulation.pause_s)

    def learn_size(self, usage: Usage) -> None:
        # A short call between long ones says nothing of what the long ones left behind; only slowly does size shrink.
        size = self.size_tokens or 0
        self.size_tokens = max(usage.prompt + usage.output, size - size // 8)


@dataclass(slots=True, eq=False)
class Call:
    simulation: Simulation
    agent: Agent | None
    first: bool
    """It opened an activation, and not the agent's first one."""


@dataclass(slots=True, eq=False)
class Engine:
    id: EngineId
    agents: dict[Agent, None] = field(default_factory=dict)
    """Those whose memory is on it."""
    reachable: bool = False
    capabilities: Capabilities | None = None
    boot_id: str | None = None
    capacity_tokens: int | None = None
    belief: Belief = field(default_factory=Belief)
    dirty: bool = False
    """Something changed since its last plan."""
    blocked: bool = False
    """Its last plan asked for something that waits for the end of what is in flight."""
    wanted: Wanted = field(default_factory=Wanted)
    shadow: Wanted | None = None
    """What would be wanted if the simulations in shadow were on; None if there are none."""
    budget_tokens: int = 0
    """For pins, at the last plan."""
    pinned_tokens: int = 0
    """Of `wanted.pins`, at the last plan."""

    @property
    def features(self) -> frozenset[str]:
        """What we may ask of it now."""
        if self.capabilities is None or not self.reachable:
            return frozenset()
        return self.capabilities.features & {"order", "pin"}

    def forget(self) -> None:
        self.belief.forget()
        self.blocked = False


class World:
    """All tables, and the changes that events make to them."""

    def __init__(
        self, *, mode: Mode, agent_limit: int, total_agent_limit: int, simulation_limit: int, call_limit: int
    ) -> None:
        self.simulations: OrderedDict[SimulationId, Simulation] = OrderedDict()
        self.engines: dict[EngineId, Engine] = {}
        self.calls: OrderedDict[CallId, Call] = OrderedDict()
        self.agent_count = 0
        """Over all simulations."""
        self.totals = Totals()
        self._mode = mode
        self.agent_limit = agent_limit
        self.total_agent_limit = total_agent_limit
        self.simulation_limit = simulation_limit
        self.call_limit = call_limit
        self._told = 0

    # Tables

    def engine(self, name: EngineId) -> Engine:
        engine = self.engines.get(name)
        if engine is None:
            engine = self.engines[name] = Engine(name)
        return engine

    def simulation(self, name: SimulationId, at: float) -> Simulation | None:
        """The one of that name, seen now. None if it is new and all there is room for have calls running."""
        simulation = self.simulations.get(name)
        if simulation is not None:
            simulation.seen_at = at
            self.simulations.move_to_end(name)
            return simulation
        if len(self.simulations) >= self.simulation_limit:
            unused = [one for one in self.simulations.values() if not one.running]
            if not unused:
                self.totals.refused += 1
                return None
            # One that would come back in another mode was put into its own, and that must last.
            victim = next((one for one in unused if one.mode is self._mode), unused[0])
            self.totals.dropped_simulations += 1
            self.drop_simulation(victim)
        simulation = self.simulations[name] = Simulation(name, self._mode, at)
        return simulation

    def agent(self, simulation: Simulation, name: AgentName) -> Agent | None:
        """The one of that name, seen now. None if it is new and all there is room for have calls running."""
        agent = simulation.agents.get(name)
        if agent is not None:
            if not agent.running:
                simulation.idle.move_to_end(name)
            return agent
        is_full = len(simulation.agents) >= self.agent_limit
        if is_full or self.agent_count >= self.total_agent_limit:
            others = () if is_full else self.simulations.values()
            place = next((one for one in chain((simulation,), others) if one.idle), None)
            if place is None:
                self.totals.refused += 1
                return None
            self.totals.dropped_agents += 1
            self.drop_agent(next(iter(place.idle.values())))
        self.agent_count += 1
        agent = Agent(name, owner_of(simulation.id, name), simulation)
        simulation.agents[name] = simulation.idle[name] = agent
        return agent

    def drop_agent(self, agent: Agent) -> None:
        simulation = agent.simulation
        agent.gone = True
        self.agent_count -= 1
        del simulation.agents[agent.name]
        simulation.idle.pop(agent.name, None)
        simulation.pausing.pop(agent.name, None)
        if agent.engine is not None:
            self._mark(agent)
            del agent.engine.agents[agent]

    def drop_simulation(self, simulation: Simulation) -> None:
        for agent in list(simulation.agents.values()):
            self.drop_agent(agent)
        del self.simulations[simulation.id]

    def mark_all(self) -> None:
        for engine in self.engines.values():
            engine.dirty = True

    # Calls

    def start_call(self, event: CallStarted, at: float) -> None:
        if event.call in self.calls:
            self.totals.repeated_calls += 1
            return
        simulation = self.simulation(event.simulation, at)
        if simulation is None:
            return
        if len(self.calls) >= self.call_limit:
            self.totals.lost_calls += 1
            _, lost = self.calls.popitem(last=False)
            self._finish(lost, at)
        agent = None if event.agent is None else self.agent(simulation, event.agent)
        first = False
        if agent is not None:
            first = self._call(agent, at)
            self._move(agent, self.engine(event.engine))
            self._mark(agent)
        simulation.running += 1
        simulation.counters.calls += 1
        self.calls[event.call] = Call(simulation, agent, first)

    def end_call(self, event: CallEnded, at: float) -> None:
        call = self.calls.pop(event.call, None)
        if call is None:
            self.totals.unknown_calls += 1
            return
        if self.simulations.get(call.simulation.id) is call.simulation:
            self.simulation(call.simulation.id, at)
        call.simulation.counters.count_end(event.outcome, event.usage, call.first)
        agent = call.agent
        if agent is not None and event.usage is not None:
            agent.learn_size(event.usage)
        # A call that failed is tried again, whatever was meant to follow it.
        if agent is not None and event.acts_for is not None and event.outcome is Outcome.DONE:
            self._act(agent, *event.acts_for, at)
        self._finish(call, at)

    # What the simulation tells

    def hint(self, event: DistanceHinted, at: float) -> None:
        simulation = self.simulation(event.simulation, at)
        if simulation is None:
            return
        now = simulation.now(event.clock, at)
        self._told += 1
        for name, value in event.distances.items():
            distance = self._checked(value)
            agent = None if distance is None else self.agent(simulation, name)
            if agent is None or distance is None:
                continue
            agent.hinted = Told(Moment(event.clock, now + distance), self._told)
            if distance > 0.0 and not agent.running:
                _end_activation(agent)
            self._mark(agent)

    def start_action(self, event: ActionStarted, at: float) -> None:
        simulation = self.simulation(event.simulation, at)
        agent = None if simulation is None else self.agent(simulation, event.agent)
        if agent is not None:
            self._act(agent, event.duration, event.clock, at)
            if not agent.running and agent.acts_next:
                _end_activation(agent)
            self._mark(agent)

    def tick_steps(self, event: StepTicked, at: float) -> None:
        simulation = self.simulation(event.simulation, at)
        if simulation is not None:
            simulation.steps.tick(at, event.step)
            if simulation.mode is not Mode.OFF:
                self.mark_all()

    def leave(self, event: AgentLeft) -> None:
        simulation = self.simulations.get(event.simulation)
        agent = None if simulation is None else simulation.agents.get(event.agent)
        if agent is not None:
            self.drop_agent(agent)

    # Time

    def end_pauses(self, at: float) -> None:
        """Ends the activations whose agents have not called for the learned pause."""
        for simulation in self.simulations.values():
            while simulation.pausing:
                agent = next(iter(simulation.pausing.values()))
                if agent.in_activation(at):
                    break
                _end_activation(agent)
                self._mark(agent)

    def _call(self, agent: Agent, at: float) -> bool:
        """A call of the agent starts. True if it opens an activation that is not the agent's first."""
        simulation = agent.simulation
        opens = not agent.in_activation(at)
        if opens:
            _begin_activation(agent, at)
        elif not agent.running:
            simulation.learn_pause(at - agent.ended_at)
        agent.acts_next = False
        agent.running += 1
        agent.used_at = at
        simulation.idle.pop(agent.name, None)
        simulation.pausing.pop(agent.name, None)
        return opens and agent.activations > 1

    def _finish(self, call: Call, at: float) -> None:
        call.simulation.running -= 1
        agent = call.agent
        if agent is None or agent.gone:
            return
        agent.running -= 1
        agent.used_at = agent.ended_at = at
        if not agent.running:
            agent.simulation.idle[agent.name] = agent
            if agent.acts_next:
                _end_activation(agent)
            else:
                agent.simulation.pausing[agent.name] = agent
        self._mark(agent)

    def _act(self, agent: Agent, duration: float, clock: Clock, at: float) -> None:
        checked = self._checked(duration)
        if checked is not None:
            self._told += 1
            agent.action = Told(Moment(clock, agent.simulation.now(clock, at) + checked), self._told)
            agent.acts_next = True

    def _checked(self, value: float) -> float | None:
        """The shell refuses bad values where they arrive; here they must only do no harm."""
        try:
            return check_distance(value)
        except ValueError:
            self.totals.refused += 1
            return None

    def _move(self, agent: Agent, engine: Engine) -> None:
        if agent.engine is engine:
            return
        if agent.engine is not None:
            self._mark(agent)
            del agent.engine.agents[agent]
        agent.engine = engine
        engine.agents[agent] = None

    def _mark(self, agent: Agent) -> None:
        if agent.engine is not None and agent.simulation.mode is not Mode.OFF:
            agent.engine.dirty = True


def _begin_activation(agent: Agent, at: float) -> None:
    began = agent.simulation.moment(at)
    if agent.began is not None and agent.began.clock is began.clock:
        agent.gap = agent.gap or Average()
        agent.gap.add(began.value - agent.began.value)
    else:
        agent.gap = None
    agent.began = began
    agent.activated = True
    agent.activations += 1
    agent.simulation.counters.activations += 1
    # They were told of this activation, and say nothing of the one after it.
    agent.hinted = agent.action = None


def _end_activation(agent: Agent) -> None:
    agent.activated = agent.acts_next = False
    agent.simulation.pausing.pop(agent.name, None)

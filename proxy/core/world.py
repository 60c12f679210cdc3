"""What is known of simulations, agents, calls and engines, and how events change it.

Never decides what to do. Every change costs the same however many agents are idle, and every table has a limit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from itertools import chain

from .adapters import Adapter, Adapters
from .checks import check_distance
from .counters import Totals
from .distance.blend import known_of
from .events import (
    ActionStarted,
    AdapterAssigned,
    AdapterForgotten,
    AdapterRegistered,
    AgentLeft,
    CallEnded,
    CallStarted,
    DistanceHinted,
    HostCopySet,
    ReadingSet,
    StepTicked,
)
from .loads import LoadQueue
from .model import (
    LORA,
    AdapterName,
    AgentName,
    CallId,
    Clock,
    EngineId,
    MemoryId,
    Mode,
    Moment,
    Outcome,
    SimulationId,
    owner_of,
)
from .tables import Agent, Call, Engine, Simulation, Told


class World:
    """All tables, and the changes that events make to them."""

    def __init__(
        self,
        *,
        mode: Mode,
        agent_limit: int,
        total_agent_limit: int,
        simulation_limit: int,
        call_limit: int,
        adapter_limit: int,
        edge_limit: int,
        loads_in_flight: int,
        load_budget_bytes: int,
        guard: bool,
        kinds: Collection[str],
    ) -> None:
        self.simulations: OrderedDict[SimulationId, Simulation] = OrderedDict()
        self.engines: dict[EngineId, Engine] = {}
        self.calls: OrderedDict[CallId, Call] = OrderedDict()
        self.agent_count = 0
        """Over all simulations."""
        self.edge_count = 0
        """Over all graphs."""
        self.unfinished: dict[SimulationId, Simulation] = {}
        """Those of which something was told that is not worked out yet."""
        self.totals = Totals()
        self._mode = mode
        self.agent_limit = agent_limit
        self.total_agent_limit = total_agent_limit
        self.simulation_limit = simulation_limit
        self.call_limit = call_limit
        self.adapters = Adapters(adapter_limit)
        self.edge_limit = edge_limit
        self.kinds = frozenset(kinds)
        self.loads_in_flight = loads_in_flight
        self.load_budget_bytes = load_budget_bytes
        self.guard = guard
        self._told = 0

    # Tables

    def engine(self, name: EngineId) -> Engine:
        engine = self.engines.get(name)
        if engine is None:
            loads = LoadQueue(name, max_in_flight=self.loads_in_flight, max_bytes=self.load_budget_bytes)
            engine = self.engines[name] = Engine(name, loads, guarded=self.guard)
        return engine

    def simulation(self, name: SimulationId, at: float) -> Simulation | None:
        """The one of that name, seen now. None if it is new and all there is room for have calls running, or agents with
        assigned adapters."""
        simulation = self.simulations.get(name)
        if simulation is not None:
            simulation.seen_at = at
            self.simulations.move_to_end(name)
            return simulation
        if len(self.simulations) >= self.simulation_limit:
            # What was assigned is told once, and the calls of those who lost it would run on the base model.
            unused = [one for one in self.simulations.values() if not one.running and not one.assigned]
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
        """The one of that name, seen now. None if it is new and all there is room for have calls running, or assigned
        adapters."""
        agent = simulation.agents.get(name)
        if agent is not None:
            if name in simulation.idle:
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
        self._assign(agent, None)
        del simulation.agents[agent.name]
        simulation.idle.pop(agent.name, None)
        simulation.pausing.pop(agent.name, None)
        simulation.turns.forget(agent.name)
        simulation.accuracy.forget(agent.name)
        if simulation.space is not None:
            simulation.space.remove(agent.name)
            self.note(simulation)
        if agent.engine is not None:
            self._mark(agent)
            del agent.engine.agents[agent]

    def drop_simulation(self, simulation: Simulation) -> None:
        simulation.space = None
        for agent in list(simulation.agents.values()):
            self.drop_agent(agent)
        self.edge_count -= 0 if simulation.graph is None else simulation.graph.edges
        self.unfinished.pop(simulation.id, None)
        del self.simulations[simulation.id]

    def mark_all(self) -> None:
        for engine in self.engines.values():
            engine.dirty = True

    def note(self, simulation: Simulation) -> None:
        """Keeps book of what was told of it and is not worked out yet."""
        if simulation.unfinished:
            self.unfinished[simulation.id] = simulation
        else:
            self.unfinished.pop(simulation.id, None)

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
        engine = self.engine(event.engine)
        agent = None if event.agent is None else self.agent(simulation, event.agent)
        first = False
        if agent is not None:
            first = self._call(agent, at)
            # What was added to the request for an operator says nothing of what the simulation wants.
            agent.requested = None if event.adapter == agent.assigned_adapter else event.adapter
            self._move(agent, engine)
            self._mark(agent)
        engine.start(event.adapter)
        played = agent is not None and engine.play(agent)
        simulation.running += 1
        simulation.counters.calls += 1
        self.calls[event.call] = Call(simulation, agent, engine, event.adapter, first, played)

    def end_call(self, event: CallEnded, at: float) -> Call | None:
        """The call that ended, if it was one that counted."""
        call = self.calls.pop(event.call, None)
        if call is None:
            self.totals.unknown_calls += 1
            return None
        if self.simulations.get(call.simulation.id) is call.simulation:
            self.simulation(call.simulation.id, at)
        call.simulation.counters.count_end(event.outcome, event.usage, call.first)
        agent = call.agent
        if agent is not None and event.usage is not None:
            agent.learn_size(event.usage)
        # A call that failed is tried again, whatever was meant to follow it.
        if agent is not None and event.acts_for is not None and event.outcome is Outcome.DONE:
            self._act(agent, *event.acts_for, at)
        if agent is not None and event.said is not None and event.outcome is Outcome.DONE:
            self._hear(agent, *event.said, at)
        self._finish(call, at)
        return call

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
            self._expect(agent)
            if distance > 0.0 and not agent.running:
                agent.end_activation()
            self.judge(agent, at)
            self._mark(agent)

    def start_action(self, event: ActionStarted, at: float) -> None:
        simulation = self.simulation(event.simulation, at)
        agent = None if simulation is None else self.agent(simulation, event.agent)
        if agent is not None:
            self._act(agent, event.duration, event.clock, at)
            if not agent.running and agent.acts_next:
                agent.end_activation()
            self.judge(agent, at)
            self._mark(agent)

    def set_reading(self, event: ReadingSet, at: float) -> None:
        simulation = self.simulation(event.simulation, at)
        if simulation is not None:
            simulation.reading = event.reading

    def tick_steps(self, event: StepTicked, at: float) -> None:
        simulation = self.simulation(event.simulation, at)
        if simulation is not None:
            simulation.steps.tick(at, event.step)
            if simulation.mode is not Mode.OFF:
                self.mark_all()

    def leave(self, event: AgentLeft) -> None:
        simulation = self.simulations.get(event.simulation)
        agent = None if simulation is None else simulation.agents.get(event.agent)
        if simulation is not None and agent is not None:
            self.drop_agent(agent)
            if simulation.graph is not None:
                simulation.graph.leave(agent.name)

    # What operators tell

    def register(self, event: AdapterRegistered) -> None:
        adapter = self.adapters.register(event.name, event.path)
        if adapter is None:
            self.totals.refused += 1
            return
        for engine in self.engines.values():
            engine.loads.renew(MemoryId(LORA, adapter.key))
            engine.hosting.renew(adapter.key)
        self.mark_all()
        if adapter.assigned:
            self.ask_for(adapter)

    def forget_adapter(self, event: AdapterForgotten) -> None:
        adapter = self.adapters.forget(event.name)
        if adapter is None:
            return
        # Operators seldom do that: it may cost as much as there are agents.
        for name in list(adapter.assigned):
            for agent in self.simulations[name].agents.values():
                if agent.assigned is adapter:
                    self._assign(agent, None)
        self.mark_all()

    def rename_adapter(self, engine: Engine, key: AdapterName) -> None:
        """The engine has that name from another path, so ours must be called something else."""
        adapter = self.adapters.by_key.get(key)
        if adapter is None or not self.adapters.rename(adapter, engine.hosting.held):
            return
        engine.hosting.renew(key)
        self.mark_all()
        if adapter.assigned:
            self.ask_for(adapter)

    def assign(self, event: AdapterAssigned, at: float) -> None:
        adapter = None if event.name is None else self.adapters.current.get(event.name)
        if adapter is None and event.name is not None:
            self.totals.refused += 1
            return
        simulation = self.simulation(event.simulation, at)
        agent = None if simulation is None else self.agent(simulation, event.agent)
        if agent is None or agent.assigned is adapter:
            return
        self._assign(agent, adapter)
        self._expect(agent)
        self._mark(agent)
        if adapter is not None:
            self.ask_for(adapter)

    def ask_for(self, adapter: Adapter) -> None:
        """It is to be fetched by every engine: nobody knows to which its agents' first calls go."""
        for engine in self.engines.values():
            if "fetch_adapters" in engine.features and not engine.hosting.has(adapter):
                engine.hosting.ask(adapter.key)
                engine.dirty = True

    def ask_for_assigned(self) -> None:
        for adapter in self.adapters.current.values():
            if adapter.assigned:
                self.ask_for(adapter)

    def let_adapters_go(self) -> None:
        """Forgets those that were to be dropped and are on no engine any more."""
        engines = self.engines.values()
        gone = [key for key in self.adapters.leaving if not any(engine.may_hold(key) for engine in engines)]
        self.adapters.gone(gone)

    def set_host_copy(self, event: HostCopySet, at: float) -> None:
        if event.kind not in self.kinds:
            self.totals.refused += 1
            return
        simulation = self.simulation(event.simulation, at)
        if simulation is None:
            return
        if event.agent is None:
            simulation.host_copy[event.kind] = event.wanted
            self.mark_all()
            return
        agent = self.agent(simulation, event.agent)
        if agent is not None:
            agent.host_copy = {**(agent.host_copy or {}), event.kind: event.wanted}
            self._mark(agent)

    def _assign(self, agent: Agent, adapter: Adapter | None) -> None:
        simulation = agent.simulation
        if agent.assigned is not None:
            agent.assigned.release(simulation.id)
            simulation.assigned -= 1
        agent.assigned = adapter
        if adapter is not None:
            adapter.assign(simulation.id)
            simulation.assigned += 1
            simulation.idle.pop(agent.name, None)
        elif not agent.running:
            simulation.idle.setdefault(agent.name, agent)

    # Time

    def end_pauses(self, at: float) -> None:
        """Ends the activations whose agents have not called for the learned pause."""
        for simulation in self.simulations.values():
            while simulation.pausing:
                agent = next(iter(simulation.pausing.values()))
                if agent.in_activation(at):
                    break
                self._end_activation(agent, at)

    def _call(self, agent: Agent, at: float) -> bool:
        """A call of the agent starts. True if it opens an activation that is not the agent's first."""
        simulation = agent.simulation
        self._hand_over(agent, at)
        opens = not agent.in_activation(at)
        if opens:
            agent.begin_activation(at)
            self._take_turn(agent, at)
        elif not agent.running:
            simulation.learn_pause(at - agent.ended_at)
        if simulation.graph is not None:
            simulation.graph.use(agent.name, simulation.steps.passed)
            self.note(simulation)
        if simulation.space is not None:
            simulation.space.use(agent.name, simulation.now(simulation.space.rules.clock, at))
        agent.acts_next = False
        agent.running += 1
        agent.used_at = at
        simulation.idle.pop(agent.name, None)
        simulation.pausing.pop(agent.name, None)
        return opens and agent.activations > 1

    def _hand_over(self, agent: Agent, at: float) -> None:
        """Ends activations by the call that starts, where the simulation makes one at a time."""
        simulation = agent.simulation
        calls, handovers = simulation.counters.calls, simulation.handovers
        others = None if agent.called is None else calls - agent.called
        handovers.called(others, overlaps=simulation.running > agent.running)
        agent.called = calls + 1
        ends_after = handovers.ends_after
        if ends_after is None:
            return
        if agent.name in simulation.pausing and others is not None and others > ends_after:
            self._end_activation(agent, at)
        simulation.pausing.pop(agent.name, None)
        while simulation.pausing:
            oldest = next(iter(simulation.pausing.values()))
            if oldest.called is None or agent.called - oldest.called <= ends_after:
                break
            self._end_activation(oldest, at)

    def _take_turn(self, agent: Agent, at: float) -> None:
        """What was expected of the agent is measured by what came, and so is what follows for others learned."""
        simulation = agent.simulation
        if simulation.accuracy.began(agent.name, lambda clock: simulation.now(clock, at)):
            simulation.authority.weigh(simulation.accuracy)
        simulation.turns.began(agent.name, at)
        if simulation.turns.tells and simulation.mode is not Mode.OFF:
            self.mark_all()

    def _end_activation(self, agent: Agent, at: float) -> None:
        agent.end_activation()
        self.judge(agent, at)
        self._mark(agent)

    def judge(self, agent: Agent, at: float) -> None:
        """Something new is known of the agent: notes what every source says, to be compared with what comes."""
        accuracy = agent.simulation.accuracy
        # What was told during an activation may be meant for it, and is taken at its word when it ends.
        if not agent.in_activation(at) and accuracy.follows(agent.name):
            accuracy.predicted(agent.name, [(known.source, known.moment) for known in known_of(agent, at)])

    def _finish(self, call: Call, at: float) -> None:
        call.simulation.running -= 1
        call.engine.end(call.adapter)
        agent = call.agent
        if agent is not None and call.played:
            call.engine.release(agent)
        if agent is None or agent.gone:
            return
        agent.running -= 1
        agent.used_at = agent.ended_at = at
        if not agent.running:
            if agent.assigned is None:
                agent.simulation.idle[agent.name] = agent
            if agent.acts_next:
                agent.end_activation()
                self.judge(agent, at)
            else:
                agent.simulation.pausing[agent.name] = agent
        self._mark(agent)

    def _act(self, agent: Agent, duration: float, clock: Clock, at: float) -> None:
        checked = self._checked(duration)
        if checked is not None:
            self._told += 1
            agent.action = Told(Moment(clock, agent.simulation.now(clock, at) + checked), self._told)
            agent.acts_next = True

    def _hear(self, agent: Agent, duration: float, clock: Clock, at: float) -> None:
        """The activation goes on: simulations call again after the answer that says how long the action takes."""
        simulation = agent.simulation
        checked = self._checked(duration)
        # Nobody told us that there are ticks, and without them a moment in steps would stay as near as it is for ever.
        if checked is not None and (clock is not Clock.STEPS or simulation.steps.ticked):
            agent.said = Moment(clock, simulation.now(clock, at) + checked)
            simulation.counters.said += 1

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

    def _expect(self, agent: Agent) -> None:
        """Where there is but one engine, an agent with an assigned adapter has memory on it before its first call."""
        if agent.engine is None and agent.assigned is not None and len(self.engines) == 1:
            self._move(agent, next(iter(self.engines.values())))

    def _mark(self, agent: Agent) -> None:
        if agent.engine is not None and agent.simulation.mode is not Mode.OFF:
            agent.engine.dirty = True

"""What is known of simulations, agents, calls and engines, and how events change it.

Never decides what to do. Every change costs the same however many agents are idle, and every table has a limit.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator
from itertools import chain

from .adapters import Adapter, Adapters
from .checks import check_distance
from .counters import Totals
from .distance import gap
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
from .graph import Graph
from .loads import LoadQueue
from .misses import Found
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
from .periods import Hours
from .space import Space
from .story import Called, Stories, found_by
from .tables import Agent, Call, Engine, Simulation, Told

_FORGOTTEN = 64
"""Agents, places or nodes that are forgotten in one piece: less than half a millisecond."""
_GONE = 256
"""Ended simulations, graphs and spaces that wait for it. Beyond that the oldest are forgotten at once."""
_ENDED = 32
"""Activations that are ended in one piece."""


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
        idle_after_s: float,
        loads_in_flight: int,
        load_budget_bytes: int,
        guard: bool,
        kinds: Collection[str],
        stories: Stories,
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
        self.quiet: OrderedDict[SimulationId, Simulation] = OrderedDict()
        """Those without a running call that do not rest: in the order in which they will come to rest."""
        self.totals = Totals()
        self._mode = mode
        self.agent_limit = agent_limit
        self.total_agent_limit = total_agent_limit
        self.simulation_limit = simulation_limit
        self.call_limit = call_limit
        self.adapters = Adapters(adapter_limit)
        self.edge_limit = edge_limit
        self.idle_after_s = idle_after_s
        self.kinds = frozenset(kinds)
        self.stories = stories
        self.loads_in_flight = loads_in_flight
        self.load_budget_bytes = load_budget_bytes
        self.guard = guard
        self._told = 0
        self._gone: deque[Simulation | Graph | Space] = deque()
        """What ended, and is forgotten in pieces."""
        self._pauses_left = False
        """More pauses are over than were looked at."""

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
        simulation = self.seen(name, at)
        if simulation is not None:
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
        simulation = self.simulations[name] = self.quiet[name] = Simulation(name, self._mode, at)
        return simulation

    def seen(self, name: SimulationId, at: float) -> Simulation | None:
        """The known one of that name, seen now: whatever is heard of it ends its rest."""
        simulation = self.simulations.get(name)
        if simulation is not None:
            simulation.seen_at = at
            self.simulations.move_to_end(name)
            if simulation.resting:
                simulation.resting = False
                self.mark_all_of(simulation)
            if not simulation.running:
                self.quiet[name] = simulation
                self.quiet.move_to_end(name)
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
        if not is_full and self.agent_count >= self.total_agent_limit:
            self.drop_gone()
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
        simulation.agents.pop(agent.name, None)
        simulation.idle.pop(agent.name, None)
        simulation.pausing.pop(agent.name, None)
        simulation.turns.forget(agent.name)
        simulation.accuracy.forget(agent.name)
        self.stories.forget(agent)
        if simulation.space is not None:
            simulation.space.remove(agent.name)
            self.note(simulation)
        if agent.engine is not None:
            self._mark(agent)
            agent.engine.let_go(agent)

    def drop_simulation(self, simulation: Simulation) -> None:
        """From now on it is in no plan, and its name is free for another one. Its agents are forgotten in pieces."""
        self.mark_all_of(simulation)
        simulation.mode = Mode.OFF
        for known in (self.simulations, self.unfinished, self.quiet):
            known.pop(simulation.id, None)
        self.drop_graph(simulation)
        self.drop_space(simulation)
        self._give_up(simulation)

    def drop_graph(self, simulation: Simulation) -> None:
        if simulation.graph is not None:
            self.edge_count -= simulation.graph.edges
            self._give_up(simulation.graph)
            simulation.graph = None

    def drop_space(self, simulation: Simulation) -> None:
        if simulation.space is not None:
            self._give_up(simulation.space)
            simulation.space = None

    @property
    def behind(self) -> bool:
        """Whether `tidy` would do anything."""
        return bool(self._gone) or self._pauses_left

    @property
    def gone(self) -> int:
        """Simulations, graphs and spaces that ended and are not forgotten yet."""
        return len(self._gone)

    @property
    def leaving(self) -> Iterator[Simulation]:
        """Those that ended and have agents still."""
        return (one for one in self._gone if isinstance(one, Simulation))

    def _give_up(self, one: Simulation | Graph | Space) -> None:
        self._gone.append(one)
        self.drop_gone()
        while len(self._gone) > _GONE:
            self.drop_gone()

    def tidy(self, at: float) -> None:
        """A piece of what earlier events left to be done."""
        if self._pauses_left:
            self.end_pauses(at)
        else:
            self.drop_gone()

    def drop_gone(self) -> None:
        """Forgets a piece of what ended: to forget a large simulation at once takes long."""
        budget = _FORGOTTEN
        while budget > 0 and self._gone:
            one = self._gone[0]
            budget = self._drop_agents(one, budget) if isinstance(one, Simulation) else one.dissolve(budget)
            if budget > 0:
                self._gone.popleft()

    def _drop_agents(self, simulation: Simulation, budget: int) -> int:
        """Returns what is left of the budget."""
        while budget > 0 and simulation.agents:
            budget -= 1
            _, agent = simulation.agents.popitem()
            self.drop_agent(agent)
        return budget

    def mark_all(self) -> None:
        for engine in self.engines.values():
            engine.dirty = True

    def mark_all_of(self, simulation: Simulation) -> None:
        """A plan is due where its agents' memory is."""
        if simulation.mode is not Mode.OFF:
            for engine in self.engines.values():
                engine.dirty = engine.dirty or simulation in engine.simulations

    def learn_anew(self, simulation: Simulation) -> None:
        """Something else may be known of all its agents."""
        simulation.epoch += 1
        self.mark_all_of(simulation)

    def expect_anew(self, simulation: Simulation, names: Iterable[AgentName]) -> None:
        """Something else is known of these."""
        for name in names:
            agent = simulation.agents.get(name)
            if agent is not None:
                self._mark(agent)

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
        first, found = False, None
        if agent is not None:
            self.stories.starts(agent, at)
            found = found_by(agent, engine, event.adapter)
            first = self._call(agent, at)
            # What was added to the request for an operator says nothing of what the simulation wants.
            agent.requested = None if event.adapter == agent.assigned_adapter else event.adapter
            self._move(agent, engine)
            self._mark(agent, called=True)
        engine.start(event.adapter)
        played = 0 if agent is None else engine.play(agent)
        simulation.running += 1
        self.quiet.pop(simulation.id, None)
        simulation.counters.calls += 1
        self.calls[event.call] = Call(simulation, agent, engine, event.adapter, first, played, found)

    def end_call(self, event: CallEnded, at: float) -> Call | None:
        """The call that ended, if it was one that counted."""
        call = self.calls.pop(event.call, None)
        if call is None:
            self.totals.unknown_calls += 1
            return None
        if self._is_known(call.simulation):
            self.seen(call.simulation.id, at)
        call.simulation.counters.count_end(event.outcome, event.usage, call.first)
        agent = call.agent
        if agent is not None and call.found is not None:
            self._explain(agent, call, call.found, event, at)
        if agent is not None and event.usage is not None:
            agent.learn_size(event.usage)
            call.engine.memory_tokens.add(agent.size_tokens or 0)
        # A call that failed is tried again, whatever was meant to follow it.
        if agent is not None and event.acts_for is not None and event.outcome is Outcome.DONE:
            self._act(agent, *event.acts_for, at)
        if agent is not None and event.said is not None and event.outcome is Outcome.DONE:
            self._hear(agent, *event.said, at)
        self._finish(call, at, failed=event.outcome is Outcome.ENGINE_FAILED)
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
            since = now if agent.running else None
            agent.hinted = Told(Moment(event.clock, now + distance), self._told, since)
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
            clock = simulation.clock
            simulation.barriers.ticked(running=simulation.running > 0)
            simulation.steps.tick(at, event.step)
            if simulation.clock is not clock:
                simulation.forget_gaps()
                self.learn_anew(simulation)
            self.mark_all_of(simulation)

    def leave(self, event: AgentLeft, at: float) -> None:
        simulation = self.seen(event.simulation, at)
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
        for simulation in [*self.simulations.values(), *self.leaving]:
            for agent in simulation.agents.values() if simulation.assigned else ():
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
        """Ends activations whose agents have not called for the learned pause, or since a barrier: a piece of them."""
        left = _ENDED
        for simulation in self.simulations.values():
            while left > 0 and simulation.pausing:
                agent = next(iter(simulation.pausing.values()))
                if agent.in_activation(at):
                    break
                self._end_activation(agent, at)
                left -= 1
        self._pauses_left = left == 0

    def rest(self, at: float) -> None:
        """Lets simulations of which nothing was seen for long give back what they hold, at no cost for all others. What
        was learned of them stays."""
        while self.quiet and self.idle_after_s:
            simulation = next(iter(self.quiet.values()))
            if at - simulation.seen_at < self.idle_after_s:
                break
            del self.quiet[simulation.id]
            simulation.resting = True
            simulation.told_before = self._told
            self.learn_anew(simulation)

    def _call(self, agent: Agent, at: float) -> bool:
        """A call of the agent starts. True if it opens an activation that is not the agent's first."""
        simulation = agent.simulation
        self._hand_over(agent, at)
        opens = not agent.in_activation(at)
        if opens:
            self._begin(agent, at)
        elif not agent.running:
            simulation.learn_pause(at - agent.ended_at)
        if simulation.graph is not None:
            simulation.graph.use(agent.name, simulation.steps.passed)
            self.note(simulation)
        if simulation.space is not None:
            simulation.space.use(agent.name, simulation.now(simulation.space.rules.clock, at))
        agent.acts_next = False
        agent.barrier = simulation.barriers.count
        agent.running += 1
        agent.used_at = at
        simulation.idle.pop(agent.name, None)
        simulation.pausing.pop(agent.name, None)
        return opens and agent.activations > 1

    def _hand_over(self, agent: Agent, at: float) -> None:
        """Ends activations by the call that starts, where the simulation makes one at a time or waits for all of a step."""
        simulation = agent.simulation
        handovers = simulation.handovers
        others = None if agent.called is None else handovers.calls - agent.called
        handovers.called(others, overlaps=simulation.running > agent.running)
        simulation.barriers.called(handovers.calls, agent.called, at, running=simulation.running > 0)
        agent.called = handovers.calls
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

    def _begin(self, agent: Agent, at: float) -> None:
        """What was expected of the agent is measured by what came, and so is what follows for others learned."""
        simulation = agent.simulation
        turns, authority = simulation.turns, simulation.authority
        clock, learned = simulation.clock, (authority.before, turns.holding, simulation.gaps.known)
        self._ask_again(agent, at)
        if simulation.accuracy.began(agent.name, lambda clock: simulation.now(clock, at)):
            authority.weigh(simulation.accuracy)
        turns.began(agent.name, at)
        if simulation.clock is not clock:
            simulation.forget_gaps()
        agent.begin_activation(at)
        is_other_day = self._keep_hours(agent)
        now_learned = authority.before, turns.holding, simulation.gaps.known
        if is_other_day or simulation.clock is not clock or now_learned != learned:
            self.learn_anew(simulation)
        elif turns.tells:
            self.mark_all_of(simulation)

    def _keep_hours(self, agent: Agent) -> bool:
        """True if the day of its simulation is another one now."""
        began = agent.began
        if began is None or began.clock is Clock.SECONDS:
            return False
        agent.hours = agent.hours or Hours()
        return agent.simulation.period.began(agent.hours, int(began.value))

    def _ask_again(self, agent: Agent, at: float) -> None:
        """What gaps tell of an agent changes while it is away: what they tell now is compared with what comes."""
        simulation = agent.simulation
        accuracy = simulation.accuracy
        for name in accuracy.sample if agent.name in accuracy.sample else ():
            known = gap.estimate(simulation.agents[name], at)
            if known is not None:
                accuracy.predicted(name, [(known.source, known.moment)])

    def _end_activation(self, agent: Agent, at: float) -> None:
        agent.end_activation()
        self.judge(agent, at)
        self._mark(agent, called=True)

    def judge(self, agent: Agent, at: float) -> None:
        """Something new is known of the agent: notes what every source says, to be compared with what comes."""
        self.stories.expects(agent, at)
        accuracy = agent.simulation.accuracy
        # What was told during an activation may be meant for it, and is taken at its word when it ends.
        if not agent.in_activation(at) and accuracy.follows(agent.name):
            accuracy.predicted(agent.name, [(known.source, known.moment) for known in known_of(agent, at)])

    def _explain(self, agent: Agent, call: Call, found: Found, event: CallEnded, at: float) -> None:
        """Whether the call found the agent's memory, and if not, why."""
        usage, engine, cause = event.usage, call.engine, None
        if event.outcome is Outcome.DONE:
            cause = found.cause(usage, engine.boot_id)
            agent.last_call = found.left(engine.id, engine.boot_id, usage, cause)
            if cause is not None:
                call.simulation.counters.count_miss(cause)
        called = Called(
            at,
            engine.id,
            call.adapter,
            event.outcome,
            call.first,
            found.rank,
            None if usage is None else usage.prompt,
            None if usage is None else usage.cached,
            None if usage is None else found.expected_tokens(usage.prompt),
            cause,
        )
        self.stories.ended(agent, called)

    def _finish(self, call: Call, at: float, *, failed: bool = False) -> None:
        simulation = call.simulation
        simulation.running -= 1
        if not simulation.running:
            simulation.barriers.fell_silent(at)
            if self._is_known(simulation):
                self.quiet[simulation.id] = simulation
        call.engine.end(call.adapter)
        agent = call.agent
        if agent is not None and call.played:
            call.engine.release(agent, call.played, failed=failed)
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
        self._mark(agent, called=True)

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
            self._told += 1
            agent.said = Told(Moment(clock, simulation.now(clock, at) + checked), self._told)
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
            agent.engine.let_go(agent)
        agent.engine = engine
        engine.take_in(agent)

    def _expect(self, agent: Agent) -> None:
        """Where there is but one engine, an agent with an assigned adapter has memory on it before its first call."""
        if agent.engine is None and agent.assigned is not None and len(self.engines) == 1:
            self._move(agent, next(iter(self.engines.values())))

    def _is_known(self, simulation: Simulation) -> bool:
        """It has not ended, nor been forgotten."""
        return self.simulations.get(simulation.id) is simulation

    def _mark(self, agent: Agent, *, called: bool = False) -> None:
        """Something else is known of the agent, or it will not be found any more; or it `called`, began or stopped."""
        engine = agent.engine
        if engine is not None:
            (engine.called if called else engine.noted)[agent] = None
            engine.dirty = engine.dirty or agent.simulation.mode is not Mode.OFF

"""What is known of simulations, agents, calls and engines, and how events change it.

Never decides what to do. Every change costs the same however many agents are idle, and every table has a limit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from . import choosing
from .activations import Activations
from .adapters import Adapters
from .agent import Agent, Told
from .asks import Asks
from .assignments import Assignments
from .call import Call
from .checks import check_distance
from .config import ControllerConfig
from .counters import Totals
from .engine import Engine
from .events import (
    ActionStarted,
    AgentLeft,
    CallEnded,
    CallSent,
    CallStarted,
    DistanceHinted,
    EstimatorSet,
    ReadingSet,
    Rehomed,
    StepTicked,
)
from .loads import LoadQueue
from .misses import Found
from .model import CallId, Clock, EngineId, Moment, Outcome, Part
from .pins import Pins
from .population import Population
from .story import Called, Stories, found_by


class World:
    """All tables, and the changes that calls and what simulations tell make to them."""

    def __init__(self, config: ControllerConfig, *, kinds: Collection[str], stories: Stories) -> None:
        self.engines: dict[EngineId, Engine] = {}
        self.calls: OrderedDict[CallId, Call] = OrderedDict()
        self.totals = Totals()
        self.stories = stories
        self.adapters = Adapters(config.adapter_limit)
        self.pins = Pins(config)
        self.asks = Asks()
        self.population = Population(config, self.engines, self.totals, stories, self.pins)
        self.activations = Activations(self.population, stories)
        self.assignments = Assignments(
            self.adapters, self.population, self.pins, self.engines, kinds, self.totals
        )
        self._config = config
        self._guarded = config.guard and Part.ORDER in config.parts

    def configure(self, config: ControllerConfig) -> None:
        """As `Controller.configure`."""
        self._config = config
        self.population.configure(config)

    def engine(self, name: EngineId) -> Engine:
        engine = self.engines.get(name)
        if engine is None:
            config = self._config
            loads = LoadQueue(name, max_in_flight=config.loads_in_flight, max_bytes=config.load_budget_bytes)
            engine = self.engines[name] = Engine(name, loads, guarded=self._guarded)
        return engine

    @property
    def behind(self) -> bool:
        """Whether `tidy` would do anything."""
        return self.population.gone > 0 or self.activations.behind

    def tidy(self, at: float) -> None:
        """A piece of what earlier events left to be done."""
        if self.activations.behind:
            self.activations.end_pauses(at)
        else:
            self.population.drop_gone()

    # Calls

    def start_call(self, event: CallStarted, at: float) -> None:
        if event.call in self.calls:
            self.totals.repeated_calls += 1
            return
        simulation = self.population.simulation(event.simulation, at)
        if simulation is None:
            return
        if len(self.calls) >= self._config.call_limit:
            self.totals.lost_calls += 1
            _, lost = self.calls.popitem(last=False)
            self._finish(lost, at)
        engine = self.engine(event.engine)
        agent = None if event.agent is None else self.population.agent(simulation, event.agent)
        first, found = False, None
        if agent is not None:
            self.stories.starts(agent, at)
            found = found_by(agent, engine, event.adapter)
            first = self.activations.call_started(agent, at)
            # What was added to the request for an operator says nothing of what the simulation wants.
            agent.requested = None if event.adapter == agent.assigned_adapter else event.adapter
            if event.beginning is not None:
                agent.beginning = event.beginning
            if event.moves or agent.engine is None:
                agent.move(engine)
            agent.mark(called=True)
        engine.start(event.adapter)
        played = 0 if agent is None else engine.play(agent)
        simulation.running += 1
        self.population.quiet.pop(simulation.id, None)
        simulation.counters.calls += 1
        self.calls[event.call] = Call(simulation, agent, engine, event.adapter, first, played, found)

    def send_call(self, event: CallSent, at: float) -> None:
        call = self.calls.get(event.call)
        if call is None:
            self.totals.unknown_calls += 1
            return
        engine, before, agent = self.engine(event.engine), call.engine, call.agent
        before.end(call.adapter)
        if agent is not None and not agent.gone:
            call.found = found_by(agent, engine, event.adapter)
            if event.moves:
                agent.move(engine)
            agent.mark(called=True)
        engine.start(event.adapter)
        call.engine, call.adapter = engine, event.adapter
        if agent is not None and engine is not before:
            before.release(agent, call.played, failed=True)
            call.played = 0 if agent.gone else engine.play(agent)

    def end_call(self, event: CallEnded, at: float) -> Call | None:
        """The call that ended, if it was one that counted."""
        call = self.calls.pop(event.call, None)
        if call is None:
            self.totals.unknown_calls += 1
            return None
        if self.population.knows(call.simulation):
            self.population.seen(call.simulation.id, at)
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
        if agent is not None and event.ends and event.outcome is Outcome.DONE:
            agent.acts_next = True
        self._finish(call, at, failed=event.outcome is Outcome.ENGINE_FAILED)
        return call

    # What simulations tell

    def hint(self, event: DistanceHinted, at: float) -> None:
        simulation = self.population.simulation(event.simulation, at)
        if simulation is None:
            return
        population, clock = self.population, event.clock
        now = simulation.now(clock, at)
        population.told += 1
        number = population.told
        for name, value in event.distances.items():
            distance = self._checked(value)
            agent = None if distance is None else population.agent(simulation, name)
            if agent is None or distance is None:
                continue
            agent.hinted = Told(Moment(clock, now + distance), number, now if agent.running else None)
            if agent.engine is None:
                self.assignments.expect(agent)
            if agent.activated and distance > 0.0 and not agent.running:
                agent.end_activation()
            self.activations.judge(agent, at)
            agent.mark()

    def start_action(self, event: ActionStarted, at: float) -> None:
        simulation = self.population.simulation(event.simulation, at)
        agent = None if simulation is None else self.population.agent(simulation, event.agent)
        if agent is not None:
            self._act(agent, event.duration, event.clock, at)
            if not agent.running and agent.acts_next:
                agent.end_activation()
            self.activations.judge(agent, at)
            agent.mark()

    def set_reading(self, event: ReadingSet, at: float) -> None:
        simulation = self.population.simulation(event.simulation, at)
        if simulation is not None:
            simulation.reading = event.reading

    def set_estimator(self, event: EstimatorSet, at: float) -> None:
        if event.estimator not in choosing.names():
            self.totals.refused += 1
            return
        simulation = self.population.simulation(event.simulation, at)
        if simulation is not None:
            simulation.estimator = choosing.find(event.estimator)
            self.population.learn_anew(simulation)

    def tick_steps(self, event: StepTicked, at: float) -> None:
        simulation = self.population.simulation(event.simulation, at)
        if simulation is not None:
            clock = simulation.clock
            simulation.barriers.ticked(running=simulation.running > 0)
            simulation.steps.tick(at, event.step)
            if simulation.clock is not clock:
                simulation.forget_gaps()
                self.population.learn_anew(simulation)
            self.population.mark_all_of(simulation)

    def rehome(self, event: Rehomed, at: float) -> None:
        simulation = self.population.simulations.get(event.simulation)
        agent = None if simulation is None else simulation.agents.get(event.agent)
        engine = self.engines.get(event.engine)
        if agent is None or engine is None or not agent.is_free(at):
            return
        agent.move(engine)
        agent.mark()

    def leave(self, event: AgentLeft, at: float) -> None:
        simulation = self.population.seen(event.simulation, at)
        agent = None if simulation is None else simulation.agents.get(event.agent)
        if simulation is not None and agent is not None:
            self.population.drop_agent(agent)
            if simulation.graph is not None:
                simulation.graph.leave(agent.name)

    # What follows from it

    def _explain(self, agent: Agent, call: Call, found: Found, event: CallEnded, at: float) -> None:
        """Whether the call found the agent's memory, and if not, why."""
        usage, engine, cause = event.usage, call.engine, None
        if event.outcome is Outcome.DONE:
            cause = found.cause(usage, engine.boot_id)
            if agent.engine is engine:  # what a detour has left behind is not gone back to
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
            if self.population.knows(simulation):
                self.population.quiet[simulation.id] = simulation
        call.engine.end(call.adapter)
        agent = call.agent
        if agent is not None and call.played:
            call.engine.release(agent, call.played, failed=failed)
        if agent is not None and not agent.gone:
            self.activations.call_ended(agent, at)

    def _act(self, agent: Agent, duration: float, clock: Clock, at: float) -> None:
        checked = self._checked(duration)
        if checked is not None:
            self.population.told += 1
            agent.action = Told(
                Moment(clock, agent.simulation.now(clock, at) + checked), self.population.told
            )
            agent.acts_next = True

    def _hear(self, agent: Agent, duration: float, clock: Clock, at: float) -> None:
        """The activation goes on: simulations call again after the answer that says how long the action takes."""
        simulation = agent.simulation
        checked = self._checked(duration)
        # Nobody told us that there are ticks, and without them a moment in steps would stay as near as it is for ever.
        if checked is not None and (clock is not Clock.STEPS or simulation.steps.ticked):
            self.population.told += 1
            agent.said = Told(Moment(clock, simulation.now(clock, at) + checked), self.population.told)
            simulation.counters.said += 1

    def _checked(self, value: float) -> float | None:
        """The shell refuses bad values where they arrive; here they must only do no harm."""
        if type(value) is float and value >= 0.0:
            return value  # nearly all are, and there may be very many
        try:
            return check_distance(value)
        except ValueError:
            self.totals.refused += 1
            return None

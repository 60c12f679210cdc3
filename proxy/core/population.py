"""Who there is: simulations and their agents, from when they are first heard of until they are forgotten.

Every change costs the same however many agents are idle, and every table has a limit.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from .agent import Agent
from .config import ControllerConfig
from .counters import Totals
from .engine import Engine
from .graph import Graph
from .model import AgentName, EngineId, Mode, SimulationId, owner_of
from .pins import Pins
from .simulation import Simulation
from .space import Space
from .story import Stories

_FORGOTTEN = 64
"""Agents, places or nodes that are forgotten in one piece: less than half a millisecond."""
_GONE = 256
"""Ended simulations, graphs and spaces that wait for it. Beyond that the oldest are forgotten at once."""


class Population:
    def __init__(
        self,
        config: ControllerConfig,
        engines: Mapping[EngineId, Engine],
        totals: Totals,
        stories: Stories,
        pins: Pins,
    ) -> None:
        self.simulations: OrderedDict[SimulationId, Simulation] = OrderedDict()
        self.agent_count = 0
        """Over all simulations."""
        self.edge_count = 0
        """Over all graphs."""
        self.unfinished: dict[SimulationId, Simulation] = {}
        """Those of which something was told that is not worked out yet."""
        self.quiet: OrderedDict[SimulationId, Simulation] = OrderedDict()
        """Those without a running call that do not rest: in the order in which they will come to rest."""
        self.told = 0
        """The number of what was told last."""
        self._numbered = 0
        self._config = config
        self._engines = engines
        self._totals = totals
        self._stories = stories
        self._pins = pins
        self._gone: deque[Simulation | Graph | Space] = deque()
        """What ended, and is forgotten in pieces."""

    # Who comes

    def configure(self, config: ControllerConfig) -> None:
        """As `Controller.configure`."""
        self._config = config

    def simulation(self, name: SimulationId, at: float) -> Simulation | None:
        """The one of that name, seen now. None if it is new and all there is room for have calls running, or agents with
        assigned adapters or pins."""
        simulation = self.seen(name, at)
        if simulation is not None:
            return simulation
        if len(self.simulations) >= self._config.simulation_limit:
            # What was assigned or pinned is told once, and the calls of those who lost it would run on the base model.
            known = self.simulations.values()
            unused = [one for one in known if not (one.running or one.assigned or one.pinned)]
            if not unused:
                self._totals.refused += 1
                return None
            # One that would come back in another mode, or by another estimator, was put into its own, and that must last.
            plain = (one for one in unused if one.mode is self._config.mode and one.estimator is None)
            victim = next(plain, unused[0])
            self._totals.dropped_simulations += 1
            self.drop_simulation(victim)
        simulation = self.simulations[name] = self.quiet[name] = Simulation(name, self._config.mode, at)
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

    def find(self, simulation: SimulationId, name: AgentName) -> Agent | None:
        """Of those who are known: nobody becomes so by it."""
        known = self.simulations.get(simulation)
        return None if known is None else known.agents.get(name)

    def agent(self, simulation: Simulation, name: AgentName) -> Agent | None:
        """The one of that name, seen now. None if it is new and all there is room for have calls running, assigned
        adapters or pins."""
        agent = simulation.agents.get(name)
        if agent is not None:
            simulation.idle.see(agent)
            return agent
        is_full = len(simulation.agents) >= self._config.agent_limit
        if not is_full and self.agent_count >= self._config.total_agent_limit:
            self.drop_gone()
        if is_full or self.agent_count >= self._config.total_agent_limit:
            others = () if is_full else self.simulations.values()
            oldest = (one.idle.oldest for one in chain((simulation,), others))
            victim = next((one for one in oldest if one is not None), None)
            if victim is None:
                self._totals.refused += 1
                return None
            self._totals.dropped_agents += 1
            self.drop_agent(victim)
        self.agent_count += 1
        self._numbered += 1
        agent = Agent(name, owner_of(simulation.id, name), simulation, self._numbered)
        simulation.agents[name] = agent
        simulation.idle.add(agent)
        return agent

    def knows(self, simulation: Simulation) -> bool:
        """It has not ended, nor been forgotten."""
        return self.simulations.get(simulation.id) is simulation

    def rest(self, at: float) -> None:
        """Lets simulations of which nothing was seen for long give back what they hold, at no cost for all others. What
        was learned of them stays."""
        while self.quiet and self._config.idle_after_s:
            simulation = next(iter(self.quiet.values()))
            if at - simulation.seen_at < self._config.idle_after_s:
                break
            del self.quiet[simulation.id]
            simulation.resting = True
            simulation.told_before = self.told
            self.learn_anew(simulation)

    # Who leaves

    def drop_agent(self, agent: Agent) -> None:
        simulation = agent.simulation
        agent.gone = True
        self.agent_count -= 1
        agent.assign(None)
        self._pins.unpin(agent)
        simulation.agents.pop(agent.name, None)
        simulation.idle.remove(agent)
        simulation.called_again(agent.name)
        simulation.turns.forget(agent.name)
        simulation.accuracy.forget(agent.name)
        self._stories.forget(agent)
        if simulation.space is not None:
            simulation.space.remove(agent.name)
            self.note(simulation)
        if agent.engine is not None:
            agent.mark()
            agent.engine.let_go(agent)

    def drop_simulation(self, simulation: Simulation) -> None:
        """From now on it is in no plan, and its name is free for another one. Its agents are forgotten in pieces."""
        self.mark_all_of(simulation)
        self._pins.forget(simulation)
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

    # What is to be worked out anew

    def mark_all(self) -> None:
        """A plan is due everywhere."""
        for engine in self._engines.values():
            engine.dirty = True

    def mark_all_of(self, simulation: Simulation) -> None:
        """A plan is due where its agents' memory is."""
        if simulation.mode is not Mode.OFF:
            for engine in self._engines.values():
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
                agent.mark()

    def note(self, simulation: Simulation) -> None:
        """Keeps book of what was told of it and is not worked out yet."""
        if simulation.unfinished:
            self.unfinished[simulation.id] = simulation
        else:
            self.unfinished.pop(simulation.id, None)

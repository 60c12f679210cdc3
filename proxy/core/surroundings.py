"""What simulations tell of where their agents are and who is tied to whom, brought into the tables.

What follows from it may be much more than one event may cost: it is worked out in pieces, by `catch_up`.
"""

from __future__ import annotations

from .events import Activated, EdgesGiven, GraphCleared, Interacted, Moved, SpaceCleared, SpaceSet
from .graph import Graph
from .model import AgentName, Clock, SimulationId
from .simulation import Simulation
from .space import Space
from .world import World

PIECE = 2_000
"""Edges looked along in one piece: less than a millisecond."""
_NEIGHBOUR = 8
"""Edges that are looked along in the time that it takes to look at a neighbour in space."""


class Surroundings:
    def __init__(self, world: World, edge_limit: int) -> None:
        self._world = world
        self._population = world.population
        self._edge_limit = edge_limit
        """Of the graphs of all simulations together."""

    # Spaces

    def set_space(self, event: SpaceSet, at: float) -> None:
        if not event.rules.are_sound:
            self._world.totals.refused += 1
            return
        simulation = self._population.simulation(event.simulation, at)
        if simulation is not None and (simulation.space is None or simulation.space.rules != event.rules):
            self._population.drop_space(simulation)
            simulation.space = Space(event.rules)
            self._population.learn_anew(simulation)
            self._follow(simulation)

    def clear_space(self, event: SpaceCleared, at: float) -> None:
        simulation = self._population.seen(event.simulation, at)
        if simulation is not None and simulation.space is not None:
            self._population.drop_space(simulation)
            self._population.learn_anew(simulation)
            self._follow(simulation)

    def move(self, event: Moved, at: float) -> None:
        population, totals = self._population, self._world.totals
        simulation = population.simulation(event.simulation, at)
        if simulation is None:
            return
        space = simulation.space
        for name, motion in event.motions.items():
            if space is None or population.agent(simulation, name) is None:
                totals.refused += space is None
            else:
                now = simulation.now(space.rules.clock, at)
                totals.refused += not space.move(name, motion, now)
        self._follow(simulation)

    def interact(self, event: Interacted, at: float) -> None:
        simulation = self._population.seen(event.simulation, at)
        space = None if simulation is None else simulation.space
        if simulation is None or space is None:
            self._world.totals.refused += len(event.pairs)
            return
        now = simulation.now(space.rules.clock, at)
        for one, other in event.pairs:
            self._world.totals.refused += not space.rest(one, other, now)
        self._follow(simulation)

    # Graphs

    def connect(self, event: EdgesGiven, at: float) -> None:
        population, totals = self._population, self._world.totals
        simulation = population.simulation(event.simulation, at)
        if simulation is None:
            return
        graph = simulation.graph = simulation.graph or Graph()
        for one, other in event.edges:
            if population.edge_count >= self._edge_limit:
                totals.refused += 1
                continue
            if self._is_known(simulation, graph, one) and self._is_known(simulation, graph, other):
                graph.connect(one, other, simulation.steps.passed, directed=event.directed)
                population.edge_count += 1
        self._follow(simulation)

    def clear_graph(self, event: GraphCleared, at: float) -> None:
        simulation = self._population.seen(event.simulation, at)
        if simulation is not None and simulation.graph is not None:
            self._population.drop_graph(simulation)
            self._population.learn_anew(simulation)
            self._follow(simulation)

    def activate(self, event: Activated, at: float) -> None:
        simulation = self._population.simulation(event.simulation, at)
        if simulation is None:
            return
        step = simulation.steps.passed
        for name in event.agents:
            agent = self._population.agent(simulation, name)
            if agent is None or simulation.graph is None:
                continue
            began = agent.began
            has_begun = began is not None and began.clock is Clock.STEPS and began.value >= step
            if simulation.graph.activate(name, event.wave, step, called=has_begun or agent.running > 0):
                self._population.learn_anew(simulation)
        self._follow(simulation)

    def _is_known(self, simulation: Simulation, graph: Graph, name: AgentName) -> bool:
        # An agent that we had to forget keeps its edges, and takes no room by being told of again.
        return name in graph or self._population.agent(simulation, name) is not None

    # Working it out

    @property
    def behind(self) -> bool:
        """Whether there is anything to catch up with."""
        return bool(self._population.unfinished) or self._world.behind

    def catch_up(self, at: float) -> None:
        """Works out a piece of what was told, of one simulation after the other, or forgets a piece of what ended."""
        unfinished = self._population.unfinished
        if not unfinished:
            self._world.tidy(at)
        if unfinished:
            simulation = unfinished.pop(next(iter(unfinished)))
            left = PIECE
            if simulation.graph is not None:
                left = simulation.graph.search(left, simulation.steps.passed)
            if simulation.space is not None:
                now = simulation.now(simulation.space.rules.clock, at)
                simulation.space.search(left // _NEIGHBOUR, now)
            self._follow(simulation)
            if not simulation.unfinished:
                for name in simulation.accuracy.sample:
                    self._world.activations.judge(simulation.agents[name], at)

    def _follow(self, simulation: Simulation) -> None:
        """Some distances may be others now."""
        self._population.note(simulation)
        for surrounding in (simulation.graph, simulation.space):
            if surrounding is not None:
                self._population.expect_anew(simulation, surrounding.changed())

    # Reading

    def edge_room(self, name: SimulationId) -> int:
        """How many edges a graph of this simulation may have, if it takes the place of the one that it has."""
        simulation = self._population.simulations.get(name)
        own = 0 if simulation is None or simulation.graph is None else simulation.graph.edges
        return self._edge_limit - self._population.edge_count + own

    def sizes(self) -> dict[str, int]:
        spaces = [one.space for one in self._population.simulations.values() if one.space is not None]
        graphs = [one.graph for one in self._population.simulations.values() if one.graph is not None]
        return {
            "positions": sum(len(space) for space in spaces),
            "edges": self._population.edge_count,
            "graph_nodes": sum(graph.nodes for graph in graphs),
            "waves": sum(graph.waves for graph in graphs),
            "being_forgotten": self._population.gone,
        }

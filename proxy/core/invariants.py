"""What must hold between any two events, whatever was told and whatever a policy wants."""

from __future__ import annotations

from collections import Counter

from .actions import Load
from .adapters import LEAVING_LIMIT
from .agent import Agent
from .config import ControllerConfig
from .engine import Engine
from .hosting import FAILURE_LIMIT
from .model import Mode
from .pins import LIMIT as PIN_LIMIT
from .residency import MEMORY_LIMIT
from .residuals import CLASSES
from .simulation import Simulation
from .world import World


def check(world: World, config: ControllerConfig, now: float) -> None:
    population = world.population
    assert len(population.simulations) <= config.simulation_limit
    assert len(world.calls) <= config.call_limit
    known = sum(
        len(simulation.agents) for simulation in (*population.simulations.values(), *population.leaving)
    )
    assert all(simulation.mode is Mode.OFF for simulation in population.leaving), "they are in no plan"
    assert population.agent_count == known <= config.total_agent_limit
    graphs = [one.graph for one in population.simulations.values() if one.graph is not None]
    assert population.edge_count == sum(graph.edges for graph in graphs) <= config.edge_limit
    assert population.unfinished == {
        name: one for name, one in population.simulations.items() if one.unfinished
    }
    assert population.quiet.keys() == {
        name for name, one in population.simulations.items() if not one.running and not one.resting
    }
    for simulation in population.simulations.values():
        _check_simulation(simulation, world, config.agent_limit)
        for agent in simulation.agents.values():
            _check_agent(agent, world, now)
    for engine in world.engines.values():
        _check_engine(engine, world, config.plan_limit)
        _check_loads(engine, config.plan_limit)
        _check_guard(engine, world)
        calls = [call for call in world.calls.values() if call.engine is engine]
        assert engine.running == len(calls)
        assert engine.running_adapters == Counter(call.adapter for call in calls if call.adapter is not None)
    _check_adapters(world)
    _check_pins(world, now)


def _check_simulation(simulation: Simulation, world: World, agent_limit: int) -> None:
    assert len(simulation.agents) <= agent_limit
    assert not (simulation.resting and simulation.running)
    assert simulation.running == sum(call.simulation is simulation for call in world.calls.values())
    agents = simulation.agents.items()
    idle = {agent.name for agent in simulation.idle}
    assert idle == {n for n, agent in agents if not (agent.running or agent.assigned or agent.pinned)}
    assert simulation.space is None or len(simulation.space) <= len(simulation.agents)
    assert simulation.gaps.sizes()["gap_classes"] <= CLASSES
    assert simulation.turns.sizes()["turn_agents"] <= len(simulation.agents)
    assert set(simulation.accuracy.sample) <= simulation.agents.keys()
    assert simulation.assigned == sum(agent.assigned is not None for _, agent in agents)
    assert simulation.pinned == sum(agent.pinned for _, agent in agents)
    assert simulation.pausing.keys() == {
        name for name, agent in simulation.agents.items() if agent.activated and not agent.running
    }
    assert simulation.lulling.keys() <= simulation.pausing.keys()
    for waited_for in (simulation.pausing, simulation.lulling):
        ends = [agent.ended_at for agent in waited_for.values()]
        assert ends == sorted(ends)


def _check_agent(agent: Agent, world: World, now: float) -> None:
    assert agent.running == sum(call.agent is agent for call in world.calls.values())
    assert agent.in_activation(now) or not agent.running, "a running call is an activation"
    assert agent.activated or not agent.running
    assert not agent.gone
    assert agent.used_at <= now
    assert agent.engine is None or agent in agent.engine.agents


def _check_engine(engine: Engine, world: World, plan_limit: int) -> None:
    for agent in engine.agents:
        assert agent.engine is engine
        assert not agent.gone
    assert engine.simulations == Counter(agent.simulation for agent in engine.agents)
    assert engine.pinned_tokens <= engine.budget_tokens, "pinned within the budget"
    for wanted in (engine.wanted, engine.shadow):
        if wanted is not None:
            distances = [distance for _, distance in wanted.order]
            assert distances == sorted(distances), "nearest first"
            assert len(dict(wanted.order)) == len(wanted.order) <= plan_limit
    belief = engine.belief
    assert belief.in_flight or not engine.blocked
    assert belief.pins.keys().isdisjoint(belief.doubtful)
    if not engine.reachable:
        assert not belief.in_flight
        assert not belief.in_force
    _check_mode(engine, world)


def _check_guard(engine: Engine, world: World) -> None:
    calls = [
        call for call in world.calls.values() if call.engine is engine and call.played == engine.beginning > 0
    ]
    assert all(call.agent is not None for call in calls)
    if engine.guard is not None:
        assert engine.guarded, "it is switched on"
        assert engine.capacity_tokens is not None
        # Not all of them: of too many at once some are played as if they had ended.
        engine.guard.check(Counter(call.agent.owner for call in calls if call.agent is not None))
    if not engine.by_distance and not engine.dirty:
        assert not engine.wanted.order, "recency is in charge"


def _check_loads(engine: Engine, plan_limit: int) -> None:
    engine.loads.check()
    for wanted in (engine.wanted, engine.shadow):
        if wanted is not None:
            distances = [distance for _, distance in wanted.adapters]
            assert distances == sorted(distances), "nearest first"
            assert len(dict(wanted.adapters)) == len(wanted.adapters) <= plan_limit
            assert len(set(wanted.pinned_adapters)) == len(wanted.pinned_adapters)
            assert len(wanted.pinned_adapters) <= engine.adapter_pin_limit, "a slot is left for others"
    loads = [action.memory for action in engine.loads.in_flight if isinstance(action, Load)]
    assert len(set(loads)) == len(loads), "one load per memory"
    for memory in loads:
        assert f"load_{memory.kind}" in engine.features or "warm_up" in engine.features
    if not engine.reachable:
        assert not engine.loads.in_flight
        assert engine.hosting.flying is None
        assert not engine.residency.memories
    assert len(engine.residency.memories) <= MEMORY_LIMIT
    assert len(engine.hosting.failures) <= FAILURE_LIMIT
    assert engine.hosting.confirmed.keys() <= engine.hosting.held.keys()


def _check_adapters(world: World) -> None:
    adapters = world.adapters
    assert len(adapters.current) <= adapters.limit
    assert len(adapters.leaving) <= LEAVING_LIMIT
    assert {adapter.key: adapter for adapter in adapters.current.values()} == adapters.by_key, (
        "a name is one thing"
    )
    assert adapters.by_key.keys().isdisjoint(adapters.leaving)
    assigned: Counter[tuple[str, str]] = Counter()
    for simulation in (*world.population.simulations.values(), *world.population.leaving):
        for agent in simulation.agents.values():
            if agent.assigned is not None:
                assert not agent.assigned.forgotten
                assigned[agent.assigned.name, simulation.id] += 1
    counted = {(a.name, s): n for a in adapters.current.values() for s, n in a.assigned.items()}
    assert counted == assigned


def _check_pins(world: World, now: float) -> None:
    pins = world.pins
    assert all(size <= PIN_LIMIT for size in pins.sizes().values())
    for agent, pin in pins.agents_after(0, PIN_LIMIT):
        assert agent.pinned, "its agent knows"
        assert not agent.gone
        assert pin.since <= now
    known = world.population.simulations.values()
    assert sum(one.pinned for one in known) == pins.sizes()["operator_pins"]
    assert all(not adapter.forgotten for adapter in pins.adapters)
    for engine in world.engines.values():
        assert sum(pins.granted(engine, frozenset(Mode)).values()) <= pins.budget_tokens(engine)


def _check_mode(engine: Engine, world: World) -> None:
    """What was planned for last is of simulations that are on and do not rest, unless a plan is due."""
    if not (engine.dirty or engine.planning) and engine.features:
        agents = [agent for agent in engine.agents if not agent.simulation.resting]
        on = {agent.owner for agent in agents if agent.simulation.mode is Mode.ON}
        assert {owner for owner, _ in engine.wanted.order} <= on
        # What an operator pinned outlasts its simulation's rest.
        assert set(engine.wanted.pins) <= on | world.pins.granted(engine, {Mode.ON}).keys()

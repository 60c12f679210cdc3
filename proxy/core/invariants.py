"""What must hold between any two events, whatever was told and whatever a policy wants."""

from __future__ import annotations

from .model import Mode
from .world import Agent, Engine, Simulation, World


def check(world: World, plan_limit: int, now: float) -> None:
    assert len(world.simulations) <= world.simulation_limit
    assert len(world.calls) <= world.call_limit
    known = sum(len(simulation.agents) for simulation in world.simulations.values())
    assert world.agent_count == known <= world.total_agent_limit
    for simulation in world.simulations.values():
        _check_simulation(simulation, world)
        for agent in simulation.agents.values():
            _check_agent(agent, world, now)
    for engine in world.engines.values():
        _check_engine(engine, plan_limit)


def _check_simulation(simulation: Simulation, world: World) -> None:
    assert len(simulation.agents) <= world.agent_limit
    assert simulation.running == sum(call.simulation is simulation for call in world.calls.values())
    assert simulation.idle.keys() == {name for name, agent in simulation.agents.items() if not agent.running}
    assert simulation.pausing.keys() == {
        name for name, agent in simulation.agents.items() if agent.activated and not agent.running
    }
    ends = [agent.ended_at for agent in simulation.pausing.values()]
    assert ends == sorted(ends)


def _check_agent(agent: Agent, world: World, now: float) -> None:
    assert agent.running == sum(call.agent is agent for call in world.calls.values())
    assert agent.in_activation(now) or not agent.running, "a running call is an activation"
    assert agent.activated or not agent.running
    assert not agent.gone
    assert agent.used_at <= now
    assert agent.engine is None or agent in agent.engine.agents


def _check_engine(engine: Engine, plan_limit: int) -> None:
    for agent in engine.agents:
        assert agent.engine is engine
        assert not agent.gone
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
    _check_mode(engine)


def _check_mode(engine: Engine) -> None:
    """What was planned for last is of simulations that are on, unless a plan is due."""
    if not engine.dirty and engine.features:
        on = {agent.owner for agent in engine.agents if agent.simulation.mode is Mode.ON}
        assert {owner for owner, _ in engine.wanted.order} <= on
        assert set(engine.wanted.pins) <= on

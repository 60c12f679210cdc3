"""What operators chose while the proxy runs, as it is kept: estimators, policies and pins.

Modes, adapters and what else is told of one simulation or agent is kept with that. What was asked to be loaded now is not kept: it
is over before another process has begun.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from . import choosing, policies
from .model import AgentName, EngineId, SimulationId
from .pins import OperatorPin
from .plain import At, Forms, Plain
from .planner import Planner
from .world import World


class _Pin(NamedTuple):
    since: At
    until: At
    reason: str


class _Choices(NamedTuple):
    configured: str
    """The policy of the settings. Who is started with another one has changed it since."""
    policy: str
    """Of all engines that have none of their own."""
    engines: dict[EngineId, str]
    """Policies of their own."""
    estimators: dict[SimulationId, str]
    agents: list[tuple[SimulationId, AgentName, _Pin]]
    """That are pinned, in the order in which they were."""
    adapters: list[tuple[str, _Pin]]


_FORM = Forms().of(_Choices)


def written(world: World, planner: Planner, shift: float) -> Plain:
    known = _Choices(
        planner.configured_policy,
        planner.policy_of(None),
        {one.id: one.policy for one in world.engines.values() if one.policy is not None},
        {one.id: one.estimator.name for one in world.population.simulations.values() if one.estimator},
        [(agent.simulation.id, agent.name, _kept(pin)) for agent, pin in world.pins.agents.items()],
        [(adapter.name, _kept(pin)) for adapter, pin in world.pins.adapters.items()],
    )
    return _FORM.write(known, shift)


def restore(plain: Plain, world: World, planner: Planner, shift: float, at: float) -> bool:
    """To be done after agents and adapters; of those that are not known any more nothing is. False if another version wrote what
    there is not here. Raises `Garbled`."""
    known = cast("_Choices", _FORM.read(plain, shift))
    policy = known.policy if known.configured == planner.configured_policy else planner.configured_policy
    chosen: list[tuple[EngineId | None, str]] = [(None, policy), *known.engines.items()]
    for engine, name in chosen:
        if name in policies.names():
            planner.set_policy(None if engine is None else world.engine(engine), name)
    for simulation, name in known.estimators.items():
        of = world.population.simulations.get(simulation)
        if of is not None and name in choosing.names():
            of.estimator = choosing.find(name)
    for simulation, agent, pin in known.agents:
        of = world.population.simulations.get(simulation)
        pinned = None if of is None else of.agents.get(agent)
        if pinned is not None:
            world.pins.restore(pinned, min(pin.since, at), pin.until, pin.reason, at)
    for adapter_name, pin in known.adapters:
        adapter = world.adapters.current.get(adapter_name)
        if adapter is not None:
            world.pins.restore_adapter(adapter, min(pin.since, at), pin.until, pin.reason, at)
    names = {name for _, name in chosen}
    return names <= {*policies.names()} and {*known.estimators.values()} <= {*choosing.names()}


def _kept(pin: OperatorPin) -> _Pin:
    return _Pin(pin.since, pin.until, pin.reason)

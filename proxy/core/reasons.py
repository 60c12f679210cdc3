"""Why the core asks for what it asks, in words for people. Nothing is decided by it."""

from __future__ import annotations

from collections.abc import Collection

from .actions import Action, DropAdapter, Evict, FetchAdapter, Load, Order, Pin, Renew, StopLoad, Unpin
from .agent import Agent
from .engine import Engine
from .estimate import Estimator, Source
from .model import KV_PREFIX, LORA, AgentName, MemoryId, Owner, SimulationId
from .world import World


def why(
    action: Action,
    world: World,
    estimate: Estimator,
    policy: str,
    at: float,
    wanted: Collection[MemoryId] | None = None,
) -> str:
    """To be asked when the action was just asked for. `policy` is its engine's; `wanted` is to be loaded ahead by the plan that
    it is of, if that is not the engine's last one."""
    engine = world.engines.get(action.engine)
    if engine is None:
        return "its engine was removed meanwhile"
    match action:
        case Order():
            return _of_order(action, engine, policy)
        case Renew():
            return "keeps the order and the pins from ageing out"
        case Pin():
            return _of_pin(action, world)
        case Unpin():
            return f"{some(action.owners)}: no longer in an activation, or the room is for others"
        case Evict():
            return "they will not call again"
        case Load():
            return _of_load(action, world, estimate, at)
        case StopLoad():
            if engine.loads.is_wanted(action.memory) if wanted is None else action.memory in wanted:
                return "a nearer load takes its place, or the engine has calls to compute"
            return "nobody is expected to need it soon any more"
        case FetchAdapter():
            known = world.adapters.by_key.get(action.adapter)
            count = 0 if known is None else known.agents
            if action.adapter in world.asks.adapters(at):
                return "an operator asked for it"
            return f"it is assigned to {count} agents" if count else "an agent on it is expected soon"
        case DropAdapter():
            if action.adapter in world.adapters.leaving:
                return "it was forgotten, or another version took its place"
            if action.adapter in engine.hosting.unwanted:
                return "an operator wants it gone"
            return "it makes room in host memory for one that is needed sooner"


def expected(agent: Agent, estimate: Estimator, seconds: float, at: float) -> str:
    known = estimate(agent, at)
    if known is None:
        return f"{agent.owner} is not expected to call"
    if known.source is Source.ACTIVATION:
        return f"{agent.owner} calls now"
    if known.source is Source.OPERATOR:
        return f"{agent.owner} is wanted by an operator"
    return f"{agent.owner} is expected in {seconds:.3g} s ({known.source})"


def agent_of(owner: Owner, world: World) -> Agent | None:
    simulation, _, name = owner.partition("/")
    return world.population.find(SimulationId(simulation), AgentName(name))


def some(names: Collection[str]) -> str:
    """The first of them by name, and how many others."""
    if not names:
        return "nobody"
    first = next(iter(names))
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"


def _of_order(action: Order, engine: Engine, policy: str) -> str:
    if action.by_recency and engine.guard is not None:
        return f"recency is in charge: {engine.guard.state().reason}"
    if not action.distances:
        return f"nothing is to be ordered by {policy}: recency decides"
    owner, away = action.distances[0]
    return f"{policy} of {len(action.distances)} agents, {owner} the nearest at {away:.3g}"


def _of_pin(action: Pin, world: World) -> str:
    agents = {owner: agent_of(owner, world) for owner in action.owners}
    held = [(owner, agent) for owner, agent in agents.items() if agent is not None and agent.pinned]
    others = [owner for owner, agent in agents.items() if agent is None or not agent.pinned]
    said = [f"{some(others)}: in an activation"] if others else []
    if held:
        pin = world.pins.of(held[0][1])
        reason = f" ({pin.reason})" if pin is not None and pin.reason and len(held) == 1 else ""
        said.append(f"{some([owner for owner, _ in held])}: pinned by an operator{reason}")
    return "; ".join(said)


def _of_load(action: Load, world: World, estimate: Estimator, at: float) -> str:
    agent = agent_of(Owner(action.memory.key), world) if action.memory.kind == KV_PREFIX else None
    way = "computed again" if action.recompute else "copied"
    if action.memory.kind == LORA and action.memory.key in world.asks.adapters(at):
        return f"an operator asked for it; to be {way}"
    if agent is None:
        return f"its nearest agent is expected in {action.distance:.3g} s; to be {way}"
    return f"{expected(agent, estimate, action.distance, at)}; to be {way}"


def memories_of(action: Action) -> tuple[MemoryId, ...]:
    """Which it is about, as far as it names them: an order is of too many."""
    match action:
        case Load() | StopLoad():
            return (action.memory,)
        case FetchAdapter() | DropAdapter():
            return (MemoryId(LORA, action.adapter),)
        case Pin() | Unpin() | Evict():
            return tuple(MemoryId(KV_PREFIX, owner) for owner in action.owners)
        case Order() | Renew():
            return ()

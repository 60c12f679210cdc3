"""One plan of one engine: the view that a policy gets, the invariants that its answer must keep, and what follows from
it for adapters and copies.

The one place whose cost grows with the agents known on an engine.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from .estimate import Estimator, distance, next_turn_s, seconds_per_step, turns_s
from .model import KV_PREFIX, LORA, AdapterName, Clock, Mode, Owner, Part
from .shares import granted
from .tables import Agent, Engine, Simulation
from .wanted import Candidate, View, Wanted

SOON = 4.0
"""Times the reach: whoever calls within that is to find its adapter in host memory."""
_LATER_S = 1e-3
"""Waking up exactly when somebody comes near, it would be a rounding error too early."""


class Reach(NamedTuple):
    """Whoever is nearer is loaded for, on the clock on which its distance was told; what was learned in turns counts in
    seconds."""

    steps: float
    seconds: float


@dataclass(slots=True)
class Sight:
    """One look at the agents on an engine."""

    view: View
    agents: dict[Owner, Agent] = field(default_factory=dict)
    """Of the view's candidates."""
    active: set[Owner] = field(default_factory=set)
    """In an activation."""
    near: set[Owner] = field(default_factory=set)
    """Within reach."""
    soon: set[Owner] = field(default_factory=set)
    """Within `SOON` times the reach."""
    wake_at: float = math.inf
    """When the next one comes near or soon by the passing of time alone."""


def sight_of(
    agents: Collection[Agent],
    modes: Set[Mode],
    estimate: Estimator,
    at: float,
    *,
    pin_budget_tokens: int,
    plan_limit: int,
    reach: Reach,
) -> Sight:
    """`agents` are those of one engine. Those of whom nothing is known, or who are not expected again, are left out:
    farther than all others."""
    candidates: list[Candidate] = []
    engine = next((agent.engine for agent in agents), None)
    sight = Sight(View(candidates, pin_budget_tokens, plan_limit, *_sizes_of(engine)))
    has_host_tier = engine is not None and f"load_{KV_PREFIX}" in engine.features
    paces: dict[Simulation, float] = {}
    for agent in agents:
        simulation = agent.simulation
        if simulation.mode not in modes:
            continue
        in_activation = agent.in_activation(at)
        ahead, within, seconds, spread = 0.0, reach.seconds, 0.0, 0.0
        if not in_activation:
            known = estimate(agent, at)
            ahead = math.inf if known is None else distance(known, simulation, at)
            if known is None or ahead == math.inf:
                continue
            seconds, spread = ahead, known.spread
            if known.moment.clock is Clock.STEPS:
                if simulation not in paces:
                    paces[simulation] = seconds_per_step(simulation)
                pace = paces[simulation]
                within, seconds, spread = reach.steps, ahead * pace, spread * pace
                if seconds == math.inf:
                    continue
            else:
                shrinks = known.moment.value - at
                if known.moment.clock is Clock.TURNS:
                    shrinks = next_turn_s(simulation, at)
                    ahead = seconds = shrinks + turns_s(ahead, simulation)
                    spread = turns_s(spread, simulation) if spread else 0.0
                left = ahead - (SOON * within if ahead >= SOON * within else within)
                if 0.0 <= left < shrinks:
                    sight.wake_at = min(sight.wake_at, at + left + _LATER_S)
        owner = agent.owner
        has_copy = has_host_tier and agent.has_host_copy(KV_PREFIX)
        candidates.append(
            Candidate(
                owner,
                seconds,
                in_activation,
                agent.used_at,
                agent.size_tokens,
                spread,
                agent.adapter,
                has_copy,
                simulation.id,
            )
        )
        sight.agents[owner] = agent
        if in_activation:
            sight.active.add(owner)
        if ahead < within:
            sight.near.add(owner)
        if ahead < SOON * within:
            sight.soon.add(owner)
    return sight


def _sizes_of(engine: Engine | None) -> tuple[int | None, int | None]:
    """Bytes of a token and, where both kinds compete for the same room, of an adapter."""
    if engine is None:
        return None, None
    told = engine.residency.view
    one_budget = any({KV_PREFIX, LORA} <= pool.kinds for pool in engine.residency.pools)
    return told.bytes_per_token, told.adapter_bytes if one_budget else None


def completed(
    wanted: Wanted, sight: Sight, engine: Engine, parts: frozenset[Part], leaving: Collection[AdapterName]
) -> Wanted:
    """What the engine is asked for: `wanted` and what follows from it, as far as the engine is able to and the parts of
    memory control are switched on.

    While recency is in charge of the prefixes, only their order is left out. Adapters keep theirs: their slots are not
    what the guard plays. So do pins, which follow from calls that were made and not from what was told, and whatever
    else is no eviction."""
    features = engine.features
    nearest: dict[AdapterName, float] = {}
    pinned: list[AdapterName] = []
    if "adapters" in features and wanted.order:
        nearest = nearest_adapters(wanted, sight, engine, leaving)
        if Part.PIN in parts:
            pinned = _pinned_adapters(wanted, sight, engine, leaving)
    uncopied = [
        owner
        for owner, _ in (wanted.order if "host_copy" in features else ())
        if not sight.agents[owner].has_host_copy(KV_PREFIX)
    ]
    ordered = Part.ORDER in parts
    return replace(
        wanted,
        order=wanted.order if ordered and engine.by_distance else (),
        pins=wanted.pins if Part.PIN in parts else (),
        adapters=tuple(nearest.items())[: sight.view.plan_limit] if ordered else (),
        pinned_adapters=tuple(pinned),
        no_host_copy=tuple(uncopied),
        ready_first="ready_first" in features and Part.READY_FIRST in parts and bool(wanted.order),
    )


def nearest_adapters(
    wanted: Wanted, sight: Sight, engine: Engine, leaving: Collection[AdapterName]
) -> dict[AdapterName, float]:
    """The distance of each adapter's nearest owner, nearest first; 0 for all on which calls run."""
    nearest = dict.fromkeys(sorted(engine.adapters_in_use), 0.0)
    for owner, away in wanted.order:
        adapter = sight.agents[owner].adapter
        if adapter is not None and adapter not in nearest and adapter not in leaving:
            nearest[adapter] = away
    return nearest


def adapter_pin_limit(engine: Engine) -> int:
    """More would leave no slot for an adapter that is neither pinned nor running, and whoever needs it would starve."""
    slots = None if engine.capabilities is None else engine.capabilities.adapter_slots
    return 0 if slots is None else max(0, slots - 1 - len(engine.adapters_in_use))


def _pinned_adapters(
    wanted: Wanted, sight: Sight, engine: Engine, leaving: Collection[AdapterName]
) -> list[AdapterName]:
    """Of agents in an activation. Those that run need no pin."""
    limit, running = adapter_pin_limit(engine), engine.adapters_in_use
    pinned: dict[AdapterName, None] = {}
    for owner, _ in wanted.order:
        if len(pinned) >= limit or owner not in sight.active:
            break  # who is in an activation stands at the front
        adapter = sight.agents[owner].adapter
        if adapter is not None and adapter not in running and adapter not in leaving:
            pinned[adapter] = None
    return list(pinned)


def keep_invariants(wanted: Wanted, view: View) -> Wanted:
    """`wanted` as it is, or the nearest thing to it that is allowed.

    An order is of known owners, each once, nearest first and within the limit, and whoever is in an activation stands at
    its front; pins are of known owners with a known size, each once, within the budget and those of each simulation
    within its share of it. An empty order stays empty.
    """
    known = {candidate.owner: candidate for candidate in view.candidates}
    return Wanted(_kept_order(wanted, view, known), _kept_pins(wanted, view, known))


def _kept_order(wanted: Wanted, view: View, known: dict[Owner, Candidate]) -> tuple[tuple[Owner, float], ...]:
    if not wanted.order:
        return ()
    distances: dict[Owner, float] = {}
    for owner, away in wanted.order:
        if owner in known and 0.0 <= away < math.inf:
            distances.setdefault(owner, 0.0 if known[owner].in_activation else away)
    for candidate in view.candidates:
        if candidate.in_activation:
            distances.setdefault(candidate.owner, 0.0)
    nearest_first = sorted(distances.items(), key=lambda item: (item[1], not known[item[0]].in_activation))
    return tuple(nearest_first[: view.plan_limit])


def _kept_pins(wanted: Wanted, view: View, known: dict[Owner, Candidate]) -> tuple[Owner, ...]:
    asked = [known[owner] for owner in dict.fromkeys(wanted.pins) if owner in known]
    return granted(asked, view.pin_budget_tokens)

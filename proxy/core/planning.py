"""One plan of one engine: the view that a policy gets, the invariants that its answer must keep, and what follows from
it for adapters and copies. What it costs grows with what the engine holds, and not with the agents known.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from operator import itemgetter, le
from typing import NamedTuple

from .agenda import AT_ONCE, Agenda
from .agent import Agent
from .engine import Engine
from .estimate import TURN_S, Estimator, Source, distance_s, seconds_per_step, turns_s
from .model import KV_PREFIX, LORA, AdapterName, Clock, Mode, Owner, Part, SimulationId
from .shares import fair_order, granted
from .simulation import Simulation
from .wanted import Candidate, View, Wanted

SOON = 4.0
"""Times the reach: whoever calls within that is to find its adapter in host memory."""
_LATER_S = 1e-3
"""Waking up exactly when somebody comes near, it would be a rounding error too early."""
_LOOK = 1.5
"""Times what the engine holds..."""
_LOOK_MIN = 256
"""... but so many cost nothing to speak of."""
_HOST_TIER = 3.0
"""Times the device: what it and a host tier of the usual size hold together."""
_SECONDS, _TURNS = Clock.SECONDS, Clock.TURNS
_OPERATOR = Source.OPERATOR
_new_tuple = tuple.__new__


class Reach(NamedTuple):
    """Whoever is nearer is loaded for, on the clock on which its distance was told; what was learned in turns counts in
    seconds."""

    steps: float
    seconds: float


_Row = tuple[Agent, float, float, bool]
"""Who was looked at: distance in seconds, spread, whether in an activation."""

Nearest = Sequence[tuple[Owner, float]]
"""Owners and their distances in seconds, nearest first, 0 for all in an activation."""


@dataclass(slots=True)
class Sight:
    """One look at the agents on an engine."""

    view: View
    agents: dict[Owner, Agent] = field(default_factory=dict)
    """Of the view's candidates."""
    seconds: dict[Owner, float] = field(default_factory=dict)
    """Their distances. A policy may rank them otherwise, but no call comes the sooner for that."""
    active: set[Owner] = field(default_factory=set)
    """In an activation."""
    near: set[Owner] = field(default_factory=set)
    """Within reach."""
    soon: set[Owner] = field(default_factory=set)
    """Within `SOON` times the reach."""
    uncopied: set[Owner] = field(default_factory=set)
    """Whose prefixes are to have no copy in host memory."""
    asked: list[Owner] = field(default_factory=list)
    """Those of them whom operators asked for: their memory is loaded whatever the policy says."""
    held: Mapping[Owner, int] = field(default_factory=dict)
    """Whom operators pinned, and may, with their tokens. They need not be among the candidates."""
    held_adapters: Sequence[AdapterName] = ()
    """That operators pinned, as engines call them."""
    asked_adapters: Sequence[AdapterName] = ()
    """That operators asked for, as engines call them."""
    wake_at: float = math.inf
    """When the next one comes near or soon by the passing of time alone, or the next step is foreseen."""

    def nearest(self, wanted: Wanted) -> Nearest:
        """Who is in the order, or was asked for, by distance."""
        seconds, nearest, ordered = self.seconds, wanted.order, dict(wanted.order)
        if ordered != seconds:
            nearest = tuple(sorted([(owner, seconds[owner]) for owner in ordered], key=itemgetter(1)))
        if self.asked:
            return [*((owner, 0.0) for owner in self.asked if owner not in ordered), *nearest]
        return nearest

    def shared_out(self, order: Nearest, room_tokens: int) -> Nearest:
        """The same, where simulations share the engine: none of them takes the place of others by what it tells."""
        agents = self.agents
        return fair_order(
            order,
            lambda owner: agents[owner].simulation.id,
            lambda owner: agents[owner].size_tokens,
            self.view.weights,
            room_tokens,
        )


def look(
    agenda: Agenda,
    engine: Engine,
    modes: Set[Mode],
    estimate: Estimator,
    at: float,
    *,
    pin_budget_tokens: int,
    plan_limit: int,
    weights: Mapping[SimulationId, int],
    reach: Reach,
) -> Generator[int, None, Sight]:
    """In pieces: yields how many agents it looked at since it yielded last.

    Those who are in an activation and the nearest of all others, as many of each as may make a difference to the engine:
    who is left out is farther than all of them. So are those of whom nothing is known, or who are not expected again."""
    candidates: list[Candidate] = []
    sight = Sight(View(candidates, pin_budget_tokens, plan_limit, *_sizes_of(engine), weights))
    foreseeing = (one for one in engine.simulations if _counts(one, modes))
    sight.wake_at = min((one.foresees_after(at) for one in foreseeing), default=math.inf)
    has_host_tier = f"load_{KV_PREFIX}" in engine.features
    near, soon, steps, inf = sight.near, sight.soon, reach.steps, math.inf
    limit = _horizon(engine, plan_limit)
    # Who began to call first is served first, and the engine cannot hold more of them than of all others.
    active = _calling(agenda, modes, limit)
    for start in range(0, len(active), AT_ONCE):
        if start:
            yield AT_ONCE
        here = active[start : start + AT_ONCE]
        _see(sight, candidates, zip(here, repeat(0.0), repeat(0.0), repeat(True)), has_host_tier)
    sight.active.update(sight.agents)
    if reach.seconds > 0.0:
        near |= sight.active
        soon |= sight.active
    nearest, wake_at = agenda.nearest(modes, at, max(limit - len(candidates), limit // 2)), sight.wake_at
    rows: list[_Row] = []
    for number, (seconds, turn, _, _, away, shrinks, agent, known) in enumerate(nearest, 1):
        if number % AT_ONCE == 0:
            _see(sight, candidates, rows, has_host_tier)
            rows.clear()
            yield AT_ONCE
        spread, within, clock = known.spread, steps, known.moment.clock
        if clock is _TURNS:
            # The beginnings of others may have moved it since it was placed.
            fresh = estimate(agent, at)
            if fresh is None or fresh.moment.clock is not _TURNS:
                engine.note(agent)
                continue
            within = reach.seconds
            seconds = away = distance_s(fresh, agent.simulation, at)
            spread = turns_s(fresh.spread, agent.simulation) if fresh.spread else 0.0
        elif clock is _SECONDS:
            within = reach.seconds
            if known.source is _OPERATOR:
                within, spread = inf, 0.0
                sight.asked.append(agent.owner)
        elif spread:
            spread *= seconds_per_step(agent.simulation, clock)
        if seconds == inf:
            continue
        if turn < inf:
            # Of those of whom the same was told: too little to turn anything else around.
            seconds += max(0.0, turn - agent.simulation.turns.turn) * TURN_S
        rows.append((agent, seconds, spread, False))
        if away >= (within_soon := SOON * within):
            left = away - within_soon
        else:
            left = away - within
            soon.add(agent.owner)
            if left < 0.0:
                near.add(agent.owner)
        if 0.0 <= left < shrinks:
            wake_at = min(wake_at, at + left + _LATER_S)
    _see(sight, candidates, rows, has_host_tier)
    sight.wake_at = wake_at
    return sight


def _calling(agenda: Agenda, modes: Set[Mode], limit: int) -> Sequence[Agent]:
    """Of those in an activation, at most so many."""
    first = list(islice(agenda.active, limit))
    if all(_counts(one, modes) for one in {agent.simulation for agent in first}):
        return first
    return list(islice((agent for agent in agenda.active if _counts(agent.simulation, modes)), limit))


def _counts(simulation: Simulation, modes: Set[Mode]) -> bool:
    return simulation.mode in modes and not simulation.resting


def _see(sight: Sight, candidates: list[Candidate], rows: Iterable[_Row], has_host_tier: bool) -> None:
    # Not a function for each of them: a plan looks at thousands.
    agents, distances, add = sight.agents, sight.seconds, candidates.append
    for agent, seconds, spread, in_activation in rows:
        owner, simulation, is_copied = agent.owner, agent.simulation, True
        if agent.host_copy is not None or simulation.host_copy:
            is_copied = agent.has_host_copy(KV_PREFIX)
            if not is_copied:
                sight.uncopied.add(owner)
        agents[owner], distances[owner] = agent, seconds
        # Its own function to make one takes three times as long.
        add(
            _new_tuple(
                Candidate,
                (
                    owner,
                    seconds,
                    in_activation,
                    agent.used_at,
                    agent.size_tokens,
                    spread,
                    agent.requested if agent.assigned is None else agent.adapter,
                    has_host_tier and is_copied,
                    simulation.id,
                ),
            )
        )


def _horizon(engine: Engine, plan_limit: int) -> int:
    """How many of the nearest to look at. What lies well beyond what the engine holds cannot stay anyway, whatever
    its order; where there is host memory as well, that holds a multiple of what the device does."""
    tokens = engine.memory_tokens.value
    if engine.capacity_tokens is None or not tokens:
        return plan_limit
    fits = engine.capacity_tokens / tokens * (_HOST_TIER if f"load_{KV_PREFIX}" in engine.features else 1)
    return min(plan_limit, max(_LOOK_MIN, math.ceil(_LOOK * fits)))


def _sizes_of(engine: Engine) -> tuple[int | None, int | None]:
    """Bytes of a token and, where both kinds compete for the same room, of an adapter."""
    told = engine.residency.view
    one_budget = any({KV_PREFIX, LORA} <= pool.kinds for pool in engine.residency.pools)
    return told.bytes_per_token, told.adapter_bytes if one_budget else None


def completed(
    wanted: Wanted,
    nearest: Nearest,
    sight: Sight,
    engine: Engine,
    parts: frozenset[Part],
    leaving: Collection[AdapterName],
) -> Wanted:
    """What the engine is asked for: `wanted` and what follows from it, as far as the engine is able to and the parts of
    memory control are switched on.

    While recency is in charge of the prefixes, only the distances are left out of their order: what is of no use to anybody
    still leaves first, where the engine knows that. Adapters keep theirs: their slots are not what the guard plays. So do
    pins, which follow from calls that were made and not from what was told, and whatever else is no eviction."""
    features = engine.features
    adapters: dict[AdapterName, float] = {}
    pinned: list[AdapterName] = []
    if "adapters" in features and (nearest or sight.held_adapters):
        if nearest:
            adapters = nearest_adapters(nearest, sight, engine, leaving)
        if Part.PIN in parts:
            pinned = _pinned_adapters(nearest, sight, engine, leaving)
    uncopied = sight.uncopied if "host_copy" in features else ()
    ordered = Part.ORDER in parts
    return replace(
        wanted,
        order=wanted.order if ordered and engine.by_distance else (),
        pins=wanted.pins if Part.PIN in parts else (),
        adapters=tuple(adapters.items())[: sight.view.plan_limit] if ordered else (),
        pinned_adapters=tuple(pinned),
        no_host_copy=tuple(owner for owner, _ in wanted.order if owner in uncopied) if uncopied else (),
        by_recency="by_recency" in features and ordered and not engine.by_distance and bool(wanted.order),
        ready_first="ready_first" in features and Part.READY_FIRST in parts and bool(wanted.order),
    )


def nearest_adapters(
    nearest: Nearest, sight: Sight, engine: Engine, leaving: Collection[AdapterName]
) -> dict[AdapterName, float]:
    """The distance of each adapter's nearest owner, nearest first; 0 for all on which calls run, or that operators asked for."""
    adapters = dict.fromkeys(sorted(engine.adapters_in_use), 0.0)
    adapters.update((one, 0.0) for one in sight.asked_adapters if one not in leaving)
    for owner, away in nearest:
        adapter = sight.agents[owner].adapter
        if adapter is not None and adapter not in adapters and adapter not in leaving:
            adapters[adapter] = away
    return adapters


def adapter_pin_limit(engine: Engine) -> int:
    """More would leave no slot for an adapter that is neither pinned nor running, and whoever needs it would starve."""
    slots = None if engine.capabilities is None else engine.capabilities.adapter_slots
    return 0 if slots is None else max(0, slots - 1 - len(engine.adapters_in_use))


def _pinned_adapters(
    nearest: Nearest, sight: Sight, engine: Engine, leaving: Collection[AdapterName]
) -> list[AdapterName]:
    """Those of operators, and of agents in an activation. Those that run need no pin."""
    limit, running = adapter_pin_limit(engine), engine.adapters_in_use
    held = (one for one in sight.held_adapters if one not in running and one not in leaving)
    pinned: dict[AdapterName, None] = dict.fromkeys(islice(held, limit))
    for owner, _ in nearest:
        if len(pinned) >= limit or owner not in sight.active:
            break  # who is in an activation stands at the front, as far as its simulation's share goes
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
    if not wanted.order or _is_sound(wanted, view, known):
        return wanted.order
    distances: dict[Owner, float] = {}
    for owner, away in wanted.order:
        if owner in known and 0.0 <= away < math.inf:
            distances.setdefault(owner, 0.0 if known[owner].in_activation else away)
    for candidate in view.candidates:
        if candidate.in_activation:
            distances.setdefault(candidate.owner, 0.0)
    nearest_first = sorted(distances.items(), key=lambda item: (item[1], not known[item[0]].in_activation))
    return tuple(nearest_first[: view.plan_limit])


def _is_sound(wanted: Wanted, view: View, known: dict[Owner, Candidate]) -> bool:
    """As nearly every order of a good policy is: then it needs no sorting."""
    order = wanted.order
    distances = dict(order)
    if not (len(distances) == len(order) <= view.plan_limit and known.keys() >= distances.keys()):
        return False
    # Each of them compared with the next one, so that what is no number is found as well.
    if not (order[0][1] >= 0.0 and order[-1][1] < math.inf):
        return False
    if not all(map(le, distances.values(), islice(distances.values(), 1, None))):
        return False
    active = {one.owner for one in view.candidates if one.in_activation}
    number = len(active)
    return set(islice(distances, number)) == active and (not number or order[number - 1][1] == 0.0)


def _kept_pins(wanted: Wanted, view: View, known: dict[Owner, Candidate]) -> tuple[Owner, ...]:
    asked = [known[owner] for owner in dict.fromkeys(wanted.pins) if owner in known]
    return granted(asked, view.pin_budget_tokens, view.weights)

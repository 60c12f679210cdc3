"""One plan of one engine: the view that a policy gets, and the invariants that its answer must keep.

The one place whose cost grows with the agents known on an engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Set

from .estimate import Estimator, distance_s
from .model import Mode, Owner
from .wanted import Candidate, View, Wanted
from .world import Agent


def view_of(
    agents: Iterable[Agent],
    modes: Set[Mode],
    estimate: Estimator,
    at: float,
    *,
    pin_budget_tokens: int,
    plan_limit: int,
) -> View:
    """Agents of whom nothing is known, or who are not expected again, are left out: farther than all others."""
    candidates = []
    for agent in agents:
        simulation = agent.simulation
        if simulation.mode not in modes:
            continue
        in_activation = agent.in_activation(at)
        distance = 0.0
        if not in_activation:
            known = estimate(agent, at)
            distance = math.inf if known is None else distance_s(known, simulation, at)
            if distance == math.inf:
                continue
        candidates.append(Candidate(agent.owner, distance, in_activation, agent.used_at, agent.size_tokens))
    return View(candidates, pin_budget_tokens, plan_limit)


def keep_invariants(wanted: Wanted, view: View) -> Wanted:
    """`wanted` as it is, or the nearest thing to it that is allowed.

    An order is of known owners, each once, nearest first and within the limit, and whoever is in an activation stands at
    its front; pins are of known owners with a known size, each once, within the budget. An empty order stays empty.
    """
    known = {candidate.owner: candidate for candidate in view.candidates}
    return Wanted(_kept_order(wanted, view, known), _kept_pins(wanted, view, known))


def _kept_order(wanted: Wanted, view: View, known: dict[Owner, Candidate]) -> tuple[tuple[Owner, float], ...]:
    if not wanted.order:
        return ()
    distances: dict[Owner, float] = {}
    for owner, distance in wanted.order:
        if owner in known and 0.0 <= distance < math.inf:
            distances.setdefault(owner, 0.0 if known[owner].in_activation else distance)
    for candidate in view.candidates:
        if candidate.in_activation:
            distances.setdefault(candidate.owner, 0.0)
    nearest_first = sorted(distances.items(), key=lambda item: (item[1], not known[item[0]].in_activation))
    return tuple(nearest_first[: view.plan_limit])


def _kept_pins(wanted: Wanted, view: View, known: dict[Owner, Candidate]) -> tuple[Owner, ...]:
    pins, left = [], view.pin_budget_tokens
    for owner in dict.fromkeys(wanted.pins):
        size = known[owner].size_tokens if owner in known else None
        if size is not None and size <= left:
            pins.append(owner)
            left -= size
    return tuple(pins)

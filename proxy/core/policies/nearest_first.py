"""Memory leaves in the order of invocation distance, farthest first; who is in an activation is pinned."""

from __future__ import annotations

from ..shares import granted
from ..wanted import View, Wanted


def plan(view: View) -> Wanted:
    # Among equals: who calls now, who called last, and the name so that a plan never depends on the order of a table.
    nearness = [
        (one.distance, not one.in_activation, -one.used_at, one.owner, number)
        for number, one in enumerate(view.candidates)
    ]
    nearness.sort()
    nearest = nearness[: view.plan_limit]
    active = [view.candidates[number] for _, waits, _, _, number in nearest if not waits]
    pins = granted(active, view.pin_budget_tokens, view.weights)
    return Wanted(tuple([(owner, distance) for distance, _, _, owner, _ in nearest]), pins)

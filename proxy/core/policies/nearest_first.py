"""Memory leaves in the order of invocation distance, farthest first; who is in an activation is pinned."""

from __future__ import annotations

from heapq import nsmallest

from ..shares import granted
from ..wanted import Candidate, View, Wanted


def plan(view: View) -> Wanted:
    nearest = nsmallest(view.plan_limit, view.candidates, key=_nearness)
    pins = granted(
        [candidate for candidate in nearest if candidate.in_activation], view.pin_budget_tokens, view.weights
    )
    return Wanted(tuple((candidate.owner, candidate.distance) for candidate in nearest), pins)


def _nearness(candidate: Candidate) -> tuple[float, bool, float, str]:
    # Among equals: who calls now, who called last, and the name so that a plan never depends on the order of a table.
    return candidate.distance, not candidate.in_activation, -candidate.used_at, candidate.owner

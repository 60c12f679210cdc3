"""Memory leaves in the order of invocation distance, farthest first; who is in an activation is pinned."""

from __future__ import annotations

from operator import itemgetter

from ..shares import granted
from ..wanted import Candidate, View, Wanted

_owner, _distance, _in_activation, _used_at = (
    itemgetter(Candidate._fields.index(name)) for name in ("owner", "distance", "in_activation", "used_at")
)


def plan(view: View) -> Wanted:
    # Among equals: who calls now, who called last, and the name so that a plan never depends on the order of a table. Each
    # by itself, the last first, because a sort keeps equals in their order: comparing single values takes half as long as rows.
    ranked = sorted(view.candidates, key=_owner)
    ranked.sort(key=_used_at, reverse=True)
    ranked.sort(key=_in_activation, reverse=True)
    ranked.sort(key=_distance)
    nearest = ranked[: view.plan_limit]
    pins = granted([one for one in nearest if one.in_activation], view.pin_budget_tokens, view.weights)
    return Wanted(tuple(zip(map(_owner, nearest), map(_distance, nearest), strict=True)), pins)

"""What is worth least leaves first: value = chance of use within the horizon x cost to bring back / bytes.

Where everything is equally large and equally dear, that is the order of invocation distance, exactly. It differs where a
lot of room holds little, or what is dropped is copied back in a moment: then somebody who calls later may stay.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from heapq import nsmallest
from typing import NamedTuple

from ..model import AdapterName
from ..shares import granted
from ..wanted import View, Wanted


class _Cost(NamedTuple):
    """Seconds to bring memory back. Only their ratios count; these are of a 7B model on an H100."""

    overhead: float
    per_token: float


_RECOMPUTE = _Cost(4.5e-3, 4e-5)
"""A step reads the weights once (15.2 GB at 3.35 TB/s); a token takes 15 GFLOP at 400 TFLOP/s."""
_COPY = _Cost(1e-3, 0.9e-6)
"""A millisecond to set about it; 57,344 bytes a token over a link of 64 GB/s."""
_COPY_S_PER_BYTE = 1 / 64e9
"""Of an adapter, beside the same overhead."""

_FARTHEST = math.nextafter(math.inf, 0.0)


def plan(view: View) -> Wanted:
    candidates = view.candidates
    worths = _worths(view)
    # Among equals as in `nearest_first`: who is nearer, calls now, called last, and the name.
    places = [
        (worth, one.distance, not one.in_activation, -one.used_at, one.owner, number)
        for number, (worth, one) in enumerate(zip(worths, candidates, strict=True))
    ]
    nearest = [place[-1] for place in nsmallest(view.plan_limit, places)]
    active = [candidates[number] for number in nearest if candidates[number].in_activation]
    order = tuple((candidates[number].owner, worths[number]) for number in nearest)
    return Wanted(order, granted(active, view.pin_budget_tokens, view.weights))


def _worths(view: View) -> list[float]:
    """Of each candidate, as a distance: less is worth more. The value is proportional to 1 / (horizon + distance) of the
    dearest memory per byte that would be worth as much; so that the numbers remain in the range of the real distances,
    they are divided by how much dearer that one is than the usual.
    """
    waiting = sorted(one.distance for one in view.candidates if not one.in_activation)
    # By then half of those who wait will have called, and what is held now been replaced: a horizon that needs no
    # setting, and that means the same in a slow simulation and in a fast one.
    horizon = waiting[len(waiting) // 2] if waiting else 0.0
    densities = _densities(view)
    known = sorted(density for density in densities if density is not None)
    usual = known[len(known) // 2] if known else 1.0
    dearest = known[-1] if known else 1.0
    scale = dearest / usual
    worths = []
    for one, density in zip(view.candidates, densities, strict=True):
        if one.in_activation:
            worths.append(0.0)
            continue
        times = dearest / (usual if density is None else density)
        worth = (_certain(one.distance, one.spread, horizon) * times + horizon * (times - 1.0)) / scale
        worths.append(min(worth, _FARTHEST))
    return worths


def _certain(distance: float, spread: float, horizon: float) -> float:
    """The distance without spread at which a use within the horizon is as likely.

    The chance is horizon / (horizon + distance), that of a wait which ends at random, and the mean of both ends of the
    spread: who is near may come later than thought, and who is far sooner. It never grows with the distance; where
    rounding makes equal what is not, the distance decides.
    """
    later = horizon + distance + spread
    if spread <= 0.0 or horizon <= 0.0 or later == math.inf:
        return distance
    sooner = horizon + max(0.0, distance - spread)
    return max(0.0, 2.0 / (1.0 / sooner + 1.0 / later) - horizon)


def _densities(view: View) -> Sequence[float | None]:
    """Seconds to bring back for each byte that is held, or each token where nobody knows how many bytes one has; None
    where the size is not known. Of the prefix, and of the adapter where that takes room from the same budget."""
    token_bytes = view.bytes_per_token or 1
    adapter_bytes = (view.adapter_bytes or 0) if view.bytes_per_token else 0
    adapter_s = _COPY.overhead + _COPY_S_PER_BYTE * adapter_bytes
    owners: Counter[AdapterName] = Counter()
    if adapter_bytes:
        owners.update(one.adapter for one in view.candidates if one.adapter is not None)
    densities: list[float | None] = []
    for one in view.candidates:
        if one.size_tokens is None:
            densities.append(None)
            continue
        tokens = max(1, one.size_tokens)
        cost = _COPY if one.has_copy else _RECOMPUTE
        cost_s, room = cost.overhead + cost.per_token * tokens, float(tokens * token_bytes)
        if adapter_bytes and one.adapter is not None:
            # Shared ones are shared out: whoever leaves first does not take them along.
            share = owners[one.adapter]
            cost_s += adapter_s / share
            room += adapter_bytes / share
        densities.append(cost_s / room)
    return densities

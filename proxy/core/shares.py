"""Room on an engine, shared out among the simulations that ask for it: one that calls all its agents near takes no other's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from .model import Owner, SimulationId
from .wanted import Candidate

_PARTS = 1024
"""A weight is a whole number of these: a little more use is to change no order."""
_FARTHEST = math.nextafter(math.inf, 0.0)
_LEAST = 1 / 4
"""Of an equal part, at least so much for whoever asks: for one that is new, or paused."""

Order = Sequence[tuple[Owner, float]]
"""Nearest first."""


def weights_of(uses: Mapping[SimulationId, float]) -> dict[SimulationId, int]:
    """Of a share each, from 1 up: in proportion to the use that was made of the engines."""
    together, equal = sum(uses.values()), 1.0 / max(1, len(uses))
    return {
        simulation: max(1, round(_PARTS * max(use / together if together else equal, _LEAST * equal)))
        for simulation, use in uses.items()
    }


def shares(
    asked: Mapping[SimulationId, int], budget: int, weights: Mapping[SimulationId, int] | None = None
) -> dict[SimulationId, int]:
    """By weight, or equal ones where none are told; what a simulation does not ask for is shared out among the others.
    Whole units of whatever it is. Nobody gets less, of what it asks for, than its part of the whole budget."""
    weighing = dict.fromkeys(asked, 1) if weights is None else {one: weights.get(one, 1) for one in asked}
    left, weighs, given = budget, sum(weighing.values()), {}
    # Who asks for least, for its weight, leaves something to those after it. Weights are small: a float tells them apart.
    for simulation in sorted(asked, key=lambda one: (asked[one] / weighing[one], one)):
        given[simulation] = min(asked[simulation], left * weighing[simulation] // weighs)
        left -= given[simulation]
        weighs -= weighing[simulation]
    return given


def granted(
    asked: Sequence[Candidate], budget_tokens: int, weights: Mapping[SimulationId, int] | None = None
) -> tuple[Owner, ...]:
    """Whom of these to pin, in their order: within the budget, and those of a simulation within its share of it. What
    then is left, because nothing more fits into a share, is for whomever it is enough. Who has no known size is left out.

    Asking again for what was granted grants it. O(n) beside sorting the simulations.
    """
    sized = [(one.owner, one.simulation, one.size_tokens) for one in asked if one.size_tokens is not None]
    if sum([size for _, _, size in sized]) <= budget_tokens:
        return tuple(
            [owner for owner, _, _ in sized]
        )  # where there is enough for all, nobody's share is too small
    left = budget_tokens
    if len({simulation for _, simulation, _ in sized}) == 1:
        alone: list[Owner] = []
        for owner, _, size in sized:
            if size <= left:
                left -= size
                alone.append(owner)
        return tuple(alone)
    pinned: set[Owner] = set()
    wishes: dict[SimulationId, int] = {}
    for _, simulation, size in sized:
        wishes[simulation] = wishes.get(simulation, 0) + size
    rooms = shares(wishes, budget_tokens, weights)
    for owner, simulation, size in sized:
        if size <= rooms[simulation]:
            rooms[simulation] -= size
            left -= size
            pinned.add(owner)
    for owner, _, size in sized:
        if owner not in pinned and size <= left:
            left -= size
            pinned.add(owner)
    return tuple([owner for owner, _, _ in sized if owner in pinned])


def fair_order(
    order: Order,
    simulation_of: Callable[[Owner], SimulationId],
    size_of: Callable[[Owner], int | None],
    weights: Mapping[SimulationId, int],
    room_tokens: int,
) -> Order:
    """The order, or, where it is of more than there is room for and several simulations share that: of each the nearest
    up to its share stand in front, and behind them all the rest, told to be farther.

    What stands in front fits together. Whatever the others tell, there are in front, of each simulation, its nearest up to
    its part of the whole room. Its own memories stay in their order. Who has no known size counts as the mean of those
    that have. O(n), and nothing where there is one simulation.
    """
    if len(weights) < 2:
        return order
    told = [size_of(owner) for owner, _ in order]
    known = [size for size in told if size is not None]
    usual = sum(known) // len(known) if known else 1
    sizes = known if len(known) == len(told) else [usual if size is None else size for size in told]
    if sum(sizes) <= room_tokens:
        return order
    simulations = [simulation_of(owner) for owner, _ in order]
    wishes = dict.fromkeys(simulations, 0)
    for simulation, size in zip(simulations, sizes, strict=True):
        wishes[simulation] += size
    if len(wishes) < 2:
        return order
    rooms = shares(wishes, room_tokens, weights)
    within: list[tuple[Owner, float]] = []
    beyond: list[tuple[Owner, float]] = []
    for pair, simulation, size in zip(order, simulations, sizes, strict=True):
        # Once it is exceeded it stays so: something small and far does not go before something large and near.
        left = rooms[simulation] = rooms[simulation] - size
        (within if left >= 0 else beyond).append(pair)
    return (*within, *_behind(beyond, max((away for _, away in within), default=0.0)))


def _behind(order: Order, limit: float) -> Order:
    """The same order, everybody farther than `limit`: by no more than it takes, and equals stay equal."""
    moved: list[tuple[Owner, float]] = []
    before, now = -1.0, limit
    for owner, away in order:
        if away > before:
            before = away
            # Never infinity, which would be no place in an order.
            now = away if away > now else min(math.nextafter(now, math.inf), _FARTHEST)
        moved.append((owner, now))
    return moved

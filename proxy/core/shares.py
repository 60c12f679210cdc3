"""Room for pins, shared out among the simulations that ask for it: one that calls all its agents near takes no other's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .model import Owner, SimulationId
from .wanted import Candidate


def shares(asked: Mapping[SimulationId, int], budget: int) -> dict[SimulationId, int]:
    """Equal ones; what a simulation does not ask for is shared out among the others. Whole units of whatever it is."""
    left, given = budget, {}
    # Who asks for least leaves something to those after it.
    for number, (simulation, wish) in enumerate(sorted(asked.items(), key=lambda item: (item[1], item[0]))):
        given[simulation] = min(wish, left // (len(asked) - number))
        left -= given[simulation]
    return given


def granted(asked: Sequence[Candidate], budget_tokens: int) -> tuple[Owner, ...]:
    """Whom of these to pin, in their order: within the budget, and those of a simulation within its share of it. What
    then is left, because nothing more fits into a share, is for whomever it is enough. Who has no known size is left out.

    Asking again for what was granted grants it. O(n) beside sorting the simulations.
    """
    sized = [(one.owner, one.simulation, one.size_tokens) for one in asked if one.size_tokens is not None]
    wishes: dict[SimulationId, int] = {}
    for _, simulation, size in sized:
        wishes[simulation] = wishes.get(simulation, 0) + size
    rooms = shares(wishes, budget_tokens)
    left = budget_tokens
    pinned: set[Owner] = set()
    for owner, simulation, size in sized:
        if size <= rooms[simulation]:
            rooms[simulation] -= size
            left -= size
            pinned.add(owner)
    for owner, _, size in sized:
        if owner not in pinned and size <= left:
            left -= size
            pinned.add(owner)
    return tuple(owner for owner, _, _ in sized if owner in pinned)

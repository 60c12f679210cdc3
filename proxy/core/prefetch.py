"""Which memory is worth bringing to the device ahead of its calls: the paper's rule, a pure function.

It is asked for each pool of device memory: all kinds that live in one compete for its room. What it answers is the
full state: what it leaves out is not wanted (any more).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from .kinds import Way
from .model import MemoryId


@dataclass(frozen=True, slots=True)
class Want:
    """Memory that is not usable on the device now and has an owner that will call."""

    memory: MemoryId
    distance: float
    """Of its nearest owner; finite, >= 0, comparable with all others of the engine."""
    size_bytes: int
    """The room that it still needs: what a load would move."""
    way: Way
    deadline: float
    """The `at` from which on loading it ahead is of no use any more; may be inf."""


class Resident(NamedTuple):
    """Memory that holds room on the device."""

    memory: MemoryId
    distance: float
    """Of its nearest owner; inf if no owner is known or expected to call."""
    size_bytes: int
    active: bool
    """A call runs on it, or an owner is in an activation: it is never given up for another."""


Threshold = float | Callable[[Want], float]
"""Only what is nearer than that is loaded ahead. A function may say it for each simulation's own clock."""


def choose(
    offloaded: Sequence[Want], residents: Sequence[Resident], free_bytes: int, threshold: Threshold
) -> list[Want]:
    """What to load into one pool, nearest first: what is nearer than the threshold, as far as there is free room or
    there are inactive residents strictly farther, each of which makes room once.

    Memory in flight belongs into `offloaded` as well, or its load would not be wanted any more. If its room is taken
    from `free_bytes` already, its `size_bytes` is 0.
    """
    near = [
        want for want in offloaded if want.distance < (threshold(want) if callable(threshold) else threshold)
    ]
    leaving = sorted(
        (-resident.distance, resident.memory, resident.size_bytes)
        for resident in _nearest_residents(residents)
        if not resident.active
    )
    place = {memory: number for number, (_, memory, _) in enumerate(leaving)}
    # Sums, so that a plan costs no more than sorting: wants x residents would hold the event loop.
    farness = [away for away, _, _ in leaving]
    room = [0, *accumulate(size for _, _, size in leaving)]
    spare, gone = max(0, free_bytes), 0
    chosen: list[Want] = []
    for want in _nearest_of_each(near):
        if place.get(want.memory, gone) < gone:
            continue  # the part of it that was on the device makes room for something nearer: it has to go, not come
        farther = bisect_left(farness, -want.distance)
        if want.size_bytes > spare + max(0, room[farther] - room[gone]):
            continue
        if want.size_bytes > spare:
            then = bisect_left(room, want.size_bytes - spare + room[gone], gone)
            spare += room[then] - room[gone]
            gone = then
        spare -= want.size_bytes
        chosen.append(want)
    return chosen


def _nearest_of_each(wants: Iterable[Want]) -> list[Want]:
    """Nearest first; of several about one memory the nearest."""
    each: dict[MemoryId, Want] = {}
    for want in sorted(wants, key=lambda want: (want.distance, want.deadline, want.memory)):
        each.setdefault(want.memory, want)
    return list(each.values())


def _nearest_residents(residents: Iterable[Resident]) -> Iterable[Resident]:
    """Of several about one memory the nearest; active if one is."""
    each: dict[MemoryId, Resident] = {}
    for resident in residents:
        other = each.setdefault(resident.memory, resident)
        if other is not resident:
            each[resident.memory] = Resident(
                resident.memory,
                min(resident.distance, other.distance),
                max(resident.size_bytes, other.size_bytes),
                resident.active or other.active,
            )
    return each.values()

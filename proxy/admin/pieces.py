"""Large things are told to the core in small pieces, with a turn for everybody else between any two."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator
from http import HTTPStatus
from itertools import islice
from typing import TypeVar

from scalesim.proxy.core.events import Event, Idled
from scalesim.proxy.core.model import SimulationId

from .desk import Desk
from .problems import Problem

T = TypeVar("T")
PIECE = 200
"""Agents or edges in one event: each may make an agent known, and all of it is to take less than a millisecond."""
NAMES = 1_000
"""Names that are looked up at once."""


def pieces(things: Iterable[T], size: int = PIECE) -> Iterator[list[T]]:
    """All of them in their order, `size` at a time."""
    left = iter(things)
    while piece := list(islice(left, size)):
        yield piece


async def posted(desk: Desk, simulation: SimulationId, events: Iterable[Event]) -> None:
    """Raises `Problem` if the simulation ends meanwhile: an event would bring it back."""
    for event in events:
        if not desk.controller.knows(simulation):
            raise Problem(
                HTTPStatus.NOT_FOUND,
                f"the simulation {simulation!r} was ended meanwhile",
                simulation=simulation,
            )
        desk.runtime.post(event)
        await asyncio.sleep(0)


async def all_known(desk: Desk, simulation: SimulationId, agents: Collection[str], *, create: bool) -> None:
    """As `Desk.check_known`."""
    desk.check_known(simulation, (), create=create)
    for names in () if create else pieces(agents, NAMES):
        desk.check_known(simulation, names, create=False)
        await asyncio.sleep(0)


async def all_taken(desk: Desk, simulation: SimulationId, agents: Collection[str]) -> None:
    """As `Desk.check_taken`."""
    for names in pieces(agents, NAMES):
        desk.check_taken(simulation, names)
        await asyncio.sleep(0)


async def caught_up(desk: Desk) -> None:
    """Works out what follows from what was told. The planner's ticks would do it too, a piece each."""
    while desk.controller.behind:
        desk.runtime.post(Idled(desk.clock()))
        await asyncio.sleep(0)

"""Large things are told to the core in small pieces, with a turn for everybody else between any two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from http import HTTPStatus
from itertools import islice
from typing import TypeVar

from scalesim.proxy.core.events import Event
from scalesim.proxy.core.model import SimulationId

from .desk import Desk
from .problem_types import ProblemType
from .problems import Problem

T = TypeVar("T")
PIECE = 50
"""Agents or edges in one event: each may make an agent known, and all of it is to take less than a millisecond."""
NAMES = 1_000
"""Names that are looked up at once."""


def pieces(things: Iterable[T], size: int = PIECE) -> Iterator[list[T]]:
    """All of them in their order, `size` at a time."""
    left = iter(things)
    while piece := list(islice(left, size)):
        yield piece


async def in_turns(things: Iterable[T], size: int = NAMES) -> AsyncIterator[list[T]]:
    """As `pieces`, with a turn for everybody else after each."""
    for piece in pieces(things, size):
        yield piece
        await asyncio.sleep(0)


async def posted(desk: Desk, simulation: SimulationId, events: Iterable[Event], together: int = 1) -> None:
    """With a turn for everybody else after so many. Raises `Problem` if the simulation ends meanwhile, even if one of its name has begun anew: the rest is not meant for
    that, and of an unknown one it would bring it back."""
    known = desk.controller.identity(simulation)
    async for piece in in_turns(events, together):
        if known is None or desk.controller.identity(simulation) is not known:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"the simulation {simulation!r} was ended meanwhile",
                ProblemType.ENDED_MEANWHILE,
                simulation=simulation,
            )
        for event in piece:
            desk.post(event)


async def all_known(desk: Desk, simulation: SimulationId, agents: Iterable[str], *, create: bool) -> None:
    """As `Desk.check_known`."""
    desk.check_known(simulation, (), create=create)
    if not create:
        async for names in in_turns(agents):
            desk.check_known(simulation, names, create=False)


async def all_taken(desk: Desk, simulation: SimulationId, agents: Iterable[str] = ()) -> None:
    """As `Desk.check_taken`."""
    desk.check_taken(simulation)
    async for names in in_turns(agents):
        desk.check_taken(simulation, names)

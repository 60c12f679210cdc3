"""A graph on its way in: checked edge by edge, and held in little room until all of it is known to be good."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import cast

from pydantic import TypeAdapter, ValidationError

from scalesim.proxy.core.model import AgentName

from .bodies import Name
from .incoming import lines
from .problems import Problem

LINE_LIMIT = 8_192
"""Bytes. Two names of 256 characters are shorter, however they are written."""
_TURN = 200
"""Lines that are read in less than a millisecond."""
_EDGE: TypeAdapter[tuple[str, str]] = TypeAdapter(tuple[Name, Name])


class Edges:
    """Each name once, and two numbers an edge. Raises `Problem` for more of either than there can be room for."""

    def __init__(self, limit: int, agent_limit: int) -> None:
        self.names: dict[str, int] = {}
        self._limit = limit
        self._agent_limit = agent_limit
        self._ends = array("I")

    def __len__(self) -> int:
        return len(self._ends) // 2

    def __iter__(self) -> Iterator[tuple[AgentName, AgentName]]:
        names = cast(list[AgentName], list(self.names))
        ends = iter(self._ends)
        for one, other in zip(ends, ends, strict=True):
            yield names[one], names[other]

    def add(self, edge: tuple[str, str]) -> None:
        if len(self) >= self._limit:
            raise _too_many("edges", self._limit)
        for name in edge:
            self._ends.append(self.names.setdefault(name, len(self.names)))
        if len(self.names) > self._agent_limit:
            raise _too_many("agents", self._agent_limit)

    async def read(self, chunks: AsyncIterator[bytes]) -> None:
        """Of lines like `["Ann", "Bob"]`; empty ones are skipped. Raises `Problem` that names the first bad line."""
        read = 0
        async for number, line in lines(chunks, LINE_LIMIT):
            try:
                self.add(_EDGE.validate_json(line))
            except ValidationError as exc:
                raise _bad_line(number, exc.errors()[0]["msg"]) from exc
            read += 1
            if read % _TURN == 0:
                await asyncio.sleep(0)


def _too_many(things: str, limit: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"there is room for {limit} {things} and no more; nothing was changed",
        limit=limit,
    )


def _bad_line(number: int, says: str) -> Problem:
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, f"line {number}: {says}; nothing was changed", line=number
    )

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
from .problems import Problem

LINE_LIMIT = 8_192
"""Bytes. Two names of 256 characters are shorter, however they are written."""
_TURN = 200
"""Lines that are read in less than a millisecond."""
_EDGE: TypeAdapter[tuple[str, str]] = TypeAdapter(tuple[Name, Name])


class Edges:
    """Each name once, and two numbers an edge. Raises `Problem` for more than `limit` edges."""

    def __init__(self, limit: int) -> None:
        self.names: dict[str, int] = {}
        self._limit = limit
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
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"there is room for {self._limit} edges and no more; nothing was changed",
                limit=self._limit,
            )
        for name in edge:
            self._ends.append(self.names.setdefault(name, len(self.names)))

    async def read(self, chunks: AsyncIterator[bytes]) -> None:
        """Of lines like `["Ann", "Bob"]`; empty ones are skipped. Raises `Problem` that names the first bad line."""
        number, rest = 0, b""
        async for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LINE_LIMIT:
                raise _bad_line(number + len(lines) + 1, f"it is longer than {LINE_LIMIT} bytes")
            for line in lines:
                number += 1
                self._add_line(number, line)
                if number % _TURN == 0:
                    await asyncio.sleep(0)
        self._add_line(number + 1, rest)

    def _add_line(self, number: int, line: bytes) -> None:
        if not line.strip():
            return
        if len(line) > LINE_LIMIT:
            raise _bad_line(number, f"it is longer than {LINE_LIMIT} bytes")
        try:
            self.add(_EDGE.validate_json(line))
        except ValidationError as exc:
            raise _bad_line(number, exc.errors()[0]["msg"]) from exc


def _bad_line(number: int, says: str) -> Problem:
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, f"line {number}: {says}; nothing was changed", line=number
    )

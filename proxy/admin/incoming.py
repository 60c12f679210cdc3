"""Bodies that tell of many agents, as JSON or as lines of it: checked as they come, with turns for everybody else in
between. Nothing is taken before all of it is known to be good."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import Request
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from .bodies import Bulk
from .cutting import PIECE, cut
from .gate import BODY_LIMIT, LINES, is_lines
from .problems import Problem, invalid

B = TypeVar("B", bound=Bulk)
READ_S = 60.0
"""For a body to come in: who stops in the middle of one must not keep others from sending theirs."""
LIMIT = 200_000
"""Entries of a body."""
_OVERHEAD = 100
"""A line costs as much as it would with so many bytes more."""


@asynccontextmanager
async def received(request: Request, uploads: asyncio.Semaphore) -> AsyncIterator[None]:
    """Around the reading of a body. Of lines, which may be many, only so many bodies are read at a time. Raises `Problem`
    if the body breaks off, or takes too long."""
    turn: AbstractAsyncContextManager[None] = uploads if is_lines(request) else nullcontext()
    try:
        async with turn, asyncio.timeout(READ_S):
            yield
    except ClientDisconnect as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, "the body broke off; nothing was changed") from exc
    except TimeoutError as exc:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            f"the body did not come in within {READ_S:g} s; nothing was changed",
        ) from exc


async def whole(request: Request, kind: type[B], uploads: asyncio.Semaphore) -> B:
    """What the body of a request tells, in all of its lines if it has several. Raises `Problem`."""
    async with received(request, uploads):
        return await _joined(request, kind)


def of_many(kind: type[Bulk], line: str = "Such a body a line.", example: str = "") -> dict[str, Any]:
    """What the route's description says of its body."""
    schema = _inlined(kind.model_json_schema())
    shown = schema.pop("example")
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": schema, "example": shown},
                LINES: {
                    "schema": {"type": "string", "description": line},
                    "example": example or f"{json.dumps(shown)}\n",
                },
            },
        }
    }


async def lines(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[tuple[int, bytes]]:
    """By their numbers, from 1 on, without those that are empty. Raises `Problem` for one of more than `limit` bytes, and
    does not hold it."""
    number, rest, size = 1, list[bytes](), 0
    async for chunk in chunks:
        first, *others = chunk.split(b"\n")
        rest.append(first)
        size += len(first)
        for other in others:
            if size > limit:
                break
            line = b"".join(rest)
            if line.strip():
                yield number, line
            number, rest, size = number + 1, [other], len(other)
        if size > limit:
            raise _bad(f"line {number}: it is longer than {limit} bytes")
    line = b"".join(rest)
    if line.strip():
        yield number, line


async def _joined(request: Request, kind: type[B]) -> B:
    body: B | None = None
    entries = work = 0
    async for place, text in _texts(request):
        try:
            for piece in cut(text):
                if piece is None:
                    await asyncio.sleep(0)
                    continue
                where = f"{place}near byte {piece.offset}: " if piece.offset else place
                part = _checked(kind, piece.text, where)
                entries += part.entries()
                if entries > LIMIT:
                    raise Problem(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"there are more than {LIMIT} entries; send them in several calls; nothing was changed",
                        limit=LIMIT,
                    )
                if body is None:
                    body = part
                elif other := body.add(part):
                    raise _bad(f"{where}{other} is not what it is in the first line")
                work += len(piece.text) + _OVERHEAD
                if work > PIECE:
                    work = 0
                    await asyncio.sleep(0)
        except ValueError as exc:
            raise _bad(f"{place or 'body: '}{exc}") from exc
    if body is None:
        raise _bad("body: it is empty")
    return body


async def _texts(request: Request) -> AsyncIterator[tuple[str, bytes]]:
    """With where they stand, for people."""
    if is_lines(request):
        async for number, line in lines(request.stream(), BODY_LIMIT):
            yield f"line {number}: ", line
    elif body := await request.body():
        yield "", body


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Without references: they would lead out of what the route says."""
    known = schema.pop("$defs", {})

    def inlined(part: Any) -> Any:
        match part:
            case {"$ref": str(name), **rest}:
                return {**inlined(known[name.rpartition("/")[2]]), **rest}
            case dict():
                return {key: inlined(value) for key, value in part.items()}
            case list():
                return [inlined(one) for one in part]
        return part

    found: dict[str, Any] = inlined(schema)
    return found


def _checked(kind: type[B], text: bytes, where: str) -> B:
    try:
        return kind.model_validate_json(text)
    except ValidationError as exc:
        raise invalid(exc.errors(include_url=False), where) from exc


def _bad(says: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{says}; nothing was changed")

"""Refusals as RFC 9457 `application/problem+json`: what is wrong, and where."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from .problem_types import ProblemType

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "What is wrong. Nothing was changed.",
        "content": {
            MEDIA_TYPE: {
                "example": {
                    "type": "/admin/v1/problems/unknown-agent",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "not known in the simulation 'town': 'Bob'; nothing was changed",
                }
            }
        },
    }
}
SHOWN = 20
"""Of a long list of wrong things, as many are named."""


Refusals = Mapping[type[Exception], HTTPStatus]
"""By what is raised. Whatever another one is a kind of stands behind it."""


class Problem(Exception):
    """The client gets `status` with `detail` and `more`. With a 4xx it is raised before anything is changed."""

    def __init__(
        self, status: HTTPStatus, detail: str, type_: ProblemType | None = None, **more: object
    ) -> None:
        """`type_` is left out where the status says it all."""
        super().__init__(detail)
        self.type = type_
        self.status = status
        self.detail = detail
        self.more = more


def problem(
    status: int,
    detail: str,
    more: Mapping[str, object] | None = None,
    type_: ProblemType | None = None,
) -> Response:
    body = {
        "type": "about:blank" if type_ is None else type_.uri,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **(more or {}),
    }
    return Response(orjson.dumps(body), status, media_type=MEDIA_TYPE)


def invalid(errors: Sequence[Any], where: str = "") -> Problem:
    """Of errors as pydantic tells them. A bad body may have thousands: only the first of them are looked at."""
    shown = [_one(error) for error in errors[:SHOWN]]
    detail = where + "; ".join(f"{one['at']}: {one['says']}" for one in shown)
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, ProblemType.INVALID, errors=shown)


@contextmanager
def refused(by: Refusals, says: str = "{}; nothing was changed") -> Iterator[None]:
    """What is raised of these becomes a problem, with the status of the first that fits."""
    try:
        yield
    except tuple(by) as exc:
        status = next(status for kind, status in by.items() if isinstance(exc, kind))
        raise Problem(status, says.format(exc)) from exc


def some(names: Sequence[str]) -> str:
    """A list for people: it names the first of them and counts the others."""
    shown = ", ".join(repr(name) for name in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"


def install(app: FastAPI) -> None:
    """All errors of `app` become problems, its own as well as those of the framework."""

    @app.exception_handler(Problem)
    async def own(_: Request, exc: Problem) -> Response:
        return problem(exc.status, exc.detail, exc.more, exc.type)

    @app.exception_handler(HTTPException)
    async def of_the_framework(_: Request, exc: HTTPException) -> Response:
        answer = problem(exc.status_code, str(exc.detail))
        answer.headers.update(exc.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def bad_request(request: Request, exc: RequestValidationError) -> Response:
        return await own(request, invalid(exc.errors()))

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, _: Exception) -> Response:
        # The server logs the traceback; the client learns nothing of our insides.
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, f"{request.url.path} failed; the log of the proxy says why"
        )


def _one(error: Mapping[str, Any]) -> dict[str, str]:
    """Where and what, with the refused value as text: NaN and its like cannot be written in JSON."""
    place = [str(part) for part in error["loc"] if part not in ("body", "path", "query", "header")]
    says = str(error["msg"]).removeprefix("Value error, ")
    value = error.get("input")
    if isinstance(value, str | int | float | None) and error["type"] != "missing":
        says += f" (got {_short(value)})"
    return {"at": ".".join(place) or "body", "says": says}


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return "a huge number"
    return text if len(text) <= 80 else text[:77] + "..."

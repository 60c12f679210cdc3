"""Who may talk to the admin listener, and how much: keys and the size of bodies, before any route sees a request."""

from __future__ import annotations

import hmac
import math
import re
from collections.abc import Sequence
from http import HTTPStatus

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scalesim.proxy.settings import is_loopback

from .problems import Problem, problem

BODY_LIMIT = 1_000_000
"""Bytes: the distances of some 40,000 agents. More are sent in parts."""
STREAM_LIMIT = 64_000_000
"""Bytes of a graph that is sent as lines: a million edges. It is read as it comes and never held as a whole."""
_STREAMED = re.compile(r"/admin/v1/simulations/[^/]+/graph")
OPEN_PATHS = frozenset({"/health", "/ready", "/docs", "/openapi.json"})
"""Asked by those who have no key to give: orchestrators and browsers. They say nothing about simulations."""
_TOO_LONG = f"the body is longer than {STREAM_LIMIT} bytes; nothing was changed"
_HOST = re.compile(r"(?:\[([^\]]*)\]|([^:]*))(?::\d*)?")


class Gate:
    """ASGI in front of the app. Without keys all who call us by a name of loopback pass: settings allow to have none on
    loopback only."""

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self._app = app
        self._keys = [key.encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if self._keys and scope["path"] not in OPEN_PATHS and not self._opens(headers):
            refusal = problem(
                HTTPStatus.UNAUTHORIZED, "a key is needed: Authorization: Bearer KEY, or X-Admin-Key: KEY"
            )
            refusal.headers["www-authenticate"] = "Bearer"
            await refusal(scope, receive, send)
            return
        if not self._keys and not _names_loopback(headers):
            await problem(
                HTTPStatus.FORBIDDEN,
                "without admin keys only requests to localhost, 127.0.0.1 or [::1] are answered; "
                "the Host header names another host",
            )(scope, receive, send)
            return
        if _is_from_another_page(headers):
            await problem(HTTPStatus.FORBIDDEN, "a page of another origin may not use the admin API")(
                scope, receive, send
            )
            return
        if _is_streamed(scope, headers):
            if _announced(headers) > STREAM_LIMIT:
                await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LONG)(scope, receive, send)
                return
            await self._app(scope, _counted(receive), send)
            return
        try:
            body = await _whole_body(headers, receive)
        except ClientDisconnect:
            return
        if body and not headers.get(b"content-type", b"").lower().startswith(b"application/json"):
            await problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON, with Content-Type: application/json"
            )(scope, receive, send)
            return
        if body is None:
            await problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body is larger than {BODY_LIMIT} bytes; send it in parts",
            )(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    def _opens(self, headers: dict[bytes, bytes]) -> bool:
        scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        offered = bearer.strip() if scheme.lower() == b"bearer" else headers.get(b"x-admin-key", b"")
        return any([hmac.compare_digest(offered, key) for key in self._keys])  # noqa: C419  all, in constant time


def _names_loopback(headers: dict[bytes, bytes]) -> bool:
    """A page's own name may be made to point here (DNS rebinding); its browser then takes us for the page's origin, and
    only the name gives it away."""
    host = _HOST.fullmatch(headers.get(b"host", b"").decode("latin-1").lower())
    return host is not None and is_loopback(host[1] or host[2] or "")


def _is_from_another_page(headers: dict[bytes, bytes]) -> bool:
    """A web page that somebody on this machine looks at can reach loopback too; browsers then name its origin."""
    origin = headers.get(b"origin")
    return origin is not None and origin.partition(b"://")[2] != headers.get(b"host", b"")


def _is_streamed(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    lines = headers.get(b"content-type", b"").lower().startswith(b"application/x-ndjson")
    return lines and scope["method"] == "PUT" and _STREAMED.fullmatch(scope["path"]) is not None


def _counted(receive: Receive) -> Receive:
    """Raises `Problem`, to whoever reads the body, once it is longer than announced bodies may be."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > STREAM_LIMIT:
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LONG)
        return message

    return counted


def _announced(headers: dict[bytes, bytes]) -> float:
    """The length of the body; 0 if it is not told, infinite if it is no number."""
    announced = headers.get(b"content-length", b"0")
    return int(announced) if announced.isdigit() else math.inf


async def _whole_body(headers: dict[bytes, bytes], receive: Receive) -> bytes | None:
    """None: too large. What is announced too large is not read at all."""
    if _announced(headers) > BODY_LIMIT:
        return None
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > BODY_LIMIT:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def replayed() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed

"""Who may talk to the admin listener, and how much: keys and the size of bodies, before any route sees a request."""

from __future__ import annotations

import math
import re
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scalesim.proxy.access.keyring import Keyring
from scalesim.proxy.access.keys import Key, Keys
from scalesim.proxy.settings import is_loopback

from .problems import Problem, problem

SMALL_LIMIT = 32_768
"""Bytes of what tells of one thing. It is parsed in one go, in a millisecond at the most."""
TEXT_LIMIT = 200_000
"""Bytes of what holds a recipe or a config file: as JSON they may be twice as long as they are."""
BODY_LIMIT = 1_000_000
"""Bytes of JSON that tells of many agents: the distances of some 40,000. It is held as a whole, and parsed in pieces."""
STREAM_LIMIT = 64_000_000
"""Bytes of the same as lines: a graph of a million edges. They are read as they come and never held as a whole."""
LINES = "application/x-ndjson"
_OF_MANY = re.compile(
    r"/v1/update|/admin/v1/simulations/[^/]+/"
    r"(?:distances|actions|positions|interactions|graph|activations|adapters)"
)
_OF_TEXTS = re.compile(r"/admin/v1/(?:recipes/[^/]+|configuration/validate)")
WHO = "scalesim.operator"
"""Where the scope holds the name of the key that was sent; nothing is there if none was needed."""
OPEN_PATHS = frozenset({"/health", "/healthz", "/ready", "/readyz", "/docs", "/openapi.json"})
"""Asked by those who have no key to give: orchestrators and browsers. They say nothing about simulations."""
_HOST = re.compile(r"(?:\[([^\]]*)\]|([^:]*))(?::\d*)?")


class Gate:
    """ASGI in front of the app. Without keys all who call us by a name of loopback pass: settings allow to have none on
    loopback only."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        self._app = app
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if sum(name == b"content-type" for name, _ in scope["headers"]) > 1:
            # Whoever looks next might go by another of them.
            await problem(HTTPStatus.BAD_REQUEST, "there are several Content-Type headers")(
                scope, receive, send
            )
            return
        keys = self._keyring.admins
        key = _key(keys, headers)
        if key is not None:
            scope[WHO] = key.name
        if len(keys) and key is None and scope["path"] not in OPEN_PATHS:
            refusal = problem(
                HTTPStatus.UNAUTHORIZED, "a key is needed: Authorization: Bearer KEY, or X-Admin-Key: KEY"
            )
            refusal.headers["www-authenticate"] = "Bearer"
            await refusal(scope, receive, send)
            return
        if not len(keys) and not _names_loopback(headers):
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
        if _OF_MANY.fullmatch(scope["path"]):
            await self._pass_of_many(headers, scope, receive, send)
            return
        limit = TEXT_LIMIT if _OF_TEXTS.fullmatch(scope["path"]) else SMALL_LIMIT
        try:
            body = await _whole_body(headers, receive, limit)
        except ClientDisconnect:
            return
        if body and not _media_type(headers).startswith("application/json"):
            await problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON, with Content-Type: application/json"
            )(scope, receive, send)
            return
        if body is None:
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_long(limit))(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _pass_of_many(
        self, headers: dict[bytes, bytes], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Who takes the body reads it: in pieces."""
        size, media_type = _announced(headers), _media_type(headers)
        is_told = size > 0 or b"transfer-encoding" in headers
        if is_told and not media_type.startswith(("application/json", LINES)):
            says = (
                f"send JSON, with Content-Type: application/json, or lines of it, with Content-Type: {LINES}"
            )
            await problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, says)(scope, receive, send)
            return
        limit = STREAM_LIMIT if media_type.startswith(LINES) else BODY_LIMIT
        if size > limit:
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_long(limit))(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit), send)


def _key(keys: Keys, headers: dict[bytes, bytes]) -> Key | None:
    scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
    offered = bearer.strip() if scheme.lower() == b"bearer" else headers.get(b"x-admin-key", b"")
    return keys.find(offered.decode("latin-1")) if offered and len(keys) else None


def _names_loopback(headers: dict[bytes, bytes]) -> bool:
    """A page's own name may be made to point here (DNS rebinding); its browser then takes us for the page's origin, and
    only the name gives it away."""
    host = _HOST.fullmatch(headers.get(b"host", b"").decode("latin-1").lower())
    return host is not None and is_loopback(host[1] or host[2] or "")


def _is_from_another_page(headers: dict[bytes, bytes]) -> bool:
    """A web page that somebody on this machine looks at can reach loopback too; browsers then name its origin."""
    origin = headers.get(b"origin")
    return origin is not None and origin.partition(b"://")[2] != headers.get(b"host", b"")


def is_lines(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith(LINES)


def _media_type(headers: dict[bytes, bytes]) -> str:
    return headers.get(b"content-type", b"").decode("latin-1").lower()


def _too_long(limit: int) -> str:
    parts = f"; send it in parts, or as lines, with Content-Type: {LINES}" if limit == BODY_LIMIT else ""
    return f"the body is longer than {limit} bytes{parts}; nothing was changed"


def _counted(receive: Receive, limit: int) -> Receive:
    """Raises `Problem`, to whoever reads the body, once it is longer than that."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_long(limit))
        return message

    return counted


def _announced(headers: dict[bytes, bytes]) -> float:
    """The length of the body; 0 if it is not told, infinite if it is no number."""
    announced = headers.get(b"content-length", b"0")
    return int(announced) if announced.isdigit() else math.inf


async def _whole_body(headers: dict[bytes, bytes], receive: Receive, limit: int) -> bytes | None:
    """None: too large. What is announced too large is not read at all."""
    if _announced(headers) > limit:
        return None
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
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

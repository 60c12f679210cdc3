"""A request as the client sent it, taken in: read once, and parsed once."""

from __future__ import annotations

import posixpath
import string
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote

from scalesim.proxy.access.keys import Key

from ..errors import CallRefused
from .asgi import Receive, Scope, read_body
from .body import parsed_object
from .entrance import KEY
from .headers import Headers, shown
from .identity import address_of

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"

GENERATION_ROUTES = frozenset({CHAT, "/v1/completions", RESPONSES, "/v1/embeddings", "/generate"})
"""POST to one of these is a call of the core's words. Everything else passes through unseen."""

_CONTROL_ROUTES = "scalesim"
"""The first segment of the routes by which engines are commanded: those are the adapter's alone."""

_PRINTABLE = string.ascii_letters + string.digits + string.punctuation


class _ControlRouteRefused(CallRefused):
    status = 403
    kind = "permission_error"


class Request(NamedTuple):
    """A tuple, as one is made of each: a frozen dataclass takes four times as long."""

    method: str
    raw_path: str
    """As the client sent it, percent-encoded."""
    path: str
    """The engine's."""
    query: str
    headers: Headers
    body: bytes
    parsed: Mapping[str, object] | None
    """The body, if it is a JSON object."""
    key: Key | None
    is_call: bool
    came_at: float = 0.0
    """When its body was there whole."""

    @property
    def target(self) -> str:
        """The engine's."""
        return f"{self.path}?{self.query}" if self.query else self.path


async def accepted(
    scope: Scope, receive: Receive, max_body_bytes: int, clock: Callable[[], float]
) -> Request:
    """Raises `CallRefused` and `ClientGone`."""
    headers: Headers = list(scope["headers"])
    raw_path = _ascii(scope.get("raw_path") or scope["path"].encode())
    path = address_of(raw_path).path
    if path not in GENERATION_ROUTES and _is_control_route(path):
        raise _ControlRouteRefused(
            f"{shown(path)}: the engine's control routes (/{_CONTROL_ROUTES}/...) are not served here"
        )
    method = scope["method"]
    query = _ascii(scope["query_string"])
    body = await read_body(headers, receive, max_body_bytes)
    came_at = clock()
    parsed = parsed_object(headers, body) if method == "POST" else None
    is_call = method == "POST" and path in GENERATION_ROUTES
    return Request(method, raw_path, path, query, headers, body, parsed, scope.get(KEY), is_call, came_at)


def _is_control_route(path: str) -> bool:
    """Percent-decoded once, as engines do. Of slashes and dots they make nothing, but something before them may."""
    return posixpath.normpath(unquote(path)).lstrip("/").partition("/")[0] == _CONTROL_ROUTES


def _ascii(raw: bytes) -> str:
    """As it is, but for bytes that no URL may hold."""
    return raw.decode("ascii") if raw.isascii() else quote(raw, safe=_PRINTABLE)

"""The ASGI app in front of the relay: who has no key, calls too often, or is a web page of somebody else goes no further.

It looks at the head of a request alone, before any of the body is read.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from scalesim.proxy.access.keys import Keys
from scalesim.proxy.access.rates import Rate, Rates, origin_of

from ..errors import ScaleSimError
from .asgi import Receive, Scope, Send, answer_error
from .headers import Headers, bearer_of, shown, text_of

KEY = "scalesim.key"
"""Where the scope holds the `Key` that was sent; nothing is there if it is none of ours."""
_API_KEY = b"x-api-key"
_AUTHORIZATION = b"authorization"
_LOOKED_AT = frozenset({_AUTHORIZATION, _API_KEY, b"origin", b"host"})
_OPEN = frozenset({"/health"})
"""Asked by orchestrators, which have no key to give. The engine answers it without one too, and tells nothing."""

_ENDING_S = 2
"""By then whoever takes our place has started, or who spreads requests has noticed."""

_log = logging.getLogger(__name__)


class _Refused(ScaleSimError):
    def __init__(self, status: int, kind: str, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.headers = headers


class _Head(NamedTuple):
    key: str = ""
    origin: bytes | None = None
    host: bytes = b""


class Entrance:
    """`closed`: only who sends one of the `keys` is let in; the engine then never sees it, but `engine_key` in its place.
    Otherwise they say simulations only, and whatever key was sent is for the engine to judge."""

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        *,
        keys: Keys,
        closed: bool,
        clock: Callable[[], float],
        engine_key: str | None = None,
        key_rate: Rate | None = None,
        address_rate: Rate | None = None,
    ) -> None:
        self._app = app
        self._keys = keys
        self._closed = closed
        self._clock = clock
        self.is_closed = False
        self._engine_key = None if engine_key is None else f"Bearer {engine_key}".encode()
        self._of_keys: Rates[bytes] | None = None if key_rate is None else Rates(key_rate)
        self._of_addresses: Rates[str] | None = None if address_rate is None else Rates(address_rate)

    def let_in(self, keys: Keys, *, closed: bool) -> None:
        """As when it was made, from the next request on."""
        self._keys, self._closed = keys, closed

    def limit(self, *, key_rate: Rate | None, address_rate: Rate | None) -> None:
        """From the next request on; all begin with a full bucket."""
        self._of_keys = None if key_rate is None else Rates(key_rate)
        self._of_addresses = None if address_rate is None else Rates(address_rate)

    def sizes(self) -> dict[str, int]:
        """How much is held right now."""
        return {
            "client_keys": len(self._keys),
            "rates_of_keys": len(self._of_keys or ()),
            "rates_of_addresses": len(self._of_addresses or ()),
        }

    def close(self) -> None:
        """The proxy is about to end: new requests are sent elsewhere, those that are in go on."""
        self.is_closed = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._admit(scope)
            except _Refused as exc:
                # What is left of the body is not read: the connection is of no more use.
                await answer_error(
                    send, exc.status, exc.kind, str(exc), (b"connection", b"close"), *exc.headers
                )
                return
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        """Raises `_Refused`. Addresses come first, so that trying keys is bounded too."""
        if self.is_closed:
            message = f"the proxy is about to end; try again in {_ENDING_S} s, or at another one"
            raise _Refused(503, "draining", message, (b"retry-after", b"%d" % _ENDING_S))
        client = scope.get("client")
        if self._of_addresses is not None and client is not None:
            _wait(self._of_addresses.take(origin_of(client[0]), self._clock()), "from this address")
        head = _head_of(scope["headers"])
        if head.origin is not None and head.origin.partition(b"://")[2] != head.host:
            message = f"a page of another origin ({shown(text_of(head.origin))}) may not use the proxy"
            raise _Refused(403, "permission_error", message)
        key = self._keys.find(head.key) if head.key and len(self._keys) else None
        if key is not None:
            scope[KEY] = key
            if self._of_keys is not None:
                _wait(self._of_keys.take(key.digest, self._clock()), f"with the key {key.name!r}")
        if not self._closed:
            return
        if key is None and not (scope["path"] in _OPEN and scope["method"] in ("GET", "HEAD")):
            _log.info("a request of %s without a key of ours was refused", client[0] if client else "?")
            message = (
                "the API key is not known here"
                if head.key
                else "an API key is needed: Authorization: Bearer KEY"
            )
            raise _Refused(401, "authentication_error", message, (b"www-authenticate", b"Bearer"))
        scope["headers"] = self._for_the_engine(scope["headers"])

    def _for_the_engine(self, headers: Headers) -> Headers:
        kept = [(name, value) for name, value in headers if name not in (_AUTHORIZATION, _API_KEY)]
        return kept if self._engine_key is None else [*kept, (_AUTHORIZATION, self._engine_key)]


def _head_of(headers: Headers) -> _Head:
    """Raises `_Refused` for what must not be there twice: whoever looks next might go by another of them."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _LOOKED_AT and found.setdefault(name, value) != value:
            message = f"there are several {name.decode().title()} headers"
            raise _Refused(400, "invalid_request_error", message)
    bearer = bearer_of(found.get(_AUTHORIZATION, b""))
    return _Head(
        bearer or text_of(found.get(_API_KEY, b"")).strip(), found.get(b"origin"), found.get(b"host", b"")
    )


def _wait(wait_s: float, whose: str) -> None:
    if wait_s > 0:
        seconds = math.ceil(wait_s)
        message = f"too many requests {whose}; try again in {seconds} s"
        raise _Refused(429, "rate_limit_exceeded", message, (b"retry-after", str(seconds).encode()))

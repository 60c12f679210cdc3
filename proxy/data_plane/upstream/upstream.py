"""Requests to engines."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import Self

import httpx

from scalesim.proxy.errors import UpstreamBroke, UpstreamOverran

from ..headers import Headers
from .answer import Answer
from .connection import Connection
from .origin import Origin
from .pool import Pool

MAX_WAITING = 4096
"""Calls that wait for a connection to one engine: each holds its body."""

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""RFC 9110, 9.2.2: these may be sent twice without harm."""


class Upstream:
    """Owns the connections to engines, a pool for each.

    Of each engine, calls beyond `max_connections` wait for one; those beyond `max_waiting` more are refused. Of the
    time-outs, None means for ever: `first_byte_timeout_s` is for the head of an answer, `between_chunks_timeout_s` for a
    silence in the middle of it while its client waits for more, `total_timeout_s` for everything together.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float,
        max_connections: int,
        max_waiting: int = MAX_WAITING,
        first_byte_timeout_s: float | None = None,
        between_chunks_timeout_s: float | None = None,
        total_timeout_s: float | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`tls`: whom to trust; None: the authorities that browsers trust."""
        self._connect_timeout_s = connect_timeout_s
        self._max_connections = max_connections
        self._max_waiting = max_waiting
        self._first_byte_s = first_byte_timeout_s
        self._between_s = between_chunks_timeout_s
        self._total_s = total_timeout_s
        self._tls = tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pools: dict[str, Pool] = {}
        """By base URL, as long as they hold a connection or somebody waits for one."""

    def configure(
        self,
        *,
        connect_timeout_s: float,
        max_connections: int,
        first_byte_timeout_s: float | None,
        between_chunks_timeout_s: float | None,
        total_timeout_s: float | None,
    ) -> None:
        """Of calls that are sent from now on."""
        self._connect_timeout_s, self._max_connections = connect_timeout_s, max_connections
        self._first_byte_s, self._between_s = first_byte_timeout_s, between_chunks_timeout_s
        self._total_s = total_timeout_s
        for pool in self._pools.values():
            pool.configure(connect_timeout_s=connect_timeout_s, max_connections=max_connections)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop = None
        for pool in list(self._pools.values()):
            pool.close()
        await asyncio.sleep(0)  # connections are closed in the loop's next turn

    def sizes(self) -> dict[str, int]:
        """How much is held right now."""
        pools = list(self._pools.values())
        return {
            "connections_open": sum(pool.open for pool in pools),
            "connections_idle": sum(pool.idle for pool in pools),
            "calls_waiting_for_a_connection": sum(pool.waiting for pool in pools),
        }

    async def send(self, method: str, base_url: str, target: str, headers: Headers, body: bytes) -> Answer:
        """Sends one request, and waits for the head of the answer, of whatever status.

        `target` is the path with its query, percent-encoded; it follows `base_url` byte for byte. Cancelling closes the
        connection. Raises `UpstreamUnreachable`, `UpstreamTimedOut` and `UpstreamBusy` if nothing was sent, else
        `UpstreamBroke`; `ValueError` for what would be more than one request.
        """
        if self._loop is None:
            raise RuntimeError("Upstream is not open: use it with `async with`")
        began_at = self._loop.time()
        sent_again = False
        while True:
            pool = self._pools.get(base_url) or self._pool(base_url)
            head = pool.origin.head(method, target, headers, len(body))
            connection = pool.take() or await self._get(pool, began_at)
            was_used = connection.requests > 0
            answer = connection.ask(head, body, is_head=method == "HEAD", between_s=self._between_s)
            if self._total_s is not None:
                answer.end_at(began_at + self._total_s, self._total_s)
            try:
                await answer.begun(self._first_byte_s)
            except UpstreamBroke as exc:
                if type(exc) is not UpstreamBroke or not _is_stale(method, was_used, answer) or sent_again:
                    raise
                # The engine closed it while the request was under way: it will have closed the others too.
                pool.drop_idle()
                sent_again = True
                continue
            except BaseException:
                answer.close()
                raise
            return answer

    async def _get(self, pool: Pool, began_at: float) -> Connection:
        if self._total_s is None:
            return await pool.get()
        try:
            async with asyncio.timeout_at(began_at + self._total_s):
                return await pool.get()
        except TimeoutError as exc:
            raise UpstreamOverran(f"no connection was free within {self._total_s:g} s") from exc

    def _pool(self, base_url: str) -> Pool:
        assert self._loop is not None
        origin = Origin.of(base_url)
        if origin.is_secure and self._tls is None:
            self._tls = httpx.create_ssl_context(trust_env=False)

        def emptied() -> None:
            if self._pools.get(base_url) is pool:
                del self._pools[base_url]

        pool = self._pools[base_url] = Pool(
            origin,
            self._loop,
            connect_timeout_s=self._connect_timeout_s,
            max_connections=self._max_connections,
            max_waiting=self._max_waiting,
            tls=self._tls if origin.is_secure else None,
            emptied=emptied,
        )
        return pool


def _is_stale(method: str, was_used: bool, answer: Answer) -> bool:
    """Whether a request that failed may be sent once more.

    Only where the connection had served before, so that its end is no answer to this request; where not a byte came
    back; and where it does no harm if the engine has worked on it after all. A POST may have been received, whatever the
    connection's end looks like from here: an engine that crashes on it closes in the same way as one that never read it.
    What can be known before it is sent (`Connection.is_quiet`) is looked at then, for all methods.
    """
    return method in _IDEMPOTENT and was_used and not answer.heard

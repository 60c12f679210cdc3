"""The proxy with one of its protections switched off: PROTECTION, and then what `scalesim` is told.

So that a test which shows that a fault does no harm can be seen to fail. Each patches the place where the protection is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import redis

from scalesim.proxy.__main__ import main
from scalesim.proxy.app.workers import Workers
from scalesim.proxy.core.events import Event
from scalesim.proxy.core.placer import Placer
from scalesim.proxy.data_plane.http_protocol import BoundedHttpProtocol
from scalesim.proxy.data_plane.upstream.answer import Answer
from scalesim.proxy.errors import UpstreamBroke
from scalesim.proxy.recording import Recorder
from scalesim.proxy.state.lease import Lease
from scalesim.proxy.state.member import Member
from scalesim.proxy.state.store import Store


def half_answers_are_told() -> None:
    """An answer that broke off ends as if it were whole."""
    honest = Answer.__anext__

    async def hushed(self: Answer) -> bytes:
        try:
            return await honest(self)
        except UpstreamBroke:
            raise StopAsyncIteration from None

    Answer.__anext__ = hushed  # type: ignore[method-assign]


def leaving_is_noticed() -> None:
    """Nobody hears that a client has gone."""
    honest = BoundedHttpProtocol.connection_lost

    def unheard(self: BoundedHttpProtocol, exc: Exception | None) -> None:
        cycle, self.cycle = self.cycle, None  # type: ignore[assignment]
        leaving, self._leaving = self._leaving, None
        honest(self, exc)
        self.cycle, self._leaving = cycle, leaving

    BoundedHttpProtocol.connection_lost = unheard  # type: ignore[method-assign]


def recorder_is_apart() -> None:
    """Each call waits for the disk, which takes its time to say that it is full."""
    Recorder.note = lambda self, call: time.sleep(0.1)  # type: ignore[method-assign]


def own_clock() -> None:
    """Time is that of the wall clock, which may be set."""
    time.monotonic = lambda: time.time()


def places_are_shared() -> None:
    """Each of several proxies finds places for agents by itself."""
    Placer._settled_as_known = lambda self, key, caller: None  # type: ignore[method-assign]


def leases_end() -> None:
    """Whoever leads once has the lead for good."""
    take, renew = Store.take_lease, Store.renew_lease
    for_good_s = 3600.0

    async def taken(self: Store, ttl_s: float, floor: int) -> tuple[int | None, float]:
        return await take(self, for_good_s, floor)

    async def renewed(self: Store, token: int, ttl_s: float) -> bool:
        return await renew(self, token, for_good_s)

    Store.take_lease, Store.renew_lease = taken, renewed  # type: ignore[method-assign]


def leases_end_without_an_answer() -> None:
    """A leader leads until Redis says that it does not, whatever engines say."""
    Lease.holds = lambda self, at: self.token is not None  # type: ignore[method-assign]
    Member.outranked = lambda self, token: None  # type: ignore[method-assign]


def calls_do_without_redis() -> None:
    """Redis is told of each call before it goes on."""
    honest = Member.post

    def asked(self: Member, event: Event) -> None:
        with redis.Redis.from_url(self._store._url, protocol=2, socket_timeout=1.0) as client:
            client.ping()
        honest(self, event)

    Member.post = asked  # type: ignore[method-assign]


def workers_come_back() -> None:
    """Nobody starts a worker again."""
    Workers._start_later = lambda self, number, status, lived_s: None  # type: ignore[method-assign]


PROTECTIONS: dict[str, Callable[[], Any]] = {
    one.__name__: one
    for one in (
        half_answers_are_told,
        leaving_is_noticed,
        recorder_is_apart,
        own_clock,
        places_are_shared,
        leases_end,
        leases_end_without_an_answer,
        calls_do_without_redis,
        workers_come_back,
    )
}

if __name__ == "__main__":
    PROTECTIONS[sys.argv.pop(1)]()
    main()

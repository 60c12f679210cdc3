"""The load generator, a program of its own: reads an `Order` as JSON from its standard input and prints a `Sample` as JSON.

Each connection asks, waits for the whole answer, looks whether it is right, and asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import math
import os
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

from .figures import Sample, percentile
from .http1 import Malformed, Messages
from .loads import Load, fault_of, requests
from .processes import Usage, usage

PAUSE_S = 0.05
"""After a connection was lost or refused, so that a proxy that is gone is not asked a million times."""
_NOTHING = Usage(0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    host: str
    port: int
    load: Load
    seed: int
    named: bool
    to_the_byte: bool
    """Whether answers have to be the engine's own, or may be written anew."""
    warm_up_s: float
    seconds: float
    """The window."""
    grace_s: float
    """By which the window may grow for the slow, and then for the calls to end that began in it; those that do not are
    errors."""
    proxy_pid: int | None
    mock_pid: int
    store_pid: int | None = None
    """Of the Redis by which several proxies share what they know."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        told = json.loads(text)
        return cls(**{**told, "load": Load(**told["load"])})


class _Tally:
    """What all connections found together."""

    def __init__(self, order: Order, prepared: Sequence[bytes]) -> None:
        self.order = order
        self.requests: Iterator[bytes] = itertools.cycle(prepared)
        self.began = array("d")
        self.ended = array("d")
        self.errors: Counter[str] = Counter()
        self.over = False
        self.unanswered = 0
        self.outcomes = 0
        """Answers and errors."""
        self.wave_ends_at = -1
        """With so many outcomes there was one for each connection since the window opened."""
        self.wave_ended = asyncio.Event()

    def right(self, began: float, ended: float) -> None:
        self.began.append(began)
        self.ended.append(ended)
        self._outcome()

    def wrong(self, fault: str) -> None:
        self.errors[fault] += 1
        self._outcome()

    def _outcome(self) -> None:
        self.outcomes += 1
        if self.outcomes == self.wave_ends_at:
            self.wave_ended.set()


class _Connection(asyncio.Protocol):
    """Asks until it is over, the other side closes, or an answer is no HTTP; then `done`."""

    def __init__(self, tally: _Tally) -> None:
        self._tally = tally
        self._messages = Messages()
        self._transport: asyncio.Transport
        self._began = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._tally.unanswered += 1
        self._began = time.perf_counter()
        self._transport.write(next(self._tally.requests))

    def data_received(self, data: bytes) -> None:
        if self.done.done():
            return
        tally = self._tally
        try:
            message = self._messages.feed(data)
        except Malformed as exc:
            self._end(str(exc))
            return
        if message is None:
            return
        ended = time.perf_counter()
        order = tally.order
        fault = fault_of(
            message.start, message.body, streams=order.load.streams, to_the_byte=order.to_the_byte
        )
        if fault is None:
            tally.right(self._began, ended)
        if fault is not None or message.closes or tally.over:
            self._end(fault)
        else:
            tally.unanswered -= 1
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._end("the connection was closed before the answer's end")

    def _end(self, fault: str | None) -> None:
        self._tally.unanswered -= 1
        if fault is not None:
            self._tally.wrong(fault)
        self._transport.close()
        self.done.set_result(None)


async def _keep_asking(tally: _Tally) -> None:
    """One connection after the other. An answer that was wrong costs a pause as well."""
    loop = asyncio.get_running_loop()
    while not tally.over:
        faults = tally.errors.total()
        connection = _Connection(tally)
        try:
            await loop.create_connection(lambda one=connection: one, tally.order.host, tally.order.port)  # type: ignore[misc]
            await connection.done
        except OSError as exc:
            tally.wrong(f"no connection: {os.strerror(exc.errno) if exc.errno else exc}")
        if tally.errors.total() > faults:
            await asyncio.sleep(PAUSE_S)


async def measure(order: Order) -> Sample:
    """Raises `Gone` if the proxy or the mock has ended."""
    load = order.load
    tally = _Tally(order, requests(load, f"{order.host}:{order.port}", order.seed, named=order.named))
    gc.freeze()  # else collections would look at the prepared requests again and again
    asking = [asyncio.ensure_future(_keep_asking(tally)) for _ in range(load.connections)]
    try:
        await asyncio.sleep(order.warm_up_s)
        before, ends_before, store_before = _usages(order)
        opens = time.perf_counter()
        await _window(order, tally)
        closes = time.perf_counter()
        after, ends_after, store_after = _usages(order)
        tally.over = True
        await asyncio.wait(asking, timeout=order.grace_s)
        if tally.unanswered:
            tally.errors[f"no answer within {order.grace_s:g} s"] += tally.unanswered
    finally:
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    ended = sum(opens <= at <= closes for at in tally.ended)
    waits_ms = [
        (end - begin) * 1e3
        for begin, end in zip(tally.began, tally.ended, strict=True)
        if begin <= closes and opens <= end
    ]
    window_s = closes - opens
    cpu_s = after.cpu_s - before.cpu_s
    return Sample(
        rps=ended / window_s,
        p50_ms=percentile(waits_ms, 50),
        p99_ms=percentile(waits_ms, 99),
        cpu_us=cpu_s * 1e6 / ended if ended else math.nan,
        busy=cpu_s / window_s,
        ends_busy=(ends_after - ends_before) / window_s,
        rss_mb=after.rss_mb,
        store_busy=(store_after - store_before) / window_s,
        errors=dict(tally.errors),
    )


async def _window(order: Order, tally: _Tally) -> None:
    """As long as it shall be; for the slow, until each connection had an answer or an error, if they come in time."""
    tally.wave_ends_at = tally.outcomes + order.load.connections
    await asyncio.sleep(order.seconds)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(order.grace_s):
            await tally.wave_ended.wait()


def _usages(order: Order) -> tuple[Usage, float, float]:
    """The proxy's, and the CPU seconds of mock and generator together and of what proxies share."""
    proxy, store = (_NOTHING if pid is None else usage(pid) for pid in (order.proxy_pid, order.store_pid))
    return proxy, usage(order.mock_pid).cpu_s + time.process_time(), store.cpu_s


def main() -> None:
    print(json.dumps(asdict(uvloop.run(measure(Order.from_json(sys.stdin.read()))))))


if __name__ == "__main__":
    main()

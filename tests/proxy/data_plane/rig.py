"""A relay on a real socket between a test's client and a test's engine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Self

import httpx
import uvicorn
from uvicorn.server import ServerState

from scalesim.proxy.core.durations import Reading
from scalesim.proxy.core.events import CallEnded, CallSent, CallStarted, Event
from scalesim.proxy.core.model import AdapterName, AgentName, EngineId, Mode, Owner, SimulationId
from scalesim.proxy.core.placement import find
from scalesim.proxy.core.placer import Placer
from scalesim.proxy.data_plane.admission import Admissions
from scalesim.proxy.data_plane.answers import duration_in
from scalesim.proxy.data_plane.asgi import Receive, Scope, Send
from scalesim.proxy.data_plane.http_protocol import BoundedHttpProtocol
from scalesim.proxy.data_plane.identity import Recogniser
from scalesim.proxy.data_plane.joining import JoinRules, Joins
from scalesim.proxy.data_plane.relay import Relay
from scalesim.proxy.data_plane.retrying import Retrying, RetryRules
from scalesim.proxy.data_plane.sharing import Sharing
from scalesim.proxy.data_plane.upstream import Upstream
from scalesim.proxy.engines.breaker import BreakerRules, Breakers
from scalesim.proxy.engines.fleet import Fleet
from scalesim.proxy.engines.models import Models
from scalesim.proxy.engines.registry import Address, Registry
from scalesim.proxy.recognition.guess import Rung
from scalesim.proxy.recognition.ladder import Ladder
from scalesim.proxy.recognition.recipes.shelf import Shelf
from scalesim.proxy.served_call import Record
from scalesim.proxy.timings import Timings
from tests.support.fake_adapter import FakeAdapter
from tests.support.lines import NoLines
from tests.support.patience import PATIENCE_S, soon

Engine = Callable[[Scope, Receive, Send], Awaitable[None]]
Remembered = tuple[Owner, str, Mapping[str, object], int, AdapterName | None]
Head = tuple[int, list[tuple[bytes, bytes]]]

ONCE = RetryRules(attempts=1)
JOINS = JoinRules()

SOON_S = 0.25
"""Within this a client's leaving must have reached the engine."""


class Rig:
    def __init__(
        self,
        adapters: Mapping[str, FakeAdapter],
        fleet: Fleet,
        relay: Relay,
        log: EventLog,
        url: str,
        remembered: list[Remembered],
        timings: Timings,
    ) -> None:
        self.timings = timings
        self.adapters = adapters
        self.adapter = next(iter(adapters.values()))
        """Of the only engine."""
        self.fleet = fleet
        self.relay = relay
        self.log = log
        self.remembered = remembered
        self.url = url
        self.port = int(url.rpartition(":")[2])

    def running(self, engine: str) -> int:
        return self.fleet.placer.running(EngineId(engine))


class _Lines(NoLines):
    """Nothing is asked of engines but calls; `doubted` are those that were found silent."""

    def __init__(self, adapters: Mapping[str, FakeAdapter]) -> None:
        self._adapters = adapters
        self.doubted: list[EngineId] = []

    def doubt(self, engine: EngineId) -> None:
        self.doubted.append(engine)

    def features(self, engine: EngineId) -> frozenset[str]:
        return self._adapters[engine].capabilities.features


class EventLog:
    """Keeps what was posted."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    def post(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    @property
    def started(self) -> list[CallStarted]:
        return [event for event in self.events if isinstance(event, CallStarted)]

    @property
    def ended(self) -> list[CallEnded]:
        return [event for event in self.events if isinstance(event, CallEnded)]

    @property
    def sent(self) -> list[CallSent]:
        return [event for event in self.events if isinstance(event, CallSent)]

    async def until_ended(self, calls: int = 1, timeout_s: float = PATIENCE_S) -> CallEnded:
        """Waits for so many ends, and gives the last. `timeout_s`: of a loop that runs."""

        async def so_many() -> None:
            while len(self.ended) < calls:
                self._changed.clear()
                await self._changed.wait()

        await soon(so_many(), timeout_s)
        return self.ended[-1]

    def check_each_ended_once(self) -> None:
        running: set[int] = set()
        for event in self.events:
            match event:
                case CallStarted(call=call):
                    assert call not in running
                    running.add(call)
                case CallEnded(call=call):
                    assert call in running, "ended twice, or never started"
                    running.remove(call)
        assert not running


@asynccontextmanager
async def rig(
    engine: Engine | str | Mapping[str, Engine | str],
    *,
    mode: Mode = Mode.ON,
    max_body_bytes: int = 1 << 20,
    max_connections: int = 100,
    connect_timeout_s: float = PATIENCE_S,
    first_byte_timeout_s: float | None = None,
    chunk_timeout_s: float | None = None,
    total_timeout_s: float | None = None,
    assigned: Mapping[tuple[str, str], str] | None = None,
    recomputed: bool = True,
    reading: Reading | None = None,
    adapter_type: type[FakeAdapter] = FakeAdapter,
    record: Record | None = None,
    rungs: frozenset[Rung] = frozenset(),
    retries: RetryRules = ONCE,
    breaker: BreakerRules | None = None,
    joins: JoinRules = JOINS,
    concurrency: int | None = None,
    queue_limit: int = 100,
    queue_wait_s: float | None = None,
    serves: Mapping[str, Sequence[str]] | None = None,
    aliases: Mapping[str, str] | None = None,
    clock: Callable[[], float] | None = None,
) -> AsyncIterator[Rig]:
    """`engine`: an ASGI app, or the URL of one; or several by name. `assigned`: adapters by simulation and agent. `recomputed`: prefixes have no host copy. `reading`: of the answers in all simulations. `record`: told of ended calls. `rungs`: by which callers are found that do not say who they are. `serves`: models by engine, `m` where nothing is said. `clock`: without one, time goes on by a second each time that somebody looks. At the end all calls must have ended, and nothing may be held."""
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(_Servers())
        engines = engine if isinstance(engine, Mapping) else {"fake": engine}
        adapters = {
            name: adapter_type(one if isinstance(one, str) else await servers.start(one), engine=name)
            for name, one in engines.items()
        }
        log = EventLog()
        remembered: list[Remembered] = []
        if clock is None:
            ticks = itertools.count()
            clock = lambda: float(next(ticks))  # noqa: E731 - as short as it can be

        def assigned_to(simulation: SimulationId, agent: AgentName) -> AdapterName | None:
            name = (assigned or {}).get((simulation, agent))
            return None if name is None else AdapterName(name)

        lines = _Lines(adapters)
        fleet = Fleet(
            registry=Registry(),
            models=Models(aliases),
            breakers=Breakers(breaker),
            placer=Placer(find("by_memory")),
            adapter_for=lambda address: adapters[address.name],
            lines=lines,
        )
        for name, adapter in adapters.items():
            fleet.add(Address(EngineId(name), adapter.base_url), clock())
            fleet.answered(EngineId(name), "boot-1", 1000, clock())
            fleet.listed(EngineId(name), [{"id": model} for model in (serves or {}).get(name, ["m"])])
        upstream = Upstream(
            connect_timeout_s=connect_timeout_s,
            max_connections=max_connections,
            first_byte_timeout_s=first_byte_timeout_s,
            between_chunks_timeout_s=chunk_timeout_s,
            total_timeout_s=total_timeout_s,
        )
        ladder, timings = Ladder(rungs=rungs), Timings()
        ladder.index = Shelf().index
        relay = Relay(
            fleet=fleet,
            upstream=await stack.enter_async_context(upstream),
            admissions=Admissions(
                clock, capacity=concurrency, max_waiting=queue_limit, max_wait_s=queue_wait_s
            ),
            sharing=Sharing(Joins(joins), clock),
            retrying=Retrying(retries, Random(1)),
            recogniser=Recogniser(),
            post=log.post,
            mode_of=lambda _: mode,
            clock=clock,
            max_body_bytes=max_body_bytes,
            assigned=assigned_to,
            recomputed=lambda *_: recomputed,
            remember=lambda *told: remembered.append(told),
            reading=lambda _: reading,
            read=duration_in,
            recognise=ladder.recognise,
            answered=ladder.ended,
            record=record,
            timings=timings,
        )
        crashes: list[BaseException] = []

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await relay(scope, receive, send)
            except BaseException as exc:
                crashes.append(exc)  # uvicorn only logs it
                raise

        yield Rig(adapters, fleet, relay, log, await servers.start(watched), remembered, timings)
        await relay.drained()
    # The servers have waited for their tasks.
    log.check_each_ended_once()
    assert not crashes
    left = relay.sizes()
    for table in ("identity_fields", "joined_answers", "joined_bytes", "retry_budgets"):  # those are kept
        left.pop(table)
    assert not any(left.values()), left
    assert all(running == 0 for running, _ in fleet.placer.loads().values())


class _Servers:
    """The product's protocol on real sockets, without its `Server`, which takes 0.2 s to stop: these tests need many.

    It adds no headers of its own, so that tests see exactly those that were sent.
    """

    def __init__(self) -> None:
        self._running: list[tuple[asyncio.Server, ServerState]] = []

    async def __aenter__(self) -> Self:
        return self

    async def start(self, app: Engine) -> str:
        config = uvicorn.Config(app, http="httptools", log_level="error", access_log=False)
        config.load()
        state = ServerState()

        def protocol() -> asyncio.Protocol:
            return BoundedHttpProtocol(config=config, server_state=state, app_state={})

        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        self._running.append((server, state))
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *exc: object) -> None:
        """Nothing is cancelled: a request that is still running after a second fails the test."""
        for server, state in reversed(self._running):
            server.close()
            if state.tasks:
                await soon(asyncio.wait(state.tasks), 1.0)
            for connection in list(state.connections):
                connection.shutdown()
            while state.connections:  # noqa: ASYNC110 - they close in the next turn, and uvicorn has no event for it
                await asyncio.sleep(0)


class Recorder:
    """An engine that keeps each request it got, and answers all alike."""

    def __init__(
        self,
        *chunks: bytes,
        status: int = 200,
        headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),),
    ) -> None:
        self.chunks = chunks or (b'{"id": "x"}',)
        self.head: Head = (status, list(headers))
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.scopes.append(scope)
        self.bodies.append(await whole_body(receive))
        await start(send, *self.head)
        for chunk in self.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body"})

    def header_names(self, request: int = -1) -> list[bytes]:
        return [name for name, _ in self.scopes[request]["headers"]]

    def header(self, name: bytes, request: int = -1) -> list[bytes]:
        return [value for key, value in self.scopes[request]["headers"] if key == name]


class Echo:
    """An engine that answers with the request's body, once `together` requests are there."""

    def __init__(self, together: int) -> None:
        self._together = together
        self._all_there = asyncio.Event()
        self.waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await whole_body(receive)
        self.waiting += 1
        if self.waiting == self._together:
            self._all_there.set()
        await self._all_there.wait()
        await start(send, 200, [(b"content-type", b"application/json")])
        await send({"type": "http.response.body", "body": body})


class Stuck:
    """An engine that takes a request, sends `first` of its answer (or nothing at all), and works on for ever."""

    def __init__(self, first: bytes | None = None) -> None:
        self.first = first
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.bodies.append(await whole_body(receive))
        if self.first is not None:
            await start(send, 200, [(b"content-type", b"text/event-stream")])
            await send({"type": "http.response.body", "body": self.first, "more_body": True})
        self.arrived.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()

    async def was_left(self) -> None:
        """Waits until the request that it works on is given up. Raises `TimeoutError` that says how far it came."""
        try:
            await soon(self.left.wait(), PATIENCE_S)
        except TimeoutError:
            reached = "was not closed" if self.bodies else "never came: the limit was over before it was sent"
            raise TimeoutError(f"the request at the engine {reached}") from None


@asynccontextmanager
async def raw_engine(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """An engine that says on its socket whatever `talk` says; the connection is cut when `talk` returns."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    await reader.readexactly(int(line.partition(b":")[2]))
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def raw_client(
    port: int, request: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Sends `request` as it is; cuts the connection at the end, if the test has not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        yield reader, writer
    finally:
        writer.transport.abort()


def raw_post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: proxy", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=2 * PATIENCE_S, verify=False)


async def whole_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        chunk: bytes = message.get("body", b"")
        body += chunk
        if not message.get("more_body"):
            return body


async def start(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})

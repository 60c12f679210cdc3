"""Engines, proxies and clients as processes on real sockets, with a wire between each pair that a test can cut.

A crowd asks calls of which the right answer is known, and everything that goes wrong is counted.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from scalesim.workloads.asking import Asker, Place
from scalesim.workloads.checked_calls import CheckedCall, Ending, Kind, checked_call
from scalesim.workloads.servers import ROOT, Installation, Server, Servers, free_port
from tests.support.patience import PATIENCE_S

Value = TypeVar("Value")

CALLS = 200
TOKENS = 12
"""Of each answer."""
ENGINE = ("--max-running", "256", "--decode-s-per-token", "0.5")
"""All run at once, and long enough to be under way when something happens."""
POLL_S = 0.05
UP_S = 60.0
ATTEMPTS = 300
PAUSE_S = 0.1
"""Before a client asks again."""


@dataclass(slots=True)
class Row:
    """What one fault did."""

    case: str
    calls: int
    endings: Counter[Kind]
    statuses: Counter[int]
    recovered_s: float | None = None
    """From the fault until a call was answered again."""
    leaked: Mapping[str, int] = field(default_factory=dict)
    """What is still held when everybody has gone."""
    told: list[str] = field(default_factory=list)
    """What was wrong with some that were not right."""

    @property
    def lost(self) -> int:
        """Calls that their clients never had an answer to, after all their attempts."""
        return self.calls - self.endings[Kind.RIGHT]

    @property
    def wrong(self) -> int:
        return self.endings[Kind.WRONG]


@dataclass(slots=True, eq=False)
class Process:
    """A server that can be killed and started again as it was."""

    server: Server
    start: Callable[[], Awaitable[Server]]
    port: int
    admin_url: str | None = None

    @property
    def pid(self) -> int:
        return self.server.process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def place(self) -> Place:
        return Place("127.0.0.1", self.port)

    def kill(self) -> None:
        """As kill -9 does."""
        os.kill(self.pid, signal.SIGKILL)

    async def again(self, servers: Servers) -> None:
        """After it was killed; serves when this returns."""
        servers.stop(self.server)
        self.server = await self.start()


class Town:
    """To be used with `async with` around its `Servers`."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self._named = Counter[str]()

    async def engine(self, *options: str) -> Process:
        return await self._engine("scalesim.engine_adapters.emulated", *ENGINE, *options)

    async def hostile(self, *options: str) -> Process:
        return await self._engine("tests.faults.hostile", *options)

    async def _engine(self, module: str, *options: str) -> Process:
        port = free_port()
        command = [sys.executable, "-m", module, "--port", str(port), *options]

        async def start() -> Server:
            server = self.servers.spawn(
                self._name("engine"), command, _environment(), f"http://127.0.0.1:{port}"
            )
            await self.servers.healthy(server, f"{server.url}/health", UP_S)
            return server

        return Process(await start(), start, port)

    async def proxy(
        self,
        engine_url: str | Mapping[str, str],
        *options: str,
        how: Sequence[str] = ("serve",),
        without: str | None = None,
        environment: Mapping[str, str] | None = None,
        needs_the_engine: bool = True,
    ) -> Process:
        """`engine_url`: one, or several by name. `without`: the protection that is switched off (see `unprotected`)."""
        port, admin_port = free_port(), free_port()
        module = ["scalesim.proxy"] if without is None else ["tests.faults.unprotected", without]
        engines = (
            [engine_url]
            if isinstance(engine_url, str)
            else [f"{name}={url}" for name, url in engine_url.items()]
        )
        command = [
            *(sys.executable, "-m", *module, *how),
            *(word for engine in engines for word in ("--engine", engine)),
            *("--port", str(port), "--admin-port", str(admin_port), "--log-level", "warning", *options),
        ]
        admin_url = f"http://127.0.0.1:{admin_port}"
        quick = {"SCALESIM_PROBE_EVERY_S": "0.2", "SCALESIM_REPORT_EVERY_S": "0.2"}

        async def start() -> Server:
            told = _environment() | quick | dict(environment or {})
            server = self.servers.spawn(self._name("proxy"), command, told, f"http://127.0.0.1:{port}")
            path = "/ready" if needs_the_engine else "/health"
            await self.servers.healthy(server, f"{admin_url}{path}", UP_S)
            return server

        return Process(await start(), start, port, admin_url)

    def _name(self, kind: str) -> str:
        self._named[kind] += 1
        return f"{kind}-{self._named[kind]}"


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def servers(folder: Path) -> Servers:
    return Servers(Installation(), folder)


def calls_to(
    place: Place,
    count: int = CALLS,
    tokens: int = TOKENS,
    said: str = "",
    headers: Mapping[str, str] | None = None,
) -> list[CheckedCall]:
    """Half of them streamed. `said` makes them others than those before."""
    prompt = f"What do you do next? {said}"
    return [
        checked_call(str(place), f"agent {index}", prompt, tokens, streams=index % 2 == 1, headers=headers)
        for index in range(count)
    ]


async def all_are_right(place: Place, said: str = "") -> None:
    """As if nothing had ever been: nobody who asks again, as clients do that are told to come later, has to do without."""
    crowd = Crowd(place, calls_to(place, tokens=2, said=said), attempts=ATTEMPTS)
    await crowd.run()
    row = crowd.row("")
    assert row.endings == {Kind.RIGHT: len(crowd.calls)}, row.told


@dataclass(slots=True)
class Crowd:
    """All ask at once, each on a connection of its own."""

    place: Place
    calls: Sequence[CheckedCall]
    attempts: int = 1
    """Of each call: like the clients of simulations, they ask again what was not answered."""
    patience_s: float = PATIENCE_S
    retries_for_s: float = PATIENCE_S
    ended: list[Ending] = field(default_factory=list)

    async def run(self) -> list[Ending]:
        self.ended = await asyncio.gather(*map(self._call, self.calls))
        return self.ended

    async def _call(self, call: CheckedCall) -> Ending:
        loop = asyncio.get_running_loop()
        until = loop.time() + self.retries_for_s
        async with Asker(self.place) as asker:
            for attempt in range(1, self.attempts + 1):
                ending = await asker.ask(call, self.patience_s)
                if ending.kind in (Kind.RIGHT, Kind.WRONG) or attempt == self.attempts or loop.time() > until:
                    break
                await asyncio.sleep(PAUSE_S)
        return ending

    def row(self, case: str) -> Row:
        bad = [f"{one.kind.value}: {one.told}" for one in self.ended if one.kind is not Kind.RIGHT]
        return Row(
            case,
            len(self.calls),
            Counter(one.kind for one in self.ended),
            Counter(one.status for one in self.ended if one.status),
            told=sorted(set(bad))[:5],
        )


async def under_way(crowd: Crowd, engine: Process) -> asyncio.Task[list[Ending]]:
    """All of its calls run in the engine, or wait there. Await the task for their ends."""
    asking = asyncio.create_task(crowd.run())
    count = len(crowd.calls)
    await until(lambda: load_of(engine), lambda load: load >= count, f"{count} calls in the engine")
    return asking


async def until_idle(engine: Process, within_s: float = PATIENCE_S) -> float:
    """Seconds until no call runs or waits in the engine."""
    began = time.monotonic()
    await until(lambda: load_of(engine), lambda load: load == 0, "an idle engine", within_s)
    return time.monotonic() - began


async def load_of(engine: Process) -> float:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
        text = (await http.get(f"{engine.url}/metrics")).text
    gauges = ("sglang:num_running_reqs{", "sglang:num_queue_reqs{")
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(gauges))


async def until(
    look: Callable[[], Awaitable[Value]],
    enough: Callable[[Value], bool],
    what: str,
    within_s: float = PATIENCE_S,
) -> Value:
    """What was seen when it was enough; `what` says what is waited for. An engine or a proxy in another process has no event for it. Raises `TimeoutError`."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if enough(seen := await look()):
                return seen
        await asyncio.sleep(POLL_S)
    raise TimeoutError(f"no {what} within {within_s:g} s")


async def recovered(place: Place, since: float, within_s: float = PATIENCE_S) -> float:
    """Seconds since `since` until the first right answer."""
    call = calls_to(place, 1, 2, "Are you there?")[0]

    async def ask() -> Ending:
        async with Asker(place) as asker:
            return await asker.ask(call, within_s)

    await until(ask, lambda ending: ending.kind is Kind.RIGHT, "a right answer", within_s)
    return time.monotonic() - since


async def leaked(proxy: Process, within_s: float = PATIENCE_S) -> dict[str, int]:
    """What the proxy still holds when all clients have gone and it had time to notice: nothing, if all is well."""
    held: dict[str, int] = {}
    with suppress(TimeoutError):
        held = await until(lambda: _held(proxy), lambda one: not any(one.values()), "", within_s)
        return {}
    held = await _held(proxy)
    return {name: count for name, count in held.items() if count}


async def status_of(proxy: Process) -> dict[str, Any]:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
        told: dict[str, Any] = (await http.get(f"{proxy.admin_url}/admin/v1/status")).json()
        return told


async def _held(proxy: Process) -> dict[str, int]:
    told = await status_of(proxy)
    sizes = told["sizes"]
    named = ("requests_in_flight", "calls_in_flight", "aborts_in_flight", "calls_waiting_for_a_connection")
    held = {name: int(sizes.get(name, 0)) for name in named}
    # Bugs that were survived, or that nobody heard of: neither may be, whatever comes.
    held["failures"] = sum(told["failures"].values())
    held["tracebacks in its log"] = proxy.server.log.read_text(errors="replace").count("Traceback")
    held["engine connections in use"] = int(sizes["connections_open"]) - int(sizes["connections_idle"])
    return held | sockets_of(proxy.pid, proxy.port)


_ESTABLISHED, _CLOSE_WAIT = "01", "08"


def sockets_of(pid: int, port: int) -> dict[str, int]:
    """Of a process: connections of clients to `port`, and any that the other side has closed and it has not."""
    own = set()
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            own.add(os.readlink(one))
    clients = half_closed = 0
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if f"socket:[{fields[9]}]" in own:
            clients += fields[3] == _ESTABLISHED and int(fields[1].rpartition(":")[2], 16) == port
            half_closed += fields[3] == _CLOSE_WAIT
    return {"client sockets": clients, "half-closed sockets": half_closed}

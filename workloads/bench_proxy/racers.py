"""Contestants that run: started on their core, asked for a first right answer, and stopped while others are measured."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from scalesim.workloads.servers import Server, ServerFailed, Servers, free_port, on_core

from .contestants import Contestant, Place
from .http1 import Malformed, Messages
from .loads import Load, fault_of, requests
from .processes import of_session

HOST = "127.0.0.1"
FIRST_ANSWER_S = 30.0
"""For the first right answer, after a contestant says that it is ready: some find their engine later."""
POLL_S = 0.2
_TRIED = (Load("JSON", 4096, False, 1), Load("SSE", 4096, True, 1))


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core is whose; None where there is but one."""

    ends: int | None
    """Of mock and load generator."""
    proxy: int | None

    @property
    def both(self) -> Sequence[int] | None:
        return None if self.ends is None or self.proxy is None else (self.ends, self.proxy)


def cores(allowed: Sequence[int]) -> Cores:
    if len(allowed) < 2:
        return Cores(None, None)
    first, second, *_ = sorted(allowed)
    return Cores(first, second)


@dataclass(frozen=True, slots=True)
class Racer:
    """Who is measured."""

    name: str
    port: int
    to_the_byte: bool
    server: Server | None
    """None for the direct way."""

    @property
    def pid(self) -> int | None:
        return None if self.server is None else self.server.process.pid

    def end(self) -> str | None:
        """How it ended, None as long as it runs."""
        if self.server is None or not self.server.has_ended():
            return None
        return f"it ended by itself; its log is {self.server.log}"

    def let_go(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Once it stands still, if it runs at all."""
        if self._signal(signal.SIGSTOP) and self.pid is not None:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def _signal(self, number: signal.Signals) -> bool:
        # Its session: it may be several processes, and workers are in groups of their own. As long as it was not waited for,
        # nobody else has its id.
        if self.server is None or self.server.process.returncode is not None:
            return False
        for pid in of_session(self.server.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return True


@contextmanager
def running(racer: Racer) -> Iterator[None]:
    racer.let_go()
    try:
        yield
    finally:
        racer.stop()


@contextmanager
def all_going_on_at_the_end(racers: Sequence[Racer]) -> Iterator[None]:
    """Of those that are in it then: a process that is stopped does not hear that it shall end."""
    try:
        yield
    finally:
        for racer in racers:
            racer.let_go()


async def started(
    contestant: Contestant, servers: Servers, folder: Path, engine_url: str, core: int | None
) -> Racer:
    """Serves, and gave a right answer of each kind. `folder` is there. Raises `NotThere` and `ServerFailed`."""
    port = free_port(HOST)
    start = contestant.start(Place(HOST, port, engine_url, folder))
    command = on_core(core, start.command)
    server = servers.spawn(folder.name, command, start.environment, f"http://{HOST}:{port}")
    await servers.healthy(server, start.ready_url, contestant.timeout_s)
    try:
        for load in _TRIED:
            await _answers_rightly(port, load, contestant.to_the_byte)
    except ServerFailed:
        servers.stop(server)
        raise
    return Racer(contestant.name, port, contestant.to_the_byte, server)


async def _answers_rightly(port: int, load: Load, to_the_byte: bool) -> None:
    deadline_s = time.monotonic() + FIRST_ANSWER_S
    request = requests(load, f"{HOST}:{port}", seed=0)[0]
    while (fault := await _fault_of_one(port, request, load.streams, to_the_byte)) is not None:
        if time.monotonic() > deadline_s:
            raise ServerFailed(f"it serves, but answers {load.name} wrongly: {fault}")
        await asyncio.sleep(POLL_S)


async def _fault_of_one(port: int, request: bytes, streams: bool, to_the_byte: bool) -> str | None:
    messages, message = Messages(), None
    try:
        async with asyncio.timeout(FIRST_ANSWER_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(request)
                while message is None:
                    if not (data := await reader.read(1 << 16)):
                        return "the connection was closed before the answer's end"
                    message = messages.feed(data)
            finally:
                writer.close()
    except (OSError, Malformed, TimeoutError) as exc:
        return str(exc) or type(exc).__name__
    return fault_of(message.start, message.body, streams=streams, to_the_byte=to_the_byte)

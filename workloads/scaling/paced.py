"""Engines that answer no faster than they are set to, a program of its own: HOST RUNNING SECONDS PORT...

One engine for each port. Each runs so many calls at once, and each call takes so long; others wait. An answer costs next to nothing
otherwise, so that eight of them leave the machine to the proxy. GET /paced says how many calls each has answered.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import sys

import uvloop

from scalesim.workloads.bench_proxy.http1 import Message
from scalesim.workloads.bench_proxy.mock import MockEngine


class Pace:
    """Of one engine. Pure."""

    def __init__(self, running: int, seconds: float) -> None:
        self._free_at = [0.0] * running
        self._seconds = seconds
        self.calls = 0

    def ends_at(self, now: float) -> float:
        """When a call that comes now is answered."""
        self.calls += 1
        end = max(now, self._free_at[0]) + self._seconds
        heapq.heapreplace(self._free_at, end)
        return end


class PacedEngine(MockEngine):
    def __init__(self, port: int, paces: dict[int, Pace]) -> None:
        super().__init__()
        self._port = port
        self._paces = paces
        self._loop = asyncio.get_running_loop()

    def answer(self, call: Message) -> None:
        self._loop.call_at(self._paces[self._port].ends_at(self._loop.time()), super().answer, call)

    def aside(self, start: bytes) -> bytes:
        if not start.startswith(b"get /paced "):
            return super().aside(start)
        body = json.dumps({str(port): pace.calls for port, pace in self._paces.items()}).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
            len(body),
            body,
        )


async def serve(host: str, running: int, seconds: float, ports: list[int]) -> None:
    loop = asyncio.get_running_loop()
    paces = {port: Pace(running, seconds) for port in ports}
    servers = [
        await loop.create_server(lambda one=port: PacedEngine(one, paces), host, port, backlog=4096)  # type: ignore[misc]
        for port in ports
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), [int(port) for port in sys.argv[4:]]))

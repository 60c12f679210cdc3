"""A proxy that answers rightly, and dies at the second call on one connection, as only the load generator makes it: HOST PORT."""

from __future__ import annotations

import asyncio
import os
import sys

from scalesim.workloads.bench_proxy.mock import MockEngine


class Dying(MockEngine):
    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def data_received(self, data: bytes) -> None:
        self._calls += data.startswith(b"POST ")
        if self._calls == 2:
            os._exit(3)
        super().data_received(data)


async def serve(host: str, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Dying, host, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))

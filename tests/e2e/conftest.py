"""Real engines for the end-to-end tests: SGLang itself, on the CPU, started once for all of them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scalesim.workloads.servers import Flavour, Installation, Server, Servers

CAPACITY_TOKENS = 8_000


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    installation = Installation()
    missing = installation.missing()
    assert not missing, f"run `make setup` first: {', '.join(map(str, missing))} not found"
    with Servers(installation, Path(tmp_path_factory.mktemp("servers"))) as running:
        yield running


@pytest.fixture(scope="session")
def extended_engine(servers: Servers) -> Server:
    """SGLang with the plugin; room for 8,000 tokens."""
    return asyncio.run(servers.engine("extended", Flavour.EXTENDED, CAPACITY_TOKENS))


@pytest.fixture(scope="session")
def stock_engine(servers: Servers) -> Server:
    """SGLang as it comes, but for what lets it run on a CPU."""
    return asyncio.run(servers.engine("stock", Flavour.STOCK, CAPACITY_TOKENS))


@dataclass
class MortalEngine:
    """An engine that a test may kill and start again on the same port."""

    servers: Servers
    port: int
    server: Server

    @property
    def url(self) -> str:
        return self.server.url

    def kill(self) -> None:
        """SIGKILL to the whole process group, as the kernel's OOM killer would leave it."""
        os.killpg(self.server.process.pid, signal.SIGKILL)
        self.server.process.wait()

    def start_again(self) -> None:
        self.server = asyncio.run(start_mortal(self.servers, self.port))


async def start_mortal(servers: Servers, port: int) -> Server:
    installation = servers.installation
    server = servers.spawn(
        f"mortal-{port}",
        installation.engine_command(Flavour.EXTENDED, port, CAPACITY_TOKENS),
        installation.engine_environment(Flavour.EXTENDED),
        f"http://{installation.host}:{port}",
    )
    await servers.healthy(server, f"{server.url}/health", installation.engine_timeout_s)
    return server

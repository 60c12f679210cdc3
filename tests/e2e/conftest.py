"""Real engines for the end-to-end tests: SGLang itself, on the CPU, started once for all of them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scalesim.proxy.core.model import AdapterName
from scalesim.workloads.adapters import make_adapters
from scalesim.workloads.builds import AdapterRoom, EngineBuild
from scalesim.workloads.links import Link
from scalesim.workloads.servers import Flavour, Installation, Server, Servers, free_port

CAPACITY_TOKENS = 8_000
ADAPTERS = 10
RANK = 8
ROOM = AdapterRoom(slots=4, loaded=ADAPTERS + 2, rank=RANK)
START_S = 1_200.0
"""An engine comes up in a quarter of a minute on a machine that has nothing else to do."""
LOAD_S = 6.0
SLOW = Link("slow", bandwidth_bytes_per_s=1e12, adapter_overhead_s=LOAD_S, prefix_overhead_s=LOAD_S)
"""A load takes so long that a test that sees it on its way has the time to do something about it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("engines").addoption(
        "--engines-json", help="where to write what the contract found of each engine"
    )


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    installation = Installation(engine_timeout_s=START_S)
    missing = installation.missing()
    assert not missing, f"run `make setup` first: {', '.join(map(str, missing))} not found"
    with Servers(installation, Path(tmp_path_factory.mktemp("servers"))) as running:
        yield running


def _engine(servers: Servers, name: str, flavour: Flavour) -> Server:
    engine = servers.start_engine(name, flavour, CAPACITY_TOKENS)
    asyncio.run(servers.engine_is_up(engine))
    return engine


@pytest.fixture(scope="session")
def extended_engine(servers: Servers) -> Server:
    """SGLang with the plugin; room for 8,000 tokens."""
    return _engine(servers, "extended", Flavour.EXTENDED)


@pytest.fixture(scope="session")
def stock_engine(servers: Servers) -> Server:
    """SGLang as it comes, but for what lets it run on a CPU."""
    return _engine(servers, "stock", Flavour.STOCK)


@dataclass(frozen=True)
class MemoryEngine:
    server: Server
    adapters: Mapping[AdapterName, str]
    """Where each of `ad-0`, `ad-1`, ... lies; the engine does not know them yet."""


@pytest.fixture(scope="session")
def adapter_paths(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Mapping[AdapterName, str]:
    """Where each of `ad-0`, `ad-1`, ... lies."""
    folder = tmp_path_factory.mktemp("adapters")
    made = make_adapters(servers.installation, folder, count=ADAPTERS, rank=RANK, seed=1)
    return {AdapterName(path.name): str(path) for path in made}


@pytest.fixture(scope="session")
def memory_engine(servers: Servers, adapter_paths: Mapping[AdapterName, str]) -> MemoryEngine:
    """SGLang with the plugin, a host tier of three times its 8,000 tokens, and four slots for ten adapters."""
    build = EngineBuild(Flavour.EXTENDED, host_tier=True, adapters=ROOM)
    server = servers.start_engine("memory", build, CAPACITY_TOKENS)
    asyncio.run(servers.engine_is_up(server))
    return MemoryEngine(server, adapter_paths)


@dataclass
class MortalEngine:
    """An engine that a test may kill and start again at the same address."""

    servers: Servers
    build: EngineBuild
    port: int = field(default_factory=free_port)
    server: Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        installation = self.servers.installation
        self.server = self.servers.spawn(
            "mortal",
            installation.engine_command(self.build, self.port, CAPACITY_TOKENS),
            installation.engine_environment(self.build),
            self.url,
        )
        await self.servers.engine_is_up(self.server)

    def kill(self) -> None:
        """SIGKILL to the whole process group, as if the machine's memory had run out."""
        assert self.server is not None
        os.killpg(self.server.process.pid, signal.SIGKILL)
        self.servers.stop(self.server)


def _mortal(servers: Servers, build: EngineBuild) -> Iterator[MortalEngine]:
    engine = MortalEngine(servers, build)
    yield engine
    if engine.server is not None:
        servers.stop(engine.server)


@pytest.fixture
def mortal_engine(servers: Servers) -> Iterator[MortalEngine]:
    yield from _mortal(servers, EngineBuild(Flavour.EXTENDED))


@pytest.fixture
def mortal_memory_engine(servers: Servers) -> Iterator[MortalEngine]:
    """As `memory_engine`, with a slow link between host memory and device."""
    yield from _mortal(servers, EngineBuild(Flavour.EXTENDED, host_tier=True, adapters=ROOM, link=SLOW))

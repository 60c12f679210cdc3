"""The contract of all engines on the programs themselves: SGLang without and with the plugin, llama.cpp, vLLM. Where each is told apart by
what it answers, as in the proxy."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from scalesim.engine_adapters.any_engine import AnyEngine
from scalesim.engine_adapters.base import Fence
from scalesim.engine_adapters.control_calls import ControlCalls
from scalesim.proxy.core.model import AdapterName, EngineId
from scalesim.workloads.servers import Server, Servers
from tests.engine_adapters.any_contract import AnyBench, AnyContract
from tests.engine_adapters.bench import client_of
from tests.engine_adapters.capability_table import Row

from . import other_engines
from .conftest import MemoryEngine

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

Running = Callable[[httpx.AsyncClient], Awaitable[int]]
WORDS = {"sglang": 940, "llama.cpp": 60, "vllm": 300}
"""Of a prompt. Of SGLang's, eight fill its cache of 8,000 tokens; vLLM keeps whole blocks, of 128 tokens on a CPU."""
FITS = {"sglang": 8, "llama.cpp": other_engines.SLOTS, "vllm": 4}


class Found:
    """What was shown of each engine."""

    def __init__(self) -> None:
        self.engines: dict[str, dict[str, str]] = {}

    def of(self, engine: str) -> Callable[[Row, str], None]:
        shown = self.engines.setdefault(engine, {})

        def show(row: Row, value: str) -> None:
            if value != "not tried" or row not in shown:
                shown[row] = value

        return show


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest) -> Iterator[Found]:
    """Written where `--engines-json` says; of engines that were not run this time, what stands there stays."""
    seen = Found()
    yield seen
    told = request.config.getoption("--engines-json", default=None)
    if told:
        path = Path(told)
        before = json.loads(path.read_text())["engines"] if path.exists() else {}
        engines = {**before, **{name: shown for name, shown in seen.engines.items() if shown}}
        path.write_text(json.dumps({"engines": engines}, indent=2) + "\n")


async def _sglang_running(client: httpx.AsyncClient) -> int:
    return _gauge((await client.get("/metrics")).text, "sglang:num_running_reqs")


async def _vllm_running(client: httpx.AsyncClient) -> int:
    return _gauge((await client.get("/metrics")).text, "vllm:num_requests_running")


async def _llama_cpp_running(client: httpx.AsyncClient) -> int:
    return sum(slot["is_processing"] for slot in (await client.get("/slots")).json())


def _gauge(metrics: str, name: str) -> int:
    return round(sum(map(float, re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", metrics, re.MULTILINE))))


RUNNING: Mapping[str, Running] = {
    "sglang": _sglang_running,
    "vllm": _vllm_running,
    "llama.cpp": _llama_cpp_running,
}


@asynccontextmanager
async def _bench(
    server: Server, shown: Callable[[Row, str], None], adapters: Mapping[AdapterName, str] | None = None
) -> AsyncIterator[AnyBench]:
    async with client_of(server.url) as client:
        adapter = AnyEngine(ControlCalls(EngineId("tried"), server.url, client, deadline_s=60.0))
        known = await adapter.probe()
        cards = [card for card in await adapter.models() if isinstance(card, dict) and not card.get("parent")]
        kind = known.kind
        bench = AnyBench(
            adapter,
            client,
            known,
            str(cards[0]["id"]),
            FITS[kind],
            WORDS[kind],
            lambda: RUNNING[kind](client),
            shown,
            dict(adapters or {}),
        )
        if known.extended:
            fence = (await client.get("/scalesim/v1/stats")).json()["fence"] if kind == "sglang" else [0]
            bench.fence = Fence(fence[0] + 1, 0)
        yield bench


@pytest.mark.engine
class TestStockSGLang(AnyContract):
    @pytest.fixture
    async def bench(self, stock_engine: Server, found: Found) -> AsyncIterator[AnyBench]:
        async with _bench(stock_engine, found.of("SGLang, stock")) as bench:
            yield bench


@pytest.mark.engine
class TestSGLangWithThePlugin(AnyContract):
    @pytest.fixture
    async def bench(self, memory_engine: MemoryEngine, found: Found) -> AsyncIterator[AnyBench]:
        async with _bench(
            memory_engine.server, found.of("SGLang with the plugin"), memory_engine.adapters
        ) as bench:
            await bench.client.post("/flush_cache")
            yield bench


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with other_engines.other_servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture(scope="module")
def llama_cpp(others: Servers, tmp_path_factory: pytest.TempPathFactory) -> Server:
    server = other_engines.start_llama_cpp(others, tmp_path_factory.mktemp("slots"))
    asyncio.run(others.engine_is_up(server))
    return server


@pytest.fixture(scope="module")
def llama_cpp_with_adapters(others: Servers, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("adapters")
    made = [other_engines.adapter(folder, name, seed) for seed, name in enumerate(("poet", "cook"))]
    server = other_engines.start_llama_cpp(others, tmp_path_factory.mktemp("slots"), made)
    asyncio.run(others.engine_is_up(server))
    return server


@pytest.fixture(scope="module")
def vllm(others: Servers) -> Server:
    server = other_engines.start_vllm(others)
    asyncio.run(others.engine_is_up(server))
    return server


@pytest.mark.others
class TestLlamaCpp(AnyContract):
    @pytest.fixture
    async def bench(self, llama_cpp: Server, found: Found) -> AsyncIterator[AnyBench]:
        async with _bench(llama_cpp, found.of("llama.cpp")) as bench:
            yield bench


@pytest.mark.others
class TestLlamaCppWithAdapters(AnyContract):
    @pytest.fixture
    async def bench(self, llama_cpp_with_adapters: Server, found: Found) -> AsyncIterator[AnyBench]:
        paths = dict.fromkeys([AdapterName("poet"), AdapterName("cook")], "")
        async with _bench(llama_cpp_with_adapters, found.of("llama.cpp with adapters"), paths) as bench:
            yield bench


@pytest.mark.others
class TestVLLM(AnyContract):
    @pytest.fixture
    async def bench(
        self, vllm: Server, found: Found, adapter_paths: Mapping[AdapterName, str]
    ) -> AsyncIterator[AnyBench]:
        async with _bench(vllm, found.of("vLLM"), adapter_paths) as bench:
            yield bench

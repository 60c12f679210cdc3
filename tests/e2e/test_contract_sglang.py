"""The contract on SGLang itself, extended and stock, and one recorded sequence on it and on the emulated engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import httpx
import pytest

from scalesim.engine_adapters.control_calls import ControlCalls
from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.engine_adapters.emulated.cache import TRIM_TOKENS
from scalesim.engine_adapters.sglang import SGLangAdapter
from scalesim.proxy.core.model import AdapterName, EngineId
from scalesim.workloads.servers import Server
from tests.engine_adapters.bench import Bench, bench_on, client_of
from tests.engine_adapters.contract import ExtendedContract, StockContract
from tests.engine_adapters.memory_contract import MemoryBench, MemoryContract, memory_bench_on
from tests.engine_adapters.sequence import differences, record, replay

from .conftest import CAPACITY_TOKENS

pytestmark = [pytest.mark.engine, pytest.mark.slow]


class TestExtended(ExtendedContract):
    @pytest.fixture
    async def bench(self, extended_engine: Server) -> AsyncIterator[Bench]:
        async with client_of(extended_engine.url) as client:
            yield await bench_on(
                SGLangAdapter(ControlCalls(EngineId("sglang"), extended_engine.url, client)), client
            )


class MemoryEngine(Protocol):
    """What the fixture `memory_engine` yields: SGLang with a host tier and LoRA, and where its adapters lie."""

    @property
    def server(self) -> Server: ...

    @property
    def adapters(self) -> Mapping[AdapterName, str]: ...


class TestMemory(MemoryContract):
    @pytest.fixture
    async def bench(self, memory_engine: MemoryEngine) -> AsyncIterator[MemoryBench]:
        url = memory_engine.server.url
        async with client_of(url) as client:
            adapter = SGLangAdapter(ControlCalls(EngineId("memory"), url, client))
            yield await memory_bench_on(adapter, client, memory_engine.adapters)


class TestStock(StockContract):
    @pytest.fixture
    async def bench(self, stock_engine: Server) -> AsyncIterator[Bench]:
        async with client_of(stock_engine.url) as client:
            yield await bench_on(
                SGLangAdapter(ControlCalls(EngineId("stock"), stock_engine.url, client)), client
            )


@pytest.mark.anyio
async def test_the_emulated_engine_hits_and_evicts_as_sglang_does(extended_engine: Server) -> None:
    steps = record(seed=1, capacity_tokens=CAPACITY_TOKENS)
    emulated = EmulatedEngine(capacity_tokens=CAPACITY_TOKENS, beat_interval_s=None)
    transport = httpx.ASGITransport(emulated.app)
    async with (
        client_of(extended_engine.url) as real,
        httpx.AsyncClient(transport=transport, base_url="http://emulated") as small,
    ):
        await bench_on(SGLangAdapter(ControlCalls(EngineId("sglang"), extended_engine.url, real)), real)
        seen = await replay(steps, real)
        expected = await replay(steps, small)
    # The last victim of an eviction is cut in grains of so many tokens.
    assert differences(steps, expected, seen, within=TRIM_TOKENS) == []
    assert sum(seen) == pytest.approx(sum(expected), rel=0.02)

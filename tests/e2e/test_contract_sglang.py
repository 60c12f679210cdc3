"""The contract on SGLang itself, extended and stock, and one recorded sequence on it and on the emulated engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.engine_adapters.emulated.cache import TRIM_TOKENS
from scalesim.engine_adapters.sglang import SGLangAdapter
from scalesim.proxy.core.model import EngineId
from scalesim.workloads.servers import Server
from tests.engine_adapters.contract import Bench, ExtendedContract, StockContract, bench_on, client_of
from tests.engine_adapters.sequence import differences, record, replay

from .conftest import CAPACITY_TOKENS

pytestmark = [pytest.mark.engine, pytest.mark.slow]


class TestExtended(ExtendedContract):
    @pytest.fixture
    async def bench(self, extended_engine: Server) -> AsyncIterator[Bench]:
        async with client_of(extended_engine.url) as client:
            yield await bench_on(SGLangAdapter(EngineId("sglang"), extended_engine.url, client), client)


class TestStock(StockContract):
    @pytest.fixture
    async def bench(self, stock_engine: Server) -> AsyncIterator[Bench]:
        async with client_of(stock_engine.url) as client:
            yield await bench_on(SGLangAdapter(EngineId("stock"), stock_engine.url, client), client)


@pytest.mark.anyio
async def test_the_emulated_engine_hits_and_evicts_as_sglang_does(extended_engine: Server) -> None:
    steps = record(seed=1, capacity_tokens=CAPACITY_TOKENS)
    emulated = EmulatedEngine(capacity_tokens=CAPACITY_TOKENS, beat_interval_s=None)
    transport = httpx.ASGITransport(emulated.app)
    async with (
        client_of(extended_engine.url) as real,
        httpx.AsyncClient(transport=transport, base_url="http://emulated") as small,
    ):
        await bench_on(SGLangAdapter(EngineId("sglang"), extended_engine.url, real), real)
        seen = await replay(steps, real)
        expected = await replay(steps, small)
    # The last victim of an eviction is cut in grains of so many tokens.
    assert differences(steps, expected, seen, within=TRIM_TOKENS) == []
    assert sum(seen) == pytest.approx(sum(expected), rel=0.02)

"""The contract on the emulated engine, extended, extended with a key, and stock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scalesim.engine_adapters.base import EngineRefused, Fence
from scalesim.engine_adapters.control_calls import ControlCalls
from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.engine_adapters.sglang import SGLangAdapter
from scalesim.proxy.core.actions import Renew
from scalesim.proxy.core.model import EngineId
from tests.engine_adapters.bench import Bench, bench_on, client_of
from tests.engine_adapters.contract import ExtendedContract, StockContract
from tests.engine_adapters.memory_contract import (
    ADAPTERS,
    MemoryBench,
    MemoryContract,
    adapters,
    memory_bench_on,
)
from tests.support.serve import serve

CAPACITY_TOKENS = 6_000
KEY = "secret-of-the-engine"
DECODE_S_PER_TOKEN = 0.001
"""So that a long answer lasts long enough to be aborted."""


@pytest.mark.anyio
class TestExtended(ExtendedContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[Bench]:
        engine = EmulatedEngine(
            capacity_tokens=CAPACITY_TOKENS, decode_s_per_token=DECODE_S_PER_TOKEN, beat_interval_s=None
        )
        async with serve(engine.app) as url, client_of(url) as client:
            yield await bench_on(
                SGLangAdapter(ControlCalls(EngineId("emulated"), url, client)), client, engine.beat
            )


@pytest.mark.anyio
class TestMemory(MemoryContract):
    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[MemoryBench]:
        engine = EmulatedEngine(
            capacity_tokens=CAPACITY_TOKENS,
            host_tokens=3 * CAPACITY_TOKENS,
            adapter_slots=4,
            host_adapters=ADAPTERS + 2,
            beat_interval_s=None,
        )
        paths = {name: tmp_path / name for name in adapters(ADAPTERS)}
        for path in paths.values():
            path.mkdir()
        async with serve(engine.app) as url, client_of(url) as client:
            adapter = SGLangAdapter(ControlCalls(EngineId("emulated"), url, client))
            told = {name: str(path) for name, path in paths.items()}
            yield await memory_bench_on(adapter, client, told, engine.beat)


@pytest.mark.anyio
class TestStock(StockContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[Bench]:
        engine = EmulatedEngine(
            capacity_tokens=CAPACITY_TOKENS, decode_s_per_token=DECODE_S_PER_TOKEN, extended=False
        )
        async with serve(engine.app) as url, client_of(url) as client:
            yield await bench_on(SGLangAdapter(ControlCalls(EngineId("stock"), url, client)), client)


@pytest.mark.anyio
class TestKeys:
    @pytest.fixture
    async def url(self) -> AsyncIterator[str]:
        async with serve(EmulatedEngine(api_key=KEY).app) as url:
            yield url

    async def test_with_the_key_everything_works(self, url: str) -> None:
        async with client_of(url) as client:
            adapter = SGLangAdapter(ControlCalls(EngineId("locked"), url, client, api_key=KEY))
            assert (await adapter.probe()).extended
            await adapter.carry_out(Renew(EngineId("locked")), Fence(1, 1))
            await adapter.abort("nobody")

    @pytest.mark.parametrize("key", [None, "wrong"])
    async def test_without_it_the_engine_is_of_no_use_and_says_so(self, url: str, key: str | None) -> None:
        async with client_of(url) as client:
            adapter = SGLangAdapter(ControlCalls(EngineId("locked"), url, client, api_key=key))
            with pytest.raises(EngineRefused, match="401"):
                await adapter.carry_out(Renew(EngineId("locked")), Fence(1, 1))
            known = await adapter.probe()
            assert not known.extended
            assert known.features == frozenset()
            assert "key" in known.reason


@pytest.mark.anyio
async def test_a_restarted_engine_has_another_boot_id() -> None:
    for extended in (True, False):
        boots = set()
        for _ in range(2):
            engine = EmulatedEngine(extended=extended)
            async with serve(engine.app) as url, client_of(url) as client:
                boots.add((await SGLangAdapter(ControlCalls(EngineId("e"), url, client)).probe()).boot_id)
        assert len(boots) == 2

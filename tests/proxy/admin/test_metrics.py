from __future__ import annotations

import asyncio
import re

import pytest

from scalesim.proxy.core.model import EngineReport
from tests.support.patience import PATIENCE_S

from .conftest import Proxy

pytestmark = pytest.mark.anyio


async def test_metrics_are_written_for_prometheus(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    proxy.call(town, "Ann", prompt=300, cached=275)
    answer = await proxy.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert f'scalesim_calls_total{{simulation="{town}"}} 2' in lines
    assert f'scalesim_prompt_tokens_total{{simulation="{town}"}} 400' in lines
    assert f'scalesim_cached_tokens_total{{simulation="{town}"}} 300' in lines
    assert f'scalesim_resting{{simulation="{town}"}} 0' in lines
    assert 'scalesim_engine_up{engine="fake"} 1' in lines
    sample = re.compile(r'[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+-]+')
    assert all(line.startswith("# ") or sample.fullmatch(line) for line in lines)
    assert "Ann" not in answer.text


async def test_metrics_tell_what_the_guard_has_seen(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    proxy.call(town, "Ann")
    (known,) = proxy.controller.engines()
    assert known.guard is not None
    lines = (await proxy.client.get("/metrics")).text.splitlines()
    assert 'scalesim_guard_distance_in_charge{engine="fake"} 1' in lines
    assert f'scalesim_guard_calls_total{{engine="fake"}} {known.guard.calls}' in lines
    assert 'scalesim_guard_switches_total{engine="fake"} 0' in lines
    for cache in ("lru", "distance", "guarded"):
        hits = f'scalesim_guard_hits_total{{engine="fake",cache="{cache}"}} {known.guard.hits_lru}'
        assert hits in lines
    assert 'scalesim_table_entries{table="guard_memories"} ' in "\n".join(lines)


async def test_metrics_name_what_the_engine_reported(proxy: Proxy) -> None:
    proxy.adapter.next_report = EngineReport("boot-1", True, frozenset(), 120, 900)
    async with asyncio.timeout(PATIENCE_S):
        while proxy.runtime.engines()[0].report is None:
            await proxy.client.get("/health")
    text = (await proxy.client.get("/metrics")).text
    proxy.adapter.next_report = None
    assert 'scalesim_engine_pinned_tokens{engine="fake"} 120' in text
    assert 'scalesim_engine_capacity_tokens{engine="fake"} 900' in text

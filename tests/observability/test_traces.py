"""Traces from the client through the proxy to the engine, as a collector gets them."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.app import running
from scalesim.proxy.settings import Settings
from scalesim.proxy.span import Agents
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve as served

from .collector import Collector, Seen, TracingEngine

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
NOT_SAMPLED = f"00-{TRACE}-{PARENT}-00"


def is_sampled(traceparent: str) -> bool:
    """By the lowest of its flags; others may be set."""
    return bool(int(traceparent.rpartition("-")[2], 16) & 1)


@dataclass
class Traced:
    collector: Collector
    engine: TracingEngine
    client: httpx.AsyncClient
    data: str
    admin: str

    async def call(self, traceparent: str | None = None, **body: Any) -> httpx.Response:
        headers = {"x-agent-id": "Ann Sullivan", "x-simulation-id": "town", "x-request-id": "mine-1"}
        if traceparent is not None:
            headers |= {"traceparent": traceparent, "tracestate": "vendor=1"}
        message = {"role": "user", "content": "a secret prompt " * 20}
        return await self.client.post(
            f"{self.data}/v1/chat/completions",
            json={"model": "emulated", "messages": [message], "max_tokens": 4, **body},
            headers=headers,
        )

    async def until_ready(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (await self.client.get(f"{self.admin}/ready")).status_code != 200:
                pass

    async def spans(self, *services: str) -> dict[str, Seen]:
        """By service, once one of each is there."""
        await self.collector.until(lambda spans: {one.service for one in spans} >= set(services))
        return {one.service: one for one in self.collector.spans}

    async def metrics(self) -> str:
        return (await self.client.get(f"{self.admin}/metrics")).text


@asynccontextmanager
async def traced(endpoint: str | None = "", **options: Any) -> AsyncIterator[Traced]:
    """`endpoint`: None for no traces, empty for the collector's own."""
    collector, emulated = Collector(), EmulatedEngine()
    async with (
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client,
        served(collector) as collector_url,
    ):
        engine = TracingEngine(emulated.app, collector_url)
        try:
            async with (
                served(engine) as url,
                running(
                    Settings(
                        engine=url,
                        port=0,
                        admin_port=0,
                        otlp_endpoint=f"{collector_url}/v1/traces" if endpoint == "" else endpoint,
                        **options,
                    )
                ) as addresses,
            ):
                traced = Traced(collector, engine, client, addresses.data, addresses.admin)
                await traced.until_ready()
                yield traced
        finally:
            await engine.close()


async def test_the_spans_of_client_proxy_and_engine_are_one_trace() -> None:
    async with traced() as t:
        await t.call(SAMPLED, stream=True, stream_options={"include_usage": True})
        spans = await t.spans("scalesim", "engine")
        ours, its = spans["scalesim"], spans["engine"]
    assert {ours.trace_id, its.trace_id} == {TRACE}
    assert ours.parent_id == PARENT
    assert its.parent_id == ours.span_id
    assert t.engine.headers["tracestate"] == "vendor=1"


async def test_a_span_says_what_became_of_its_call_and_nothing_of_its_prompt() -> None:
    async with traced() as t:
        await t.call(stream=True, temperature=0.5, stream_options={"include_usage": True})
        ours = (await t.spans("scalesim"))["scalesim"]
        port = int(t.engine.headers["host"].rpartition(":")[2])
    told = dict(ours.attributes)
    agent = told.pop("scalesim.agent")
    assert isinstance(agent, str)
    assert len(agent) == 16
    assert told.pop("gen_ai.usage.input_tokens") > 0  # type: ignore[operator]
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "emulated",
        "gen_ai.request.model": "emulated",
        "gen_ai.request.max_tokens": 4,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.stream": True,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "http.response.status_code": 200,
        "scalesim.engine": "engine-0",
        "scalesim.request_id": "mine-1",
        "scalesim.simulation": "town",
        "server.address": "127.0.0.1",
        "server.port": port,
    }
    assert ours.name == "chat emulated"
    assert ours.events == ("scalesim.recognised", "scalesim.placed", "scalesim.sent", "scalesim.first_token")
    assert not ours.failed
    assert "secret" not in repr(t.collector.spans)
    assert "Ann" not in repr(t.collector.spans)


async def test_agents_are_named_only_where_the_operator_wants_it() -> None:
    async with traced(otlp_agents=Agents.NAMED) as t:
        await t.call()
        assert (await t.spans("scalesim"))["scalesim"].attributes["gen_ai.agent.name"] == "Ann Sullivan"
    async with traced(otlp_agents=Agents.OFF) as t:
        await t.call()
        told = (await t.spans("scalesim"))["scalesim"].attributes
        assert not {"gen_ai.agent.name", "scalesim.agent"} & told.keys()


async def test_a_call_that_the_engine_refuses_is_a_failed_span() -> None:
    async with traced() as t:
        await t.call(max_tokens=-1)
        ours = (await t.spans("scalesim"))["scalesim"]
    assert ours.failed
    assert ours.attributes["error.type"] == "400"


async def test_who_is_not_drawn_makes_no_span_and_its_engine_is_told_so() -> None:
    async with traced(otlp_sample=0.0) as t:
        await t.call()
        assert not is_sampled(t.engine.headers["traceparent"])
        await t.call(NOT_SAMPLED)
        assert t.engine.headers["traceparent"].split("-")[1] == TRACE
        assert not is_sampled(t.engine.headers["traceparent"])
        await t.call(SAMPLED)  # its client has decided
        spans = await t.spans("scalesim", "engine")
    assert [one.trace_id for one in t.collector.spans] == [TRACE] * 2
    assert spans["scalesim"].parent_id == PARENT


async def test_a_context_that_makes_no_sense_begins_a_new_trace() -> None:
    async with traced() as t:
        await t.call("00-nonsense")
        ours = (await t.spans("scalesim"))["scalesim"]
    assert ours.parent_id == ""
    assert t.engine.headers["traceparent"].split("-")[1:3] == [ours.trace_id, ours.span_id]


async def test_without_traces_the_clients_context_goes_through_as_it_is() -> None:
    async with traced(None) as t:
        await t.call(SAMPLED)
        assert t.engine.headers["traceparent"] == SAMPLED
        assert t.engine.headers["tracestate"] == "vendor=1"
        assert "scalesim_spans_total" not in await t.metrics()


async def test_a_collector_that_is_not_there_costs_spans_alone_and_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    caplog.set_level(logging.INFO)
    began = time.monotonic()
    async with traced(f"http://127.0.0.1:{port}/v1/traces") as t:
        for _ in range(3):
            assert (await t.call()).status_code == 200
            lost = f'scalesim_spans_total{{result="lost"}} {_ + 1}'
            async with asyncio.timeout(PATIENCE_S):
                while lost not in await t.metrics():
                    pass
    assert time.monotonic() - began < 3 * PATIENCE_S
    told = [one for one in caplog.records if "collector of traces" in one.getMessage()]
    assert len(told) == 1
    assert "takes no spans" in told[0].getMessage()
    assert not [one for one in caplog.records if one.name.startswith("opentelemetry")]


async def test_a_collector_that_comes_back_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with traced() as t:
        t.collector.status = 400
        await t.call()
        async with asyncio.timeout(PATIENCE_S):
            while 'scalesim_spans_total{result="lost"} 1' not in await t.metrics():
                pass
        t.collector.status = 200
        await t.call()
        await t.spans("scalesim")
        async with asyncio.timeout(PATIENCE_S):
            while 'scalesim_spans_total{result="exported"} 1' not in await t.metrics():
                pass
    told = [one.getMessage() for one in caplog.records if "collector of traces" in one.getMessage()]
    assert len(told) == 2
    assert "takes spans again" in told[1]


async def test_a_collector_that_hangs_does_not_keep_the_proxy_from_ending() -> None:
    asked = asyncio.Event()

    async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked.set()
            while (await receive())["type"] != "http.disconnect":
                pass

    async with served(hangs) as url:
        async with traced(f"{url}/v1/traces") as t:
            await t.call()
            await asyncio.wait_for(asked.wait(), PATIENCE_S)
            began = time.monotonic()
        assert time.monotonic() - began < PATIENCE_S / 2


def test_whoever_does_not_trace_does_not_import_what_traces_need() -> None:
    code = (
        "import sys, scalesim.proxy.app, scalesim.proxy.__main__; "
        "sys.exit(any(name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

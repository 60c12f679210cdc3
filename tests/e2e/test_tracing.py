"""The spans of SGLang itself are joined to ours. `make engine-tracing` fetches what SGLang needs for that."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from scalesim.proxy.app import running
from scalesim.proxy.settings import Settings
from scalesim.workloads.builds import EngineBuild
from scalesim.workloads.servers import Flavour, Servers, free_port
from tests.observability.collector import Collector
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve as served

from .conftest import CAPACITY_TOKENS

PACKAGES = Path(__file__).parent.parent.parent / ".engine-tracing"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

pytestmark = [
    *(pytest.mark.engine, pytest.mark.slow, pytest.mark.anyio),
    pytest.mark.skipif(
        not PACKAGES.exists(), reason="SGLang has nothing to trace with: `make engine-tracing`"
    ),
]


async def test_the_spans_of_sglang_are_children_of_ours(servers: Servers) -> None:
    collector, port = Collector(), free_port()
    installation, build = servers.installation, EngineBuild(Flavour.EXTENDED)
    async with (
        served(collector) as collector_url,
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client,
    ):
        endpoint = f"{collector_url}/v1/traces"
        engine = servers.spawn(
            "tracing",
            [
                *installation.engine_command(build, port, CAPACITY_TOKENS),
                *("--enable-trace", "--otlp-traces-endpoint", endpoint),
            ],
            {
                **installation.engine_environment(build),
                "PYTHONPATH": str(PACKAGES),
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            f"http://{installation.host}:{port}",
        )
        try:
            await servers.engine_is_up(engine)
            settings = Settings(engine=engine.url, port=0, admin_port=0, otlp_endpoint=endpoint)
            async with running(settings) as addresses, asyncio.timeout(10 * PATIENCE_S):
                while (await client.get(f"{addresses.admin}/ready")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
                answer = await client.post(
                    f"{addresses.data}/v1/chat/completions",
                    json={"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4},
                    headers={"x-agent-id": "Ann", "traceparent": f"00-{TRACE}-{PARENT}-01"},
                )
                assert answer.status_code == 200
                await collector.until(
                    lambda spans: (
                        {"scalesim", "sglang"} <= {one.service for one in spans if one.trace_id == TRACE}
                    )
                )
        finally:
            servers.stop(engine)
    joined = [one for one in collector.spans if one.trace_id == TRACE]
    (ours,) = [one for one in joined if one.service == "scalesim"]
    assert ours.parent_id == PARENT
    assert ours.attributes["gen_ai.provider.name"] == "sglang"
    known = {one.span_id for one in joined}
    assert any(one.parent_id == ours.span_id for one in joined if one.service == "sglang")
    assert all(one.parent_id in known for one in joined if one is not ours)

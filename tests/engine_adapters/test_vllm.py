"""What the adapter sends vLLM, and what it makes of its answers. The rest is the contract's."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.base import AdapterNameTaken, EngineRefused, EngineUnreachable, Fence
from scalesim.engine_adapters.control_calls import ControlCalls
from scalesim.engine_adapters.vllm import VLLMAdapter
from scalesim.proxy.core.actions import DropAdapter, FetchAdapter, Order
from scalesim.proxy.core.model import AdapterName, EngineId

ENGINE = EngineId("e1")
CHAT = "/v1/chat/completions"
POET = AdapterName("poet")
FENCE = Fence(1, 1)
METRICS = """# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.
process_start_time_seconds 1.79544456191e+09
vllm:num_requests_running{engine="0",model_name="small"} 0.0
vllm:cache_config_info{_block_size_resolved="True",block_size="128",engine="0",num_gpu_blocks="50"} 1.0
"""

pytestmark = pytest.mark.anyio


class VLLM:
    """As far as control calls go. Its attributes are the test's levers."""

    def __init__(self) -> None:
        self.metrics = METRICS
        self.adapters: dict[str, str] = {}
        self.takes_adapters = True
        self.status: int | None = None

    def adapter(self) -> VLLMAdapter:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return VLLMAdapter(ControlCalls(ENGINE, "http://engine:8000/", client))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if self.status is not None:
            return httpx.Response(self.status, json={"error": {"message": "no"}})
        if path == "/version":
            return httpx.Response(200, json={"version": "0.32.0"})
        if path == "/metrics":
            return httpx.Response(200, text=self.metrics)
        if path == "/v1/models":
            cards = [{"id": name, "root": root, "parent": "small"} for name, root in self.adapters.items()]
            return httpx.Response(200, json={"data": [{"id": "small", "parent": None}, *cards]})
        if self.takes_adapters and path.endswith("_lora_adapter"):
            return self._change(path, json.loads(request.content))
        return httpx.Response(404, json={"detail": "Not Found"})

    def _change(self, path: str, body: dict[str, Any]) -> httpx.Response:
        name = body["lora_name"]
        if not name:
            return httpx.Response(400, json={"error": {"message": "must be provided"}})
        if "unload" in path:
            del self.adapters[name]
        elif body["lora_path"] == "/broken":
            return httpx.Response(500, json={"error": {"message": "rank 64 is too large"}})
        else:
            self.adapters[name] = body["lora_path"]
        return httpx.Response(200, text="Success")


async def test_a_probe_tells_what_it_was_started_with() -> None:
    server = VLLM()
    known = await server.adapter().probe()
    assert (known.kind, known.version, known.capacity_tokens) == ("vllm", "0.32.0", 6400)
    assert (known.extended, known.features) == (False, {"fetch_adapters"})
    assert "recency" in known.reason
    assert known.boot_id
    server.takes_adapters = False
    assert (await server.adapter().probe()).features == frozenset()
    server.metrics = METRICS.replace("1.79", "1.80")
    assert (await server.adapter().probe()).boot_id != known.boot_id


async def test_what_is_no_vllm_or_refuses_the_key_is_of_no_use() -> None:
    server = VLLM()
    for status, why in ((401, "key"), (404, "vLLM")):
        server.status = status
        known = await server.adapter().probe()
        assert known.kind == "unknown"
        assert why in known.reason
    server.status = 503
    with pytest.raises(EngineUnreachable):
        await server.adapter().probe()
    server.status, server.metrics = None, ""
    assert (await server.adapter().probe()).kind == "unknown"


async def test_an_adapter_is_fetched_once_and_dropped_once() -> None:
    server = VLLM()
    adapter = server.adapter()
    await adapter.probe()
    for _ in range(2):
        await adapter.carry_out(FetchAdapter(ENGINE, POET, "/a/poet"), FENCE)
    assert server.adapters == {"poet": "/a/poet"}
    with pytest.raises(AdapterNameTaken):
        await adapter.carry_out(FetchAdapter(ENGINE, POET, "/another"), FENCE)
    for _ in range(2):
        await adapter.carry_out(DropAdapter(ENGINE, POET), FENCE)
    assert server.adapters == {}


async def test_an_adapter_that_it_cannot_load_is_no_fault_of_the_engine() -> None:
    adapter = VLLM().adapter()
    await adapter.probe()
    with pytest.raises(EngineRefused, match="rank 64"):
        await adapter.carry_out(FetchAdapter(ENGINE, POET, "/broken"), FENCE)


async def test_what_it_cannot_do_is_refused_with_the_reason() -> None:
    server = VLLM()
    server.takes_adapters = False
    adapter = server.adapter()
    await adapter.probe()
    for action in (Order(ENGINE, ()), FetchAdapter(ENGINE, POET, "/a"), DropAdapter(ENGINE, POET)):
        with pytest.raises(EngineRefused):
            await adapter.carry_out(action, FENCE)
    with pytest.raises(EngineRefused):
        await adapter.report()


async def test_an_adapter_is_asked_for_in_place_of_the_model() -> None:
    server = VLLM()
    server.adapters = {"poet": "/a", "cook": "/b"}
    adapter = server.adapter()
    await adapter.probe()
    for asked, assigned, sent in (
        ({"model": "small"}, POET, {"model": "poet"}),
        ({"model": "small:poet"}, None, {"model": "poet"}),
        ({"model": "cook"}, POET, {}),
        ({"model": "small"}, AdapterName("nobody"), {"model": "nobody"}),  # refused, not answered without it
        ({"model": "small:unknown"}, POET, {}),
        ({"model": "small"}, None, {}),
        ({}, POET, {"model": "poet"}),
    ):
        assert adapter.additions(CHAT, asked, None, "r", assigned) == sent, asked
    assert adapter.additions("/v1/embeddings", {"model": "small"}, None, "r", POET) == {}
    assert adapter.adapter_of(CHAT, {"model": "poet"}) == "poet"
    assert adapter.adapter_of(CHAT, {"model": "small"}) is None

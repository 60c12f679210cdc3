"""LoRA over HTTP, where the contract of adapters does not look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def near(engine: EmulatedEngine, *names: str) -> AsyncIterator[httpx.AsyncClient]:
    """Adapters of these names are loaded, each from a place of its own."""
    transport = httpx.ASGITransport(engine.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://emulated") as client:
        for name in names:
            await told(client, "load", name, f"hub/{name}")
        yield client


async def told(client: httpx.AsyncClient, what: str, name: str, path: str = "") -> dict[str, Any]:
    body = {"lora_name": name, **({"lora_path": path} if path else {})}
    answer = await client.post(f"/{what}_lora_adapter", json=body)
    payload: dict[str, Any] = answer.json()
    assert (answer.status_code == 200) == payload["success"]
    return payload


async def generate(client: httpx.AsyncClient, **fields: object) -> httpx.Response:
    return await client.post(
        "/generate", json={"text": "hello there", "sampling_params": {"max_new_tokens": 5}, **fields}
    )


async def text(client: httpx.AsyncClient, **fields: object) -> str:
    answer = await generate(client, **fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["text"])


async def test_an_answer_depends_on_the_adapter_s_weights_and_not_on_its_name() -> None:
    async with near(EmulatedEngine(adapter_slots=2), "a", "b") as client:
        await told(client, "load", "a-too", "hub/a")
        base, one, other, same = [await text(client, lora_path=name) for name in (None, "a", "b", "a-too")]
        assert len({base, one, other}) == 3
        assert one == same
    # Neither the slot nor what was cached has a part in it.
    async with near(EmulatedEngine(adapter_slots=1), "b", "a") as client:
        assert [await text(client, lora_path=name) for name in ("b", "a", None)] == [other, one, base]


async def test_a_model_s_name_counts_before_a_lora_path() -> None:
    async with near(EmulatedEngine(adapter_slots=2, model="s3://base"), "a", "b") as client:
        body = {"prompt": "hello there", "max_tokens": 5}
        texts = {}
        for model, path in (("s3://base:a", "b"), ("other:a", None), ("s3://base", "a"), ("other", "b")):
            answer = await client.post("/v1/completions", json={**body, "model": model, "lora_path": path})
            texts[model] = answer.json()["choices"][0]["text"]
        assert texts["s3://base:a"] == texts["other:a"] == texts["s3://base"] != texts["other"]


async def test_known_adapters_are_among_the_models() -> None:
    async with near(EmulatedEngine(adapter_slots=2), "a") as client:
        cards = (await client.get("/v1/models")).json()["data"]
        assert [(card["id"], card["parent"]) for card in cards] == [("emulated", None), ("a", "emulated")]


async def test_beyond_its_host_memory_the_farthest_adapter_leaves_and_a_call_brings_it_back() -> None:
    async with near(EmulatedEngine(adapter_slots=1, host_adapters=2), "a", "b") as client:
        plan = {"fence": [1, 1], "owners": {}, "adapters": {"a": 1.0, "b": 2.0, "c": 3.0}}
        await client.post("/scalesim/v1/plan", json=plan)
        assert (await told(client, "load", "c", "hub/c"))["loaded_adapters"].keys() == {"a", "c"}
        await text(client, lora_path="b")
        stats = (await client.get("/scalesim/v1/stats")).json()
        assert stats["memories"]["lora"].keys() == {"a", "b"}


async def test_an_adapter_is_unloaded_once_no_call_uses_it() -> None:
    engine = EmulatedEngine(adapter_slots=1, decode_s_per_token=0.001)
    async with near(engine, "a") as client:
        call = asyncio.create_task(text(client, lora_path="a"))
        while not engine.scheduler.running:  # noqa: ASYNC110  a few turns of this loop
            await asyncio.sleep(0)
        stats = (await client.get("/scalesim/v1/stats")).json()
        assert stats["running_adapters"] == ["a"]
        unload = asyncio.create_task(told(client, "unload", "a"))
        done, _ = await asyncio.wait({call, unload}, return_when=asyncio.FIRST_COMPLETED)
        assert call in done
        assert (await unload)["success"]
        assert engine.memory.slots is not None
        assert engine.memory.slots.held == {}
        assert engine.cache.nodes == set()


async def test_without_lora_adapters_are_refused() -> None:
    async with near(EmulatedEngine()) as client:
        answer = await generate(client, lora_path="a")
        assert answer.status_code == 400
        assert "not enabled" in answer.text
        for what in ("load", "unload"):
            assert "not enabled" in (await told(client, what, "a", "hub/a"))["error_message"]


@pytest.mark.parametrize(
    "body", [{}, {"lora_name": ""}, {"lora_name": 5, "lora_path": "x"}, {"lora_name": "a"}]
)
async def test_a_load_that_cannot_be_meant_is_refused(body: dict[str, object]) -> None:
    async with near(EmulatedEngine(adapter_slots=1)) as client:
        assert (await client.post("/load_lora_adapter", json=body)).status_code == 400
        assert (await generate(client, lora_path=5)).status_code == 400

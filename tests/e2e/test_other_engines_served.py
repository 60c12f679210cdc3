"""The proxy in front of llama.cpp and vLLM themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

import httpx
import openai
import pytest

from scalesim.proxy.app import running
from scalesim.proxy.core.model import AdapterName, Mode
from scalesim.proxy.settings import Settings
from scalesim.workloads.servers import Server, Servers

from . import other_engines
from .town import PATIENCE_S, Town, until

pytestmark = [pytest.mark.others, pytest.mark.slow, pytest.mark.anyio]
LOADED = 'scalesim_loads_total{kind="kv_prefix",state="loaded"}'
CHARS = 700
"""Of a persona: 150 tokens of SmolLM2, and more than a block of vLLM's."""


@asynccontextmanager
async def served(engine_url: str) -> AsyncIterator[Town]:
    settings = Settings(engine=engine_url, port=0, admin_port=0, mode=Mode.ON, tick_ms=10, probe_every_s=0.2)
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http, running(settings) as addresses:
        here = Town(addresses.data, addresses.admin, engine_url, http)

        async def ready() -> bool:
            return (await http.get(f"{here.admin}/ready")).status_code == 200

        await until(ready)
        (await http.put(f"{here.admin}/admin/v1/simulations/town")).raise_for_status()
        yield here


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with other_engines.other_servers(tmp_path_factory.mktemp("servers")) as started:
        yield started


@pytest.fixture(scope="module")
def llama_cpp(others: Servers, tmp_path_factory: pytest.TempPathFactory) -> Server:
    server = other_engines.start_llama_cpp(others, tmp_path_factory.mktemp("slots"))
    asyncio.run(others.engine_is_up(server))
    return server


async def test_what_calls_next_is_restored_to_a_slot_of_llama_cpp_before_it_calls(llama_cpp: Server) -> None:
    async with served(llama_cpp.url) as here:
        names = [f"agent {number}" for number in range(2 * other_engines.SLOTS)]
        for name in names:
            assert (await here.chat(name, chars=CHARS)).status_code == 200

        async def loaded() -> bool:
            return LOADED in (await here.http.get(f"{here.admin}/metrics")).text

        # Of eight in four slots the first ones are gone, and calling in this order again they would find nothing.
        assert not await loaded()
        distances = {name: place + 1 for place, name in enumerate(names)}
        await here.hint("/distances", {"unit": "steps", "distances": distances})
        await until(loaded)
        assert await here.cached_tokens(names[0], chars=CHARS) > 100


async def test_streams_and_clients_are_served_as_by_llama_cpp_itself(llama_cpp: Server) -> None:
    async with (
        served(llama_cpp.url) as here,
        openai.AsyncOpenAI(
            base_url=f"{here.data}/sim/town/agent/Ann/v1", api_key="none", max_retries=0
        ) as client,
    ):
        model = (await client.models.list()).data[0].id
        messages = here.body("Ann", chars=CHARS)["messages"]
        whole = await client.chat.completions.create(
            model=model, messages=messages, max_tokens=4, temperature=0
        )
        stream = await client.chat.completions.create(
            model=model, messages=messages, max_tokens=4, temperature=0, stream=True
        )
        streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        assert whole.choices[0].message.content == streamed


async def test_an_adapter_that_llama_cpp_was_not_started_with_is_refused_and_not_left_out(
    llama_cpp: Server,
) -> None:
    async with served(llama_cpp.url) as here:
        await _assign(here, "Ann", "poet", "/nowhere")
        answer = await here.chat("Ann", chars=CHARS)
        assert answer.status_code == 400
        assert "lora" in answer.text


async def test_an_agent_s_adapter_is_fetched_by_vllm_before_it_calls(
    others: Servers, adapter_paths: Mapping[AdapterName, str]
) -> None:
    engine = other_engines.start_vllm(others)
    await others.engine_is_up(engine)
    name, path = next(iter(adapter_paths.items()))
    async with served(engine.url) as here:
        await _assign(here, "Ann", name, path)
        cards = (await here.http.get(f"{engine.url}/v1/models")).json()["data"]
        assert [card["id"] for card in cards] == ["small", name]
        answer = await here.chat("Ann", chars=CHARS)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == name
        assert await here.cached_tokens("Ann", chars=CHARS) >= 128
        ben = {**here.body("Ben", chars=CHARS), "model": "small"}
        assert (await here.http.post(f"{here.data}/v1/chat/completions", json=ben)).json()["model"] == "small"


async def _assign(here: Town, agent: str, adapter: str, path: str) -> None:
    (await here.http.put(f"{here.admin}/admin/v1/adapters/{adapter}", json={"path": path})).raise_for_status()
    body = {"agents": {agent: adapter}, "create_agents": True}
    answer = await here.http.put(f"{here.admin}/admin/v1/simulations/town/adapters", json=body)
    answer.raise_for_status()

"""The proxy in front of SGLang itself."""

from __future__ import annotations

import asyncio

import httpx
import openai
import pytest

from scalesim.proxy.core.model import Mode
from scalesim.workloads.servers import Server

from .conftest import CAPACITY_TOKENS, MortalEngine
from .town import Town, town, until

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.anyio]


async def test_an_unmodified_openai_client_is_served_and_its_agent_owns_its_prefix(
    extended_engine: Server,
) -> None:
    async with (
        town(extended_engine.url) as here,
        openai.AsyncOpenAI(
            base_url=f"{here.data}/sim/town/agent/Ann/v1", api_key="none", max_retries=0
        ) as client,
    ):
        model = (await client.models.list()).data[0].id
        messages = here.body("Ann")["messages"]
        whole = await client.chat.completions.create(
            model=model, messages=messages, max_tokens=4, temperature=0
        )
        stream = await client.chat.completions.create(
            model=model, messages=messages, max_tokens=4, temperature=0, stream=True
        )
        streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        assert whole.choices[0].message.content == streamed
        assert list(await here.device_tokens()) == ["town/Ann"]


async def test_of_two_owners_in_one_body_the_appended_one_counts(extended_engine: Server) -> None:
    async with town(extended_engine.url) as here:
        body = {**here.body("Ann"), "session_id": "the client's own"}
        answer = await here.http.post(f"{here.data}/sim/town/agent/Ann/v1/chat/completions", json=body)
        assert answer.status_code == 200
        assert list(await here.device_tokens()) == ["town/Ann"]


async def test_the_engine_s_control_routes_are_closed_to_clients(extended_engine: Server) -> None:
    async with town(extended_engine.url) as here:
        plan = {"fence": [2**62, 1], "owners": {}}
        answer = await here.http.post(f"{here.data}/scalesim/v1/plan", json=plan)
        assert answer.status_code == 403
        assert (await here.stats())["fence"][0] < 2**62


async def test_who_is_said_to_call_last_is_evicted_first_and_the_next_one_stays(
    extended_engine: Server,
) -> None:
    async with town(extended_engine.url) as here:
        names = ["a", "b", "c", "d", "e"]
        for name in names:
            await here.chat(name)
        # Recency would keep e and drop a; the simulation says that a comes next.
        distances = {name: index + 1 for index, name in enumerate(names)}
        await here.hint("/distances", {"unit": "steps", "distances": distances})
        await until(lambda: _plan_has(here, 5))
        await here.chat("f", chars=8_000)
        assert await here.cached_tokens("a") > 1_000
        assert await here.cached_tokens("b") > 1_000
        # Only as much of e went as was needed.
        assert (await here.device_tokens()).get("town/e", 0) < (await here.device_tokens())["town/c"]


async def _plan_has(here: Town, owners: int) -> bool:
    return bool((await here.stats())["plan_owners"] >= owners)


@pytest.mark.parametrize(("mode", "owners"), [(Mode.OFF, []), (Mode.SHADOW, ["town/Ann", "town/Ben"])])
async def test_off_and_shadow_send_no_command_and_shadow_whose_call_it_is(
    extended_engine: Server, mode: Mode, owners: list[str]
) -> None:
    async with town(extended_engine.url, mode) as here:
        before = (await here.stats())["fence"]
        await here.chat("Ann")
        await here.hint("/distances", {"unit": "steps", "distances": {"Ann": 3}})
        await here.chat("Ben")
        assert sorted(await here.device_tokens()) == owners
        assert (await here.stats())["fence"] == before


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_frees_the_engine(extended_engine: Server, stream: bool) -> None:
    async with town(extended_engine.url) as here:
        endless = here.body("Ann", max_tokens=6_000)
        call = asyncio.create_task(
            here.http.post(f"{here.data}/v1/chat/completions", json={**endless, "stream": stream})
        )
        await until(lambda: _busy(here))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        # 6,000 tokens would take minutes.
        await until(lambda: _idle(here), patience_s=10)


async def _busy(here: Town) -> bool:
    return not await _idle(here)


async def _idle(here: Town) -> bool:
    """No token is locked by a running request."""
    stats = await here.stats()
    return bool(stats["available_tokens"] + stats["evictable_tokens"] == CAPACITY_TOKENS)


async def test_a_plan_dies_with_its_proxy(extended_engine: Server) -> None:
    async with town(extended_engine.url) as here:
        await here.chat("Ann")
        await here.hint("/distances", {"unit": "steps", "distances": {"Ann": 3}})
        await until(lambda: _plan_has(here, 1))
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:

        async def aged_out() -> bool:
            return not (await http.get(f"{extended_engine.url}/scalesim/v1/stats")).json()["plan_in_force"]

        await until(aged_out, patience_s=30)


async def test_a_stock_sglang_is_served_and_its_capabilities_say_what_it_lacks(stock_engine: Server) -> None:
    async with town(stock_engine.url) as here:
        assert (await here.chat("Ann")).status_code == 200
        assert await here.cached_tokens("Ann") > 1_000
        engine = (await here.http.get(f"{here.admin}/admin/v1/engines")).json()["engines"][0]
        assert engine["up"] is True
        assert engine["extended"] is False
        assert engine["features"] == ["abort", "warm_up"]
        assert "plugin" in engine["description"]


async def test_a_killed_engine_gives_clean_errors_and_is_used_again_when_it_is_back(
    mortal_engine: MortalEngine,
) -> None:
    await mortal_engine.start()
    async with town(mortal_engine.url) as here:
        await here.chat("Ann")
        long = asyncio.create_task(here.chat("Ben", max_tokens=3_000))
        await until(lambda: _busy(here))
        mortal_engine.kill()
        broken = await long
        assert broken.status_code == 502
        assert "engine-0" in broken.json()["error"]["message"]
        refused = await here.chat("Ann")
        assert refused.status_code in (502, 503)
        assert mortal_engine.url in refused.json()["error"]["message"]
        assert (await here.http.get(f"{here.admin}/health")).status_code == 200

        await mortal_engine.start()
        await until(lambda: _ready_again(here))
        await here.hint("/distances", {"unit": "steps", "distances": {"Ann": 1, "Ben": 2}})
        assert (await here.chat("Ann")).status_code == 200
        assert (await here.chat("Ben")).status_code == 200
        await until(lambda: _plan_has(here, 2))


async def _ready_again(here: Town) -> bool:
    return (await here.http.get(f"{here.admin}/ready")).status_code == 200

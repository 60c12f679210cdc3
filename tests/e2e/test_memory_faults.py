"""What becomes of loads ahead when the engine that does them dies, and of what the proxy believes it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest

from scalesim.proxy.core.model import KV_PREFIX, LORA, AdapterName

from .conftest import CAPACITY_TOKENS, MortalEngine
from .town import Town, town, until

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.anyio]

ENGINE = "engine-0"
ADAPTER_OF = {"Ann": "ad-0", "Ben": "ad-1", "Cal": "ad-2"}
FAR = {"Ann": 400, "Ben": 300, "Dan": 200, "Cal": 100}
"""Dan has no adapter, and a prefix so long (5,900 of 8,000 tokens) that most of Ann's has to leave for it."""
DAN_CHARS = 18_000
BELIEVED_WITHIN_S = 1.5
"""Reports come twice a second."""


async def test_an_engine_killed_amid_loads_ahead_is_believed_empty_and_loads_again_when_it_is_back(
    mortal_memory_engine: MortalEngine, adapter_paths: Mapping[AdapterName, str]
) -> None:
    engine = mortal_memory_engine
    await engine.start()
    async with town(engine.url) as here:
        await _assign(here, adapter_paths)
        before = {agent: _text(await _call(here, agent)) for agent in ("Ann", "Cal")}
        await _make_ann_leave(here)
        await until(lambda: _ann_and_ben_can_be_loaded(here))

        await _say(here, {**FAR, "Ann": 1, "Ben": 2})
        await until(lambda: _loads_are_on_their_way(here))
        waiting = asyncio.create_task(here.chat("Ben"))
        await until(lambda: _somebody_calls(here))
        engine.kill()
        # The loads of the next one are only counted; nobody has to see them on their way.
        engine.build = replace(engine.build, link=None)

        _names_the_engine(await waiting, engine)
        await until(lambda: _is_lost(here))
        told = (await here.told("/engines"))["engines"][0]
        assert told["problem"]
        assert (told["loads_in_flight"], told["loading_bytes"], told["pools"]) == (0, 0, [])
        await until(lambda: _is_not_ready(here))
        _names_the_engine(await here.chat("Ann"), engine)
        await _nothing_is_believed(here)
        # Time goes on, and nobody is near when the engine comes back: it loads nothing unless it is told again.
        await _say(here, FAR)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(engine.start())
            await until(lambda: _is_ready(here), engine.servers.installation.engine_timeout_s)
            await until(lambda: _has_reported(here), BELIEVED_WITHIN_S)
            await until(lambda: _adapters_are_back(here))
        assert (await here.stats())["loads"] == {KV_PREFIX: _counts(), LORA: _counts()}

        await _say(here, {**FAR, "Ben": 1})
        await until(lambda: _counted(here, LORA, "issued"))
        ben = _text(await _call(here, "Ben"))
        assert (await here.stats())["loads"][LORA] | {"moved_bytes": 0} == _counts(issued=1, used=1)
        assert {agent: _text(await _call(here, agent)) for agent in ("Ann", "Cal")} == before
        assert ben == await _alone(here, "Ben")
        assert ben != await _alone(here, "Ben", adapter=None)

        await _make_ann_leave(here)
        await until(lambda: _misses(here, "Ann", KV_PREFIX))
        await _say(here, {**FAR, "Ann": 1})
        await until(lambda: _counted(here, KV_PREFIX, "issued"))
        assert _text(await _call(here, "Ann")) == before["Ann"]
        prefixes = (await here.stats())["loads"][KV_PREFIX]
        # An engine that computes may find no room at the first time of asking; it is asked again.
        assert prefixes | {"moved_bytes": 0, "refused": 0} == _counts(issued=1, used=1)

        await _say(here, dict.fromkeys(FAR))
        await until(lambda: _owes_nothing(here))


# --- what is done ------------------------------------------------------------------------------------------------------


async def _assign(here: Town, paths: Mapping[AdapterName, str]) -> None:
    for name in ADAPTER_OF.values():
        put = await here.http.put(
            f"{here.admin}/admin/v1/adapters/{name}", json={"path": paths[AdapterName(name)]}
        )
        assert put.status_code == 201, put.text
    body = {"agents": ADAPTER_OF, "create_agents": True}
    assigned = await here.http.put(f"{here.admin}/admin/v1/simulations/town/adapters", json=body)
    assert assigned.json()["problems"] == {}, assigned.text


async def _call(here: Town, agent: str) -> httpx.Response:
    answer = await here.chat(agent, max_tokens=8)
    assert answer.status_code == 200, answer.text
    return answer


def _text(answer: httpx.Response) -> str:
    return str(answer.json()["choices"][0]["message"]["content"])


async def _alone(here: Town, agent: str, adapter: str | None = "own") -> str:
    """What the engine itself answers to the agent's call, on the adapter that is the agent's, or on none."""
    body = here.body(agent, max_tokens=8) | ({"lora_path": ADAPTER_OF[agent]} if adapter else {})
    answer = await here.http.post(f"{here.engine}/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return _text(answer)


async def _say(here: Town, distances: Mapping[str, int | None]) -> None:
    await here.hint("/distances", {"unit": "steps", "distances": distances, "create_agents": True})


async def _make_ann_leave(here: Town) -> None:
    await _say(here, FAR)
    assert (await here.chat("Dan", chars=DAN_CHARS)).status_code == 200
    await _say(here, FAR)  # a call ends what was said of its agent


# --- what is so --------------------------------------------------------------------------------------------------------


async def _memories(here: Town) -> dict[tuple[str, str], dict[str, Any]]:
    agents = (await here.told("/simulations/town/agents"))["agents"]
    return {(agent["name"], memory["kind"]): memory for agent in agents for memory in agent["memories"]}


async def _places(here: Town) -> dict[str, str]:
    adapters = (await here.told("/adapters"))["adapters"]
    return {adapter["name"]: adapter["engines"][ENGINE] for adapter in adapters}


async def _misses(here: Town, agent: str, kind: str) -> bool:
    return bool((await _memories(here))[agent, kind]["missing_bytes"])


async def _ann_and_ben_can_be_loaded(here: Town) -> bool:
    """And Cal's memory is all on the device."""
    places, cal = await _places(here), (await _memories(here))["Cal", KV_PREFIX]
    return (
        await _misses(here, "Ann", KV_PREFIX)
        and places == {"ad-0": "slot", "ad-1": "host", "ad-2": "slot"}
        and bool(cal["device_bytes"])
        and not cal["missing_bytes"]
    )


async def _loads_are_on_their_way(here: Town) -> bool:
    """Both for the proxy, and at least one is being moved; none of them is over."""
    memories, stats = await _memories(here), await here.stats()
    assert [stats["loads"][kind]["issued"] for kind in (KV_PREFIX, LORA)] == [0, 0]
    both = memories["Ann", KV_PREFIX]["loading"] and memories["Ben", LORA]["loading"]
    return bool(both and stats["loading"])


async def _somebody_calls(here: Town) -> bool:
    return bool((await here.told("/simulations/town"))["running_calls"])


def _names_the_engine(answer: httpx.Response, engine: MortalEngine) -> None:
    assert answer.status_code in (502, 503), answer.text
    message = answer.json()["error"]["message"]
    assert ENGINE in message
    assert engine.url in message


async def _is_lost(here: Town) -> bool:
    engine = (await here.told("/engines"))["engines"][0]
    return not engine["up"]


async def _is_ready(here: Town) -> bool:
    return (await here.http.get(f"{here.admin}/ready")).status_code == 200


async def _is_not_ready(here: Town) -> bool:
    return (await here.http.get(f"{here.admin}/ready")).status_code == 503


async def _has_reported(here: Town) -> bool:
    await _nothing_is_believed(here)
    return bool((await here.told("/engines"))["engines"][0]["pools"])


async def _adapters_are_back(here: Town) -> bool:
    await _nothing_is_believed(here)
    return await _places(here) == dict.fromkeys(ADAPTER_OF.values(), "host")


async def _nothing_is_believed(here: Town) -> None:
    """Of a new engine there is nothing on the device or on its way there. Adapters may be on their way to its host memory."""
    memories = await _memories(here)
    assert {("Ann", KV_PREFIX), ("Cal", KV_PREFIX), ("Ben", LORA), ("Cal", LORA)} <= memories.keys()
    for whose, memory in memories.items():
        assert not memory["loading"], whose
        assert not memory["device_bytes"], whose
    assert "slot" not in (await _places(here)).values()


def _counts(**counted: int) -> dict[str, int]:
    names = ("issued", "used", "late", "missed", "stopped", "refused", "wasted")
    return {**dict.fromkeys((*names, "moved_bytes", "wasted_bytes"), 0), **counted}


async def _counted(here: Town, kind: str, name: str) -> bool:
    return bool((await here.stats())["loads"][kind][name])


async def _owes_nothing(here: Town) -> bool:
    """No load, pin or lock is left in the engine, and no hook of ours failed in it."""
    stats = await here.stats()
    assert stats["step_error"] == stats["tagging_error"] == ""
    return bool(
        not stats["loading"]
        and not stats["pins"]
        and not stats["running_adapters"]
        and stats["available_tokens"] + stats["evictable_tokens"] == CAPACITY_TOKENS
    )

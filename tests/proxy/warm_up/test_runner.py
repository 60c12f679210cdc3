"""Warm-ups over real sockets, against the emulated engine and against answers made up for one case."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.base import EngineRefused, EngineUnreachable
from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.core.actions import Load, StopLoad
from scalesim.proxy.core.model import (
    AdapterName,
    EngineId,
    LoadResult,
    LoadState,
    MemoryId,
    Owner,
)
from scalesim.proxy.warm_up import PrefixStore, WarmUp
from scalesim.proxy.warm_up.slices import AIM_TOKENS, LIMIT_TOKENS
from tests.support.fake_adapter import FakeAdapter
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve

pytestmark = pytest.mark.anyio

ENGINE = EngineId("e")
ANN = Owner("town/Ann")
MEMORY = MemoryId("kv_prefix", ANN)
CHAT = "/v1/chat/completions"


class Near(FakeAdapter):
    """It adds to requests what SGLang's does."""

    def additions(
        self,
        path: str,
        body: Mapping[str, object],
        owner: Owner | None,
        request_id: str,
        adapter: AdapterName | None = None,
    ) -> Mapping[str, str]:
        return {"rid": request_id} | ({} if owner is None else {"session_id": owner})

    def adapter_of(self, path: str, body: Mapping[str, object]) -> AdapterName | None:
        _, _, name = str(body.get("model", "")).partition(":")
        return AdapterName(name) if name else None


@dataclass
class Slice:
    path: str
    body: dict[str, Any]
    prompt: int
    cached: int

    @property
    def new(self) -> int:
        return self.prompt - self.cached


@dataclass
class Rig:
    """One engine, and a warm-up for it whose requests are seen."""

    near: Near
    client: httpx.AsyncClient
    store: PrefixStore
    slices: list[Slice] = field(default_factory=list)
    after_slice: Callable[[], None] = lambda: None
    demand: int = 0
    now: float = 0.0
    warm_up: WarmUp = field(init=False)

    async def saw(self, answer: httpx.Response) -> None:
        await answer.aread()
        if b"warm-up-" not in answer.request.content or answer.status_code != 200:
            return
        told = answer.json()
        counts = told.get("usage") or told["meta_info"]
        cached = (counts.get("prompt_tokens_details") or counts).get("cached_tokens") or 0
        body = json.loads(answer.request.content)
        self.slices.append(Slice(answer.request.url.path, body, counts["prompt_tokens"], cached))
        self.after_slice()

    async def call(self, messages: list[dict[str, str]], **fields: object) -> Slice:
        """A call of the agent; the store is told."""
        body = {"model": "m", "messages": messages, "max_tokens": 2, "session_id": ANN, **fields}
        answer = await self.client.post(self.near.base_url + CHAT, json=body)
        assert answer.status_code == 200, answer.text
        usage = answer.json()["usage"]
        self.store.remember(ANN, CHAT, body, usage["prompt_tokens"])
        return Slice(CHAT, body, usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"])

    async def load(self, within_s: float = 60.0) -> LoadResult:
        return await self.warm_up.load(self.near, Load(ENGINE, MEMORY, 1.0, within_s))

    async def empty_the_cache(self) -> None:
        answer = await self.client.post(self.near.base_url + "/flush_cache")
        assert answer.status_code == 200, answer.text


@asynccontextmanager
async def rig(
    app: Callable[..., Any], features: frozenset[str] = frozenset({"owners"})
) -> AsyncIterator[Rig]:
    async with serve(app) as base_url, httpx.AsyncClient(timeout=20.0, trust_env=False) as client:
        made = Rig(Near(base_url, engine=ENGINE), client, PrefixStore(1_000_000))
        client.event_hooks["response"].append(made.saw)
        made.warm_up = WarmUp(
            made.store,
            client,
            lambda engine: made.demand,
            features=lambda engine: features,
            bytes_per_token=lambda engine: 10,
            clock=lambda: made.now,
        )
        yield made


def words(name: str, count: int) -> str:
    draw = Random(name)
    return " ".join("".join(draw.choice("abcdefgh") for _ in range(draw.randint(2, 8))) for _ in range(count))


def prompt(name: str, shared: int = 900) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": words("who Ann is", shared)},
        {"role": "user", "content": words(name, 60)},
    ]


async def test_after_a_warm_up_the_agents_next_call_is_cached() -> None:
    async with rig(EmulatedEngine().app) as made:
        await made.call(prompt("one"))
        await made.call(prompt("two"))
        await made.empty_the_cache()
        result = await made.load()
        new = sum(one.new for one in made.slices)
        assert result == LoadResult(LoadState.LOADED, new * 10)
        call = await made.call(prompt("three"))
        assert call.cached > 0.95 * 900
        assert call.new < 60 + 0.05 * 900
        assert made.warm_up.counts["new_tokens"] == new


async def test_each_slice_grows_the_one_before_within_the_limit() -> None:
    async with rig(EmulatedEngine().app) as made:
        await made.call(prompt("one"))
        await made.call(prompt("two"))
        await made.empty_the_cache()
        await made.load()
        assert len(made.slices) >= 900 // LIMIT_TOKENS
        assert max(one.new for one in made.slices) <= LIMIT_TOKENS
        assert made.slices[0].new >= AIM_TOKENS // 2, (
            "slices much shorter than they may be take too many requests"
        )
        for before, after in zip(made.slices, made.slices[1:], strict=False):
            assert after.body["messages"][0]["content"].startswith(before.body["messages"][0]["content"])
            assert after.cached >= before.prompt - 16
        assert made.warm_up.counts["over_limit"] == 0


async def test_text_denser_than_the_rest_stays_within_the_limit() -> None:
    dense = " ".join(str(Random("x").random())[2:5] + "," for _ in range(600))
    async with rig(EmulatedEngine().app) as made:
        for end in ("one", "two"):
            await made.call(
                [
                    {"role": "system", "content": words("who", 900) + dense},
                    {"role": "user", "content": words(end, 60)},
                ]
            )
        await made.empty_the_cache()
        await made.load()
        assert max(one.new for one in made.slices) <= LIMIT_TOKENS


async def test_what_is_cached_already_is_resident() -> None:
    async with rig(EmulatedEngine().app) as made:
        await made.call(prompt("one"))
        await made.call(prompt("two"))
        assert await made.load() == LoadResult(LoadState.RESIDENT, 0)
        assert max(one.new for one in made.slices) < 32


async def test_nothing_is_known_of_a_stranger() -> None:
    async with rig(EmulatedEngine().app) as made:
        assert await made.load() == LoadResult(LoadState.ABSENT)
        assert made.slices == []


async def test_demand_between_two_slices_ends_it() -> None:
    async with rig(EmulatedEngine().app) as made:
        await made.call(prompt("one"))
        await made.call(prompt("two"))
        await made.empty_the_cache()

        def somebody_calls() -> None:
            made.demand = int(len(made.slices) == 2)

        made.after_slice = somebody_calls
        result = await made.load()
        assert len(made.slices) == 2
        assert result == LoadResult(LoadState.STOPPED, sum(one.new for one in made.slices) * 10)
        made.demand = 0
        # What the stopped one left is not computed again.
        assert (await made.load()).state is LoadState.LOADED
        assert made.slices[2].new < 32


async def test_with_demand_there_is_nothing_to_begin() -> None:
    async with rig(EmulatedEngine().app) as made:
        await made.call(prompt("one"))
        made.demand = 1
        assert await made.load() == LoadResult(LoadState.STOPPED)
        assert made.slices == []


async def test_the_warm_ups_of_one_owner_can_be_given_up() -> None:
    async with rig(EmulatedEngine().app) as made:
        await made.call(prompt("one"))
        await made.call(prompt("two"))
        await made.empty_the_cache()
        made.warm_up.give_up(ANN)  # none is under way: no effect on the next

        def of_another() -> None:
            made.warm_up.give_up(Owner("town/Bob"))
            made.after_slice = lambda: made.warm_up.give_up(ANN)

        made.after_slice = of_another
        assert (await made.load()).state is LoadState.STOPPED
        assert len(made.slices) == 2


async def test_a_stop_ends_it_after_the_slice_under_way() -> None:
    async with rig(EmulatedEngine().app) as made:
        await made.call(prompt("one"))
        made.warm_up.stop(StopLoad(ENGINE, MEMORY))  # not under way: no error, and no effect on the next

        def stop() -> None:
            made.warm_up.stop(StopLoad(ENGINE, MEMORY))
            made.warm_up.stop(StopLoad(ENGINE, MemoryId("kv_prefix", "town/Bob")))

        made.after_slice = stop
        assert (await made.load()).state is LoadState.STOPPED
        assert len(made.slices) == 1
        assert made.warm_up.sizes()["warm_ups"] == 0


async def test_it_ends_when_it_is_of_no_use_any_more() -> None:
    async with rig(EmulatedEngine().app) as made:
        await made.call(prompt("one"))

        def time_passes() -> None:
            made.now += 1.0

        made.after_slice = time_passes
        assert (await made.load(within_s=2.5)).state is LoadState.STOPPED
        assert len(made.slices) == 3


async def test_an_engine_that_is_much_slower_than_before_is_left_alone() -> None:
    async with rig(EmulatedEngine().app) as made:
        await made.call(prompt("one"))
        await made.call(prompt("two"))
        await made.empty_the_cache()

        def time_passes() -> None:
            made.now += 0.1 if len(made.slices) < 3 else 5.0

        made.after_slice = time_passes
        assert (await made.load()).state is LoadState.STOPPED
        assert len(made.slices) == 3
        assert made.warm_up.counts["busy"] == 1


async def test_the_owner_comes_with_the_last_slice_alone() -> None:
    async with rig(EmulatedEngine().app) as made:
        await made.call(prompt("one"))
        await made.load()
        assert [one.body.get("session_id") for one in made.slices] == [None] * (len(made.slices) - 1) + [ANN]
        assert len({one.body["rid"] for one in made.slices}) == len(made.slices)


async def test_an_engine_without_owners_is_told_none() -> None:
    async with rig(EmulatedEngine(extended=False).app, frozenset({"abort", "warm_up"})) as made:
        await made.call(prompt("one"))
        await made.load()
        assert made.slices
        assert all("session_id" not in one.body for one in made.slices)


async def test_a_completion_is_cached_as_well() -> None:
    async with rig(EmulatedEngine().app) as made:
        start = words("start", 500)
        for end in ("one", "two"):
            text = f"{start} {words(end, 50)}"
            made.store.remember(ANN, "/v1/completions", {"model": "m", "prompt": text}, 550)
        assert (await made.load()).state is LoadState.LOADED
        assert {one.path for one in made.slices} == {"/generate"}
        answer = await made.client.post(
            made.near.base_url + "/v1/completions",
            json={"model": "m", "prompt": f"{start} {words('three', 50)}", "max_tokens": 1},
        )
        assert answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"] > 480


async def test_an_adapter_in_the_models_name_is_named_where_only_a_field_counts() -> None:
    bodies: list[dict[str, Any]] = []

    async def answer(body: dict[str, Any]) -> tuple[int, object]:
        bodies.append(body)
        return 200, {"meta_info": {"prompt_tokens": 100, "cached_tokens": 0}}

    async with rig(made_up(answer)) as made:
        made.store.remember(ANN, "/v1/completions", {"model": "m:ad", "prompt": "a " * 50}, 50)
        await made.load()
        assert bodies[0]["lora_path"] == "ad"
        assert "model" not in bodies[0]


# --- engines that fail ---------------------------------------------------------------------------------------------------

Answer = Callable[[dict[str, Any]], Awaitable[tuple[int, object]]]


def made_up(answer: Answer) -> Callable[..., Any]:
    """An engine that answers each body as told."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        raw, more = b"", True
        while more:
            message = await receive()
            raw += message.get("body", b"")
            more = message.get("more_body", False)
        status, told = await answer(json.loads(raw))
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})

    return app


def knows_ann(made: Rig, size: int = 3_000) -> None:
    made.store.remember(ANN, "/generate", {"text": words("Ann", size)[:size]}, size // 4)


@pytest.mark.parametrize(
    ("status", "told", "error"),
    [
        (400, {"error": "no"}, EngineRefused),
        (404, {}, EngineRefused),
        (500, {}, EngineUnreachable),
        (200, {"usage": None}, EngineRefused),
        (200, ["?"], EngineRefused),
        (200, {"usage": {"prompt_tokens": "many"}}, EngineRefused),
    ],
)
async def test_what_an_engine_answers_wrongly_is_told_without_the_text(
    status: int, told: object, error: type[Exception]
) -> None:
    async def answer(body: dict[str, Any]) -> tuple[int, object]:
        return status, told

    async with rig(made_up(answer)) as made:
        made.client.event_hooks["response"].clear()
        knows_ann(made)
        with pytest.raises(error) as raised:
            await made.load()
        assert words("Ann", 3)[:8] not in str(raised.value)
        assert made.warm_up.sizes()["warm_ups"] == 0


async def test_an_engine_that_is_gone_is_unreachable() -> None:
    async with rig(EmulatedEngine().app) as made:
        knows_ann(made)
        made.near.base_url = "http://127.0.0.1:1"
        with pytest.raises(EngineUnreachable):
            await made.load()


async def test_a_slice_without_an_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of the answer alone: a busy machine may take longer than that to connect.
    limit = httpx.Timeout(PATIENCE_S, read=0.05)
    monkeypatch.setattr("scalesim.proxy.warm_up.runner.SLICE_TIMEOUT_S", limit)
    held = asyncio.Event()

    async def answer(body: dict[str, Any]) -> tuple[int, object]:
        await held.wait()
        return 200, {}

    async with rig(made_up(answer)) as made:
        knows_ann(made)
        assert await made.load() == LoadResult(LoadState.STOPPED)
        assert len(made.near.aborts) == 1
        held.set()


async def test_an_engine_that_loses_what_it_was_given_has_no_room() -> None:
    async def answer(body: dict[str, Any]) -> tuple[int, object]:
        return 200, {"meta_info": {"prompt_tokens": len(body["text"]) // 2, "cached_tokens": 0}}

    async with rig(made_up(answer)) as made:
        knows_ann(made)
        result = await made.load()
        assert result.state is LoadState.NO_ROOM
        assert len(made.slices) == 2


async def test_where_cached_tokens_are_not_told_the_growth_of_the_prompt_is_what_was_moved() -> None:
    async def answer(body: dict[str, Any]) -> tuple[int, object]:
        return 200, {"usage": {"prompt_tokens": len(body["text"]) // 4, "prompt_tokens_details": None}}

    async with rig(made_up(answer)) as made:
        knows_ann(made, 2_000)
        assert await made.load() == LoadResult(LoadState.LOADED, 2_000 // 4 * 10)


async def test_warm_ups_of_one_engine_take_turns_and_of_one_memory_exclude_each_other() -> None:
    under_way, most = 0, 0
    arrived, held = asyncio.Event(), asyncio.Event()

    async def answer(body: dict[str, Any]) -> tuple[int, object]:
        nonlocal under_way, most
        if "warm-up-" in str(body.get("rid")):
            under_way += 1
            most = max(most, under_way)
            arrived.set()
            await held.wait()
            under_way -= 1
        return 200, {"meta_info": {"prompt_tokens": len(body["text"]) // 4, "cached_tokens": 0}}

    async with rig(made_up(answer)) as made:
        knows_ann(made, 200)
        made.store.remember(Owner("town/Bob"), "/generate", {"text": words("Bob", 40)}, 40)
        first = asyncio.create_task(made.load())
        await arrived.wait()
        other = Load(ENGINE, MemoryId("kv_prefix", "town/Bob"), 1.0, 60.0)
        second = asyncio.create_task(made.warm_up.load(made.near, other))
        for _ in range(3):  # what the second sent would be there before these are answered
            await made.client.post(made.near.base_url + "/generate", json={"text": "somebody else"})
        assert made.warm_up.sizes()["warm_ups"] == 2
        with pytest.raises(EngineRefused, match="already"):
            await made.load()
        held.set()
        assert [(await one).state for one in (first, second)] == [LoadState.LOADED] * 2
        assert most == 1


async def test_other_kinds_of_memory_are_refused() -> None:
    async with rig(EmulatedEngine().app) as made:
        with pytest.raises(EngineRefused, match="lora"):
            await made.warm_up.load(made.near, Load(ENGINE, MemoryId("lora", "ad"), 1.0, 60.0))

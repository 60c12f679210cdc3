"""What every engine must do behind its adapter, of whichever kind it is: what it says it can do it does, and what it does not
say is refused. Run against the programs themselves; what is found is the table of capabilities in docs/engines.md.

A test class inherits `AnyContract` and defines a fixture `bench` that yields an `AnyBench`. One running engine serves all
tests, so each has names and prompts of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.base import EngineAdapter, EngineRefused, Fence
from scalesim.proxy.core.actions import (
    Action,
    DropAdapter,
    Evict,
    FetchAdapter,
    Load,
    Order,
    Pin,
    Renew,
    Unpin,
)
from scalesim.proxy.core.model import (
    KV_PREFIX,
    AdapterName,
    Capabilities,
    LoadResult,
    LoadState,
    MemoryId,
    Owner,
)
from tests.engine_adapters.bench import PATIENCE_S
from tests.engine_adapters.capability_table import Row

PATH = "/v1/completions"
LOOKS = 25
"""After as many an adapter that only believes what its engine does believes the truth."""
LONG_ANSWER = 150
_numbers = count()


@dataclass
class AnyBench:
    adapter: EngineAdapter
    client: httpx.AsyncClient
    known: Capabilities
    model: str
    fits: int
    """So many owners' prompts fill the engine, or nearly."""
    words: int
    """Of a prompt, which is then as large as that."""
    running: Callable[[], Awaitable[int]]
    """How many calls the engine works on, as it says itself."""
    shown: Callable[[Row, str], None]
    adapters: dict[AdapterName, str] = field(default_factory=dict)
    """Paths of those that it may be asked to fetch; of others it has them since its start."""
    fence: Fence = field(default_factory=lambda: Fence(0, 0))
    case: int = field(default_factory=lambda: next(_numbers))

    def has(self, feature: str) -> bool:
        return feature in self.known.features

    def owners(self, number: int) -> list[Owner]:
        return [Owner(f"town/agent-{self.case}-{index}") for index in range(number)]

    def prompt(self, name: str) -> str:
        draw = Random(name)
        return " ".join(draw.choice(_WORDS) for _ in range(self.words))

    def body(self, owner: Owner, adapter: AdapterName | None = None, tokens: int = 1) -> dict[str, Any]:
        """As the proxy would send it."""
        asked = {
            "model": self.model,
            "prompt": self.prompt(owner),
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
        }
        told = owner if self.has("owners") else None
        added = dict(self.adapter.additions(PATH, asked, told, f"request-of-{owner}", adapter))
        if not self.has("abort"):
            added.pop("rid", None)
        return {**asked, **added}

    async def call(self, owner: Owner, adapter: AdapterName | None = None) -> float:
        """How much of its prompt came from the cache: 0 to 1."""
        answer = await self.client.post(PATH, json=self.body(owner, adapter))
        assert answer.status_code == 200, answer.text
        usage = answer.json()["usage"]
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        return float(cached / usage["prompt_tokens"])

    async def is_on_device(self, owner: Owner) -> bool:
        """Most of what it has, by the engine's report."""
        memory = (await self.adapter.report()).memories.get(MemoryId(KV_PREFIX, owner))
        return memory is not None and memory.device_bytes > memory.missing_bytes

    async def do(self, action: Action) -> LoadResult | None:
        self.fence = Fence(self.fence.token, self.fence.sequence + 1)
        return await self.adapter.carry_out(action, self.fence)

    async def order(self, owners: list[Owner]) -> None:
        """They call next, one after the other."""
        engine = self.adapter.engine
        await self.do(Order(engine, tuple((owner, place + 1.0) for place, owner in enumerate(owners))))

    async def settle(self) -> None:
        """As a proxy does that looks and renews again and again."""
        for turn in range(LOOKS):
            await self.adapter.report()
            if turn >= LOOKS - 1 - self.fits:
                await self.do(Renew(self.adapter.engine))

    async def refuses(self, *actions: Action) -> None:
        for action in actions:
            with pytest.raises(EngineRefused):
                await self.do(action)


@pytest.mark.anyio
class AnyContract:
    async def test_it_says_what_it_is(self, bench: AnyBench) -> None:
        known = bench.known
        assert known.kind != "unknown"
        assert known.boot_id
        assert (await bench.adapter.probe()).boot_id == known.boot_id
        assert known.extended == bench.has("order")
        assert known.extended == (known.reason == "")
        assert known.capacity_tokens is not None
        bench.shown(Row.VERSION, known.version)
        bench.shown(Row.CAPACITY, "yes")

    async def test_it_says_what_it_serves(self, bench: AnyBench) -> None:
        cards = await bench.adapter.models()
        assert all(isinstance(card, dict) and isinstance(card["id"], str) for card in cards)
        assert cards
        bench.shown(Row.MODELS, "yes")

    async def test_a_repeated_prompt_is_cached_and_it_says_so(self, bench: AnyBench) -> None:
        (ann,) = bench.owners(1)
        assert await bench.call(ann) < 0.5
        assert await bench.call(ann) > 0.5
        bench.shown(Row.CACHED, "yes")

    async def test_a_call_that_nobody_waits_for_ends(self, bench: AnyBench) -> None:
        ann, bob = bench.owners(2)
        for streams, owner in ((True, ann), (False, bob)):
            body = {**bench.body(owner, tokens=LONG_ANSWER), "stream": streams}
            call = asyncio.create_task(_whole(bench.client, body))
            # The engine is another process, and says nothing by itself.
            async with asyncio.timeout(PATIENCE_S):
                while not await bench.running() and not call.done():  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert not call.done(), "it ended before it could be left"
            if bench.has("abort"):
                await bench.adapter.abort(f"request-of-{owner}")
            call.cancel()
            async with asyncio.timeout(PATIENCE_S):
                while await bench.running():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        bench.shown(Row.ENDS, "by its id" if bench.has("abort") else "with its connection")

    async def test_who_calls_last_leaves_first(self, bench: AnyBench) -> None:
        *crowd, new, newer = bench.owners(bench.fits + 2)
        if not bench.has("order"):
            await bench.refuses(Order(bench.adapter.engine, ((new, 1.0),)), Renew(bench.adapter.engine))
            bench.shown(Row.ORDER, "no")
            return
        for owner in crowd:
            await bench.call(owner)
        await bench.settle()
        await bench.order(crowd)  # by recency the first would leave
        for owner in (new, newer):
            await bench.call(owner)
            await bench.settle()
        assert await bench.is_on_device(crowd[0])
        assert not await bench.is_on_device(crowd[-1])
        assert await bench.call(crowd[0]) > 0.5
        bench.shown(Row.ORDER, "yes")

    async def test_a_pinned_owner_stays(self, bench: AnyBench) -> None:
        engine = bench.adapter.engine
        ann, *crowd = bench.owners(bench.fits + 2)
        if not bench.has("pin"):
            await bench.refuses(Pin(engine, (ann,)), Unpin(engine, (ann,)))
            bench.shown(Row.PIN, "no")
            return
        await bench.call(ann)
        await bench.do(Pin(engine, (ann,)))
        await bench.order(crowd)
        for owner in crowd:
            await bench.call(owner)
            await bench.settle()
        assert await bench.call(ann) > 0.5
        await bench.do(Unpin(engine, (ann,)))
        bench.shown(Row.PIN, "yes")

    async def test_what_is_evicted_leaves_at_once(self, bench: AnyBench) -> None:
        ann, bob = bench.owners(2)
        if not bench.has("evict"):
            await bench.refuses(Evict(bench.adapter.engine, (ann,)))
            bench.shown(Row.EVICT, "no")
            return
        for owner in (ann, bob):
            await bench.call(owner)
        await bench.order([ann, bob])
        await bench.settle()
        await bench.do(Evict(bench.adapter.engine, (ann,)))
        assert not await bench.is_on_device(ann)
        assert await bench.is_on_device(bob)
        bench.shown(Row.EVICT, "yes")

    async def test_it_tells_whose_memory_it_holds(self, bench: AnyBench) -> None:
        (ann,) = bench.owners(1)
        if not bench.has("residency"):
            with pytest.raises(EngineRefused):
                await bench.adapter.report()
            bench.shown(Row.RESIDENCY, "no")
            return
        await bench.call(ann)
        await bench.order([ann])
        report = await bench.adapter.report()
        assert report.memories[MemoryId(KV_PREFIX, ann)].device_bytes > 0
        assert report.boot_id == bench.known.boot_id
        assert report.plan_in_force
        assert report.pools
        bench.shown(Row.RESIDENCY, "yes")

    async def test_what_left_is_brought_back_ahead_of_its_call(self, bench: AnyBench) -> None:
        engine = bench.adapter.engine
        ann, *crowd = bench.owners(bench.fits + 2)
        load = Load(engine, MemoryId(KV_PREFIX, ann), 0.0, within_s=PATIENCE_S)
        if not bench.has(f"load_{KV_PREFIX}"):
            await bench.refuses(load)
            bench.shown(Row.LOAD, "no")
            return
        await bench.call(ann)
        await bench.order([ann])
        await bench.settle()
        await bench.order(crowd)
        for owner in crowd:
            await bench.call(owner)
            await bench.settle()
        assert not await bench.is_on_device(ann)
        nobody = Load(engine, MemoryId(KV_PREFIX, "town/nobody"), 0.0, within_s=PATIENCE_S)
        assert await bench.do(nobody) == LoadResult(LoadState.ABSENT)
        result = await bench.do(load)
        assert result is not None
        assert result.state is LoadState.LOADED
        assert result.moved_bytes > 0
        assert await bench.do(load) == LoadResult(LoadState.RESIDENT)
        assert await bench.call(ann) > 0.5
        bench.shown(Row.LOAD, "yes")

    async def test_adapters_come_and_go(self, bench: AnyBench) -> None:
        engine = bench.adapter.engine
        name, path = next(iter(bench.adapters.items()), (AdapterName("poet"), "/nowhere"))
        if not bench.has("fetch_adapters"):
            await bench.refuses(FetchAdapter(engine, name, path), DropAdapter(engine, name))
            bench.shown(Row.FETCH, "no")
            return
        await bench.do(FetchAdapter(engine, name, path))
        await bench.do(FetchAdapter(engine, name, path))
        with pytest.raises(EngineRefused):
            await bench.do(FetchAdapter(engine, AdapterName("nobody"), "/nowhere/at/all"))
        await self._answers_on(bench, name)
        await bench.do(DropAdapter(engine, name))
        await bench.do(DropAdapter(engine, name))
        bench.shown(Row.FETCH, "yes")
        bench.shown(Row.ADAPTER, "yes")

    async def test_an_agent_s_adapter_answers(self, bench: AnyBench) -> None:
        if bench.has("fetch_adapters"):
            return  # seen where adapters come and go
        name = next(iter(bench.adapters), None)
        if name is None:
            bench.shown(Row.ADAPTER, "not tried")
            return
        await self._answers_on(bench, name)
        bench.shown(Row.ADAPTER, "yes")

    async def _answers_on(self, bench: AnyBench, name: AdapterName) -> None:
        """What was computed on an adapter is never taken for what the model computes by itself."""
        ann, bob = bench.owners(2)
        body = bench.body(ann, name)
        assert bench.adapter.adapter_of(PATH, body) == name
        assert bench.adapter.adapter_of(PATH, bench.body(ann)) is None
        assert await bench.call(ann) < 0.5
        assert await bench.call(ann, name) < 0.5
        assert await bench.call(ann, name) > 0.5
        assert await bench.call(bob, name) < 0.5
        assert await bench.call(bob) < 0.5

    async def test_a_prompt_that_generates_nothing_is_cached(self, bench: AnyBench) -> None:
        (ann,) = bench.owners(1)
        body = {
            "model": bench.model,
            "messages": [{"role": "user", "content": bench.prompt(ann)}],
            "max_tokens": 0,
        }
        answer = await bench.client.post("/v1/chat/completions", json=body)
        if not bench.has("warm_up"):
            assert answer.status_code != 200 or answer.json()["usage"]["completion_tokens"] > 0
            bench.shown(Row.WARM_UP, "no")
            return
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["completion_tokens"] == 0
        again = await bench.client.post("/v1/chat/completions", json={**body, "max_tokens": 1})
        assert again.json()["usage"]["prompt_tokens_details"]["cached_tokens"] > bench.words // 2
        bench.shown(Row.WARM_UP, "yes")


async def _whole(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    async with client.stream("POST", PATH, json=body) as answer:
        async for _ in answer.aiter_bytes():
            pass


_WORDS = [
    "the",
    "baker",
    "walked",
    "to",
    "market",
    "and",
    "met",
    "a",
    "miller",
    "there",
    "who",
    "sold",
    "flour",
    "for",
    "bread",
    "on",
    "every",
    "day",
    "of",
    "that",
    "long",
    "cold",
    "winter",
]

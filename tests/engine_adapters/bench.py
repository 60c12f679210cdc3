"""An engine on the bench: what the contract tests ask of it and tell it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.base import EngineAdapter, Fence
from scalesim.engine_adapters.sglang_plugin import wire
from scalesim.proxy.core.actions import Action, Evict, Order, Pin, Renew, Unpin
from scalesim.proxy.core.model import Owner

PATIENCE_S = 120.0
"""A step of an engine on a busy CPU takes seconds. Only a test that fails waits so long."""


@dataclass
class Bench:
    """One engine on the bench. `beat` makes one beat pass; None: a beat is a second, as on a real engine."""

    adapter: EngineAdapter
    client: httpx.AsyncClient
    capacity_tokens: int
    pin_budget_tokens: int
    beat: Callable[[], object] | None
    fence: Fence
    ages: bool = False
    """Whether what is in force ages while the test does something else."""
    unit: int = field(init=False)
    """Tokens of one owner's prompt: ten fill the cache, and two are within the budget of pins."""

    def __post_init__(self) -> None:
        self.unit = min(self.capacity_tokens // 10, self.pin_budget_tokens // 2 or self.capacity_tokens // 10)

    def prompt(self, name: str, tokens: int | None = None) -> list[int]:
        """Token ids that only this name has."""
        draw = Random(name)
        return [draw.randrange(100, 3_000) for _ in range(self.unit if tokens is None else tokens)]

    async def call(self, prompt: list[int], owner: str | None = None, output: int = 1) -> int:
        """One request, to its end; returns how much of the prompt came from the cache."""
        body: dict[str, Any] = {
            "input_ids": prompt,
            "sampling_params": {"max_new_tokens": output, "temperature": 0, "ignore_eos": True},
        }
        if owner is not None:
            body["session_id"] = owner
        answer = await self.client.post("/generate", json=body)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["meta_info"]["cached_tokens"])

    async def routed(self, path: str, routing_key: str, **said: object) -> None:
        """One request as it comes through a router."""
        (card, *_) = await self.adapter.models()
        assert isinstance(card, dict)
        answer = await self.client.post(
            path,
            json={"model": card["id"], "max_tokens": 1, **said},
            headers={"x-smg-routing-key": routing_key},
        )
        assert answer.status_code == 200, answer.text

    async def keep(self) -> None:
        """As a proxy would meanwhile: how long an engine takes over calls must not decide what is in force."""
        if self.ages:
            await self.adapter.carry_out(Renew(self.adapter.engine), self.fence)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """What is in force stays so in the block, whatever is done there side by side."""

        async def renewing() -> None:
            while True:
                await self.keep()
                await asyncio.sleep(1.0)  # a beat

        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(renewing())
            yield
            keeping.cancel()

    async def fill(self, owners: list[Owner]) -> None:
        """Each owner calls once, in this order: the first is the longest unused. What is in force stays so."""
        for owner in owners:
            await self.keep()
            assert await self.call(self.prompt(owner), owner) == 0

    async def press(self, units: int, name: str = "stranger") -> None:
        """A prompt that nobody owns and nobody has seen, so many units long."""
        await self.keep()
        assert await self.call(self.prompt(name, units * self.unit)) == 0

    async def do(self, action: Action) -> None:
        self.fence = Fence(self.fence.token, self.fence.sequence + 1)
        await self.adapter.carry_out(action, self.fence)

    async def order(self, *nearest_first: Owner) -> None:
        """A plan in which these owners call next, one after the other."""
        distances = tuple((owner, float(place)) for place, owner in enumerate(nearest_first))
        await self.do(Order(self.adapter.engine, distances))

    async def pin(self, *owners: Owner) -> None:
        await self.do(Pin(self.adapter.engine, owners))

    async def unpin(self, *owners: Owner) -> None:
        await self.do(Unpin(self.adapter.engine, owners))

    async def evict(self, *owners: Owner) -> None:
        await self.do(Evict(self.adapter.engine, owners))

    async def renew(self) -> None:
        await self.do(Renew(self.adapter.engine))

    async def read(self, name: str, **query: str) -> dict[str, Any]:
        answer = await self.client.get(f"{wire.PREFIX}/{name}", params=query)
        assert answer.status_code == 200, answer.text
        payload: dict[str, Any] = answer.json()
        return payload

    async def resident(self, owner: Owner) -> int:
        """Tokens of this owner in the cache."""
        owners = (await self.read("residency", owner=owner))["owners"]
        return int(owners[owner]["device_tokens"]) if owner in owners else 0

    async def beats(self, count: int) -> None:
        for _ in range(count):
            if self.beat is None:
                await asyncio.sleep(1.0)  # the passing of time itself is what is tested
            else:
                self.beat()

    async def until(self, is_so: Callable[[], Awaitable[bool]], what: str) -> None:
        """Asks again and again; an engine settles a little after its last answer."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not await is_so():  # noqa: ASYNC110  the engine may be another process
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"not within {PATIENCE_S:g} s: {what}")

    async def flush(self) -> None:
        """An engine refuses while requests are still being put away."""

        async def flushed() -> bool:
            return (await self.client.post("/flush_cache")).status_code == 200

        await self.until(flushed, "the cache was flushed")

    async def nothing_in_use(self) -> None:
        """Waits until no token is locked or held by a request."""

        async def all_free() -> bool:
            stats = await self.read("stats")
            return bool(stats["available_tokens"] + stats["evictable_tokens"] == stats["capacity_tokens"])

        await self.until(all_free, "nothing is in use")


async def bench_on(
    adapter: EngineAdapter, client: httpx.AsyncClient, beat: Callable[[], object] | None = None
) -> Bench:
    """Takes command of the engine and empties its cache. `client` has the engine as its base and brings its key."""
    known = await adapter.probe()
    capacity = known.capacity_tokens
    assert capacity is not None
    bench = Bench(adapter, client, capacity, 0, beat, Fence(0, 0))
    if known.extended:
        bench = Bench(
            adapter, client, capacity, (await bench.read("stats"))["pin_budget_tokens"], beat, Fence(0, 0)
        )
        stats = await bench.read("stats")
        bench.fence = Fence(stats["fence"][0] + 1, 0)
        bench.ages = beat is None
        await bench.order()
        await bench.unpin(*map(Owner, stats["pins"]))
    await bench.flush()
    return bench


def owners(count: int) -> list[Owner]:
    return [Owner(f"town/agent-{index}") for index in range(count)]


@asynccontextmanager
async def client_of(base_url: str, api_key: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    async with httpx.AsyncClient(
        base_url=base_url, headers=headers, timeout=PATIENCE_S, trust_env=False
    ) as client:
        yield client

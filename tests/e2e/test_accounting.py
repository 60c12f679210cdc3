"""Ten thousand random control calls and requests on the real engine, and its own accounts afterwards.

SGLang checks its pools whenever it is idle and ends itself when a token or a lock has leaked, so an engine that still
answers has no leak that it can see; what it tells of itself is compared besides.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.sglang_plugin import wire

from .conftest import ADAPTERS, CAPACITY_TOKENS, MemoryEngine
from .town import until

pytestmark = [pytest.mark.engine, pytest.mark.slow]

OPERATIONS = 10_000
SEED = 7
OWNERS = 12
REQUEST_SHARE = 0.06
AT_ONCE = 8


@dataclass
class Crowd:
    http: httpx.AsyncClient
    chance: random.Random
    fence_token: int = field(default_factory=lambda: time.time_ns() // 1_000)
    sequence: int = 0
    answers: dict[str, int] = field(default_factory=dict)

    async def anything(self) -> None:
        if self.chance.random() < REQUEST_SHARE:
            await self.request()
        else:
            await self.command()

    async def request(self) -> None:
        """Prompts of an owner share most of their tokens; some clients leave before the answer."""
        owner = self.chance.randrange(OWNERS)
        own = random.Random(owner)
        shared = [own.randrange(10, 4_000) for _ in range(own.randrange(100, 1_500))]
        prompt = shared + [self.chance.randrange(10, 4_000) for _ in range(self.chance.randrange(1, 200))]
        body: dict[str, Any] = {
            "input_ids": prompt,
            "session_id": f"s/{owner}",
            "sampling_params": {
                "max_new_tokens": self.chance.randrange(0, 5),
                "temperature": 0,
                "ignore_eos": True,
            },
        }
        if self.chance.random() < 0.8:
            body["lora_path"] = f"ad-{owner % ADAPTERS}"
        timeout = 0.05 if self.chance.random() < 0.1 else 120.0
        try:
            answer = await self.http.post("/generate", json=body, timeout=timeout)
        except httpx.TimeoutException:
            self.count("request left")
            return
        assert answer.status_code == 200, answer.text
        self.count("request")

    async def command(self) -> None:
        name = self.chance.choice(
            ["plan", "plan", "renew", "pin", "unpin", "evict", "load", "load", "load", "stop", "stats"]
        )
        if name == "stats":
            assert (await self.http.get("/scalesim/v1/stats", timeout=120)).status_code == 200
            self.count(name)
            return
        self.sequence += 1
        body = {"fence": [self.fence_token, self.sequence], **self.body_of(name)}
        answer = await self.http.post(f"/scalesim/v1/{name}", json=body, timeout=120)
        # Side by side, an ordered command may arrive behind a later one.
        assert answer.status_code in (200, 409), answer.text
        self.count(f"{name} {answer.json().get('state', answer.status_code)}")

    def body_of(self, name: str) -> dict[str, Any]:
        chance = self.chance
        some = [f"s/{one}" for one in chance.sample(range(OWNERS), chance.randrange(0, OWNERS))]
        adapters = [f"ad-{one}" for one in chance.sample(range(ADAPTERS), chance.randrange(0, ADAPTERS))]
        match name:
            case "plan":
                return {
                    "owners": {owner: chance.random() * 9 for owner in some},
                    "adapters": {adapter: chance.random() * 9 for adapter in adapters},
                    "pinned_adapters": adapters[:1],
                    "no_host_copy": some[:1] if chance.random() < 0.2 else [],
                    "ready_first": chance.random() < 0.5,
                }
            case "renew":
                return {}
            case "evict" if chance.random() < 0.3:
                return {"tokens": chance.randrange(1, 2_000)}
            case "load" | "stop":
                kind = chance.choice(["kv_prefix", "lora"])
                key = (
                    f"s/{chance.randrange(OWNERS)}"
                    if kind == "kv_prefix"
                    else f"ad-{chance.randrange(ADAPTERS)}"
                )
                load = {"distance": chance.random() * 9, "within_s": chance.choice([0.01, 5.0])}
                return {"kind": kind, "key": key, **(load if name == "load" else {})}
            case _:
                return {"owners": some}

    def count(self, what: str) -> None:
        self.answers[what] = self.answers.get(what, 0) + 1


@pytest.mark.anyio
async def test_nothing_leaks_over_ten_thousand_random_operations(memory_engine: MemoryEngine) -> None:
    async with httpx.AsyncClient(base_url=memory_engine.server.url, trust_env=False) as http:
        for name, path in memory_engine.adapters.items():
            loaded = await http.post(
                "/load_lora_adapter", json={"lora_name": name, "lora_path": path}, timeout=120
            )
            assert loaded.status_code == 200 or "already" in loaded.text, loaded.text
        crowd = Crowd(http, random.Random(SEED))
        left = OPERATIONS

        async def worker() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await crowd.anything()

        async with asyncio.TaskGroup() as workers:
            for _ in range(AT_ONCE):
                workers.create_task(worker())
        assert sum(crowd.answers.values()) == OPERATIONS, crowd.answers
        for state in ("loaded", "resident", "stopped", "absent", "no_room"):
            assert crowd.answers.get(f"load {state}", 0) > 0, crowd.answers

        async def settled() -> bool:
            stats = (await http.get("/scalesim/v1/stats", timeout=120)).json()
            return bool(
                not stats["loading"]
                and stats["available_tokens"] + stats["evictable_tokens"] == CAPACITY_TOKENS
            )

        await until(settled)
        stats = (await http.get("/scalesim/v1/stats", timeout=120)).json()
        assert stats["step_error"] == stats["tagging_error"] == ""
        assert stats["running_adapters"] == []
        assert stats["pinned_tokens"] <= CAPACITY_TOKENS
        assert stats["tables"]["owners"] <= OWNERS + 1
        lora = stats["loads"]["lora"]
        assert lora["issued"] >= lora["used"] + lora["wasted"]
        [slots] = [pool for pool in stats["pools"] if pool["name"] == "lora"]
        in_slots = sum(device for device, _ in stats["memories"]["lora"].values())
        assert in_slots <= slots["capacity_bytes"] - slots["free_bytes"]

        # Without a lock that was left behind, the whole cache can be given up.
        crowd.sequence += 1
        given_up = await http.post(
            "/scalesim/v1/evict",
            json={"fence": [crowd.fence_token, crowd.sequence], "tokens": wire.MAX_INTEGER},
            timeout=120,
        )
        assert given_up.status_code == 200, given_up.text
        stats = (await http.get("/scalesim/v1/stats", timeout=120)).json()
        assert stats["available_tokens"] == CAPACITY_TOKENS
        assert stats["evictable_tokens"] == 0
        flushed = await http.post("/flush_cache", params={"timeout": 30}, timeout=120)
        assert flushed.status_code == 200, flushed.text

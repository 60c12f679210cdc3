"""A town that lives behind a real proxy and an emulated engine, for the page to look at."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.app import running
from scalesim.proxy.settings import Settings
from tests.support.serve import serve as served

WORDS = [
    "the",
    "well",
    "is",
    "dry",
    "and",
    "Ann",
    "asks",
    "who",
    "has",
    "seen",
    "the",
    "baker",
    "since",
    "the",
    "market",
    "closed",
    "on",
    "that",
    "cold",
    "evening",
]
NAMES = (
    *(
        "Ann",
        "Bob",
        "Cem",
        "Dora",
        "Eli",
        "Fay",
        "Gus",
        "Hana",
        "Ivo",
        "Jo",
        "Kai",
        "Lena",
        "Max",
        "Nia",
        "Oda",
    ),
    *("Pia", "Quin", "Rosa", "Sam", "Tove", "Uma", "Vic", "Wen", "Xia", "Yan", "Zoe"),
)


def names(count: int) -> list[str]:
    return [
        NAMES[at % len(NAMES)] + (f" {at // len(NAMES) + 1}" if at >= len(NAMES) else "")
        for at in range(count)
    ]


@dataclass
class Town:
    data: str
    admin: str
    engine: str
    http: httpx.AsyncClient
    words: int = 40
    """Of each persona: about as many tokens of memory."""
    random: Random = field(default_factory=lambda: Random(1))

    async def call(
        self, agent: str, simulation: str = "town", *, tokens: int = 4, says_who: bool = True
    ) -> None:
        persona = " ".join(Random(agent).choices(WORDS, k=self.words))
        body = {
            "model": "emulated",
            "max_tokens": tokens,
            "messages": [
                {"role": "system", "content": f"You are {agent}. {persona}"},
                {"role": "user", "content": "What do you do now?"},
            ],
        }
        headers = {"X-Simulation-ID": simulation} | ({"X-Agent-ID": agent} if says_who else {})
        answer = await self.http.post(f"{self.data}/v1/chat/completions", json=body, headers=headers)
        answer.raise_for_status()

    async def tell(self, distances: dict[str, float], simulation: str = "town") -> None:
        answer = await self.http.post(
            f"{self.admin}/admin/v1/simulations/{simulation}/distances",
            json={"unit": "seconds", "distances": distances, "create_agents": True},
        )
        answer.raise_for_status()

    async def live(
        self, agents: list[str], *, away_s: tuple[float, float] = (4.0, 60.0), at_once: int = 6
    ) -> None:
        """Until cancelled: each agent calls now and then, and it is told when it will."""
        loop = asyncio.get_running_loop()
        (await self.http.put(f"{self.admin}/admin/v1/simulations/town")).raise_for_status()
        due = {agent: self.random.uniform(0, away_s[1]) for agent in agents}
        await self.tell(due)
        queue = [(loop.time() + after, agent) for agent, after in due.items()]
        heapq.heapify(queue)
        places = asyncio.Semaphore(at_once)

        async def turn(agent: str) -> None:
            async with places:
                await self.call(agent, tokens=self.random.randint(2, 10))
                after = self.random.uniform(*away_s)
                await self.tell({agent: after})
                heapq.heappush(queue, (loop.time() + after, agent))

        async with asyncio.TaskGroup() as turns:
            while True:
                if not queue or queue[0][0] > loop.time():
                    await asyncio.sleep(0.05)
                    continue
                _, agent = heapq.heappop(queue)
                turns.create_task(turn(agent))


def engine_for(agents: int, *, words: int = 40, room: float = 0.3, **options: Any) -> EmulatedEngine:
    """With room for that share of so many agents' memory, and a host tier for all of them."""
    tokens = agents * (words + 25)
    quick: dict[str, Any] = {
        "prefill_s_per_token": 0.0004,
        "decode_s_per_token": 0.01,
        "bytes_per_token": 24_576,
        "link_bytes_per_s": 2e9,
    }
    return EmulatedEngine(
        capacity_tokens=int(tokens * room) + 1000, host_tokens=tokens * 2, **(quick | options)
    )


@asynccontextmanager
async def town(engine: EmulatedEngine, *, words: int = 40, **settings: Any) -> AsyncIterator[Town]:
    async with (
        served(engine.app) as url,
        running(
            Settings(engine=url, port=0, admin_port=0, probe_every_s=0.3, report_every_s=0.3, **settings)
        ) as where,
        httpx.AsyncClient(trust_env=False, timeout=60) as http,
    ):
        yield Town(where.data, where.admin, url, http, words)


@asynccontextmanager
async def beside(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

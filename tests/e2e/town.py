"""What the end-to-end tests share: a proxy in front of an engine, and somebody who calls through it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from scalesim.proxy.app import running
from scalesim.proxy.core.model import Mode
from scalesim.proxy.settings import Settings
from scalesim.workloads.prose import prose

PATIENCE_S = 120.0
"""A step of a busy CPU engine takes seconds. Only a test that fails waits so long."""
LOOK_S = 0.05
"""A question to a real server and back, and the pause before the next one, on a machine that has time for it."""


@dataclass
class Town:
    data: str
    admin: str
    engine: str
    http: httpx.AsyncClient

    def body(
        self, agent: str, max_tokens: int = 2, question: str = "What now?", chars: int = 5_000
    ) -> dict[str, Any]:
        """The agent's persona has about 1,300 tokens of the test model."""
        messages = [
            {"role": "system", "content": f"You are {agent}. " + prose(f"persona of {agent}", chars)},
            {"role": "user", "content": question},
        ]
        return {
            "model": "any", "messages": messages, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": True,
        }  # fmt: skip

    async def chat(self, agent: str, **options: Any) -> httpx.Response:
        return await self.http.post(
            f"{self.data}/v1/chat/completions",
            json=self.body(agent, **options),
            headers={"X-Agent-ID": agent, "X-Simulation-ID": "town"},
        )

    async def cached_tokens(self, agent: str, **options: Any) -> int:
        answer = await self.chat(agent, **options)
        answer.raise_for_status()
        details = answer.json()["usage"]["prompt_tokens_details"] or {}
        return int(details.get("cached_tokens") or 0)

    async def hint(self, path: str, body: Any) -> None:
        (await self.http.post(f"{self.admin}/admin/v1/simulations/town{path}", json=body)).raise_for_status()

    async def told(self, path: str) -> Any:
        """What the proxy tells under its admin API."""
        answer = await self.http.get(f"{self.admin}/admin/v1{path}")
        answer.raise_for_status()
        return answer.json()

    async def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = (await self.http.get(f"{self.engine}/scalesim/v1/stats")).json()
        return stats

    async def device_tokens(self) -> dict[str, int]:
        residency = (await self.http.get(f"{self.engine}/scalesim/v1/residency")).json()
        return {owner: entry["device_tokens"] for owner, entry in residency["owners"].items()}


@asynccontextmanager
async def town(engine_url: str, mode: Mode = Mode.ON) -> AsyncIterator[Town]:
    """A proxy that knows its engine and has made the simulation `town`; the engine's cache and plan are empty."""
    settings = Settings(engine=engine_url, port=0, admin_port=0, mode=mode, tick_ms=10, probe_every_s=0.2)
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http, AsyncExitStack() as after:
        await _blank(http, engine_url)
        addresses = await after.enter_async_context(running(settings))
        here = Town(addresses.data, addresses.admin, engine_url, http)
        await until(lambda: _ready(here))
        (await http.put(f"{addresses.admin}/admin/v1/simulations/town")).raise_for_status()
        yield here


async def _blank(http: httpx.AsyncClient, engine_url: str) -> None:
    """Takes back what an earlier proxy left in the engine, instead of waiting for it to age."""
    (await http.post(f"{engine_url}/flush_cache", params={"timeout": 30})).raise_for_status()
    found = await http.get(f"{engine_url}/scalesim/v1/stats")
    if found.status_code == 200:
        stats = found.json()
        token, sequence = stats["fence"]
        fence = [token, sequence + 1]
        commands: dict[str, object] = {"plan": {}, "unpin": stats["pins"]}
        for command, owners in commands.items():
            body = {"fence": fence, "owners": owners}
            (await http.post(f"{engine_url}/scalesim/v1/{command}", json=body)).raise_for_status()


async def _ready(here: Town) -> bool:
    return (await here.http.get(f"{here.admin}/ready")).status_code == 200


async def until(condition: Callable[[], Awaitable[bool]], patience_s: float = PATIENCE_S) -> None:
    """Asks again and again; each question goes to a real server and back. Raises `TimeoutError`.

    A machine that is slow is given as many looks as another one has within that time: what answers looks late does all
    else late as well.
    """
    looks, until_s = round(patience_s / LOOK_S), time.monotonic() + patience_s
    while not await condition():
        looks -= 1
        if looks <= 0 and time.monotonic() >= until_s:
            raise TimeoutError(f"not within {patience_s:g} s")
        await asyncio.sleep(0.02)

"""A proxy as its operator sees it: it has served calls of all kinds, and what it then publishes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.app import ServerAddresses, running
from scalesim.proxy.settings import Settings
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve as served

ROOT = Path(__file__).parent.parent.parent
AGENTS = ("Ann Sullivan", "Bob Marsh", "Cleo Vance")


def program(name: str) -> str | None:
    """Where it is: Debian's package, unpacked by `make prometheus`, or installed."""
    own = ROOT / ".prometheus" / "usr" / "bin" / name
    return str(own) if own.exists() else shutil.which(name)


@dataclass(frozen=True)
class Observed:
    addresses: ServerAddresses
    client: httpx.AsyncClient
    key: str

    async def metrics(self) -> str:
        answer = await self.client.get(
            f"{self.addresses.admin}/metrics", headers={"authorization": f"Bearer {self.key}"}
        )
        return answer.raise_for_status().text

    async def calls(self) -> None:
        """Streamed and whole, of three agents, twice each; one of nobody, and one that is no JSON."""
        for _ in range(2):
            for agent in AGENTS:
                for stream in (False, True):
                    await self.call(agent, stream=stream)
        await self.call(None)
        await self.client.post(f"{self.addresses.data}/v1/chat/completions", content=b"{")

    async def call(self, agent: str | None, *, stream: bool = False) -> None:
        said = f"You are {agent}. " + "What do you do next? " * 20
        headers = {} if agent is None else {"x-agent-id": agent, "x-simulation-id": "town"}
        await self.client.post(
            f"{self.addresses.data}/v1/chat/completions",
            json={
                "model": "emulated",
                "messages": [{"role": "user", "content": said}],
                "max_tokens": 4,
                "stream": stream,
                **({"stream_options": {"include_usage": True}} if stream else {}),
            },
            headers=headers,
        )


@asynccontextmanager
async def observed(folder: Path, **options: object) -> AsyncIterator[Observed]:
    engine = EmulatedEngine(host_tokens=100_000, adapter_slots=2)
    async with (
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client,
        served(engine.app) as url,
        running(
            Settings(
                engine=url,
                port=0,
                admin_port=0,
                admin_keys=("an admin key",),
                engine_concurrency=8,
                report_every_s=0.02,
                probe_every_s=0.02,
                tick_ms=1,
                record=str(folder / "trace.jsonl"),
                **options,  # type: ignore[arg-type]
            )
        ) as addresses,
    ):
        async with asyncio.timeout(PATIENCE_S):
            while (await client.get(f"{addresses.admin}/ready")).status_code != 200:
                pass
        yield Observed(addresses, client, "an admin key")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def exposed(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a proxy answers at /metrics after some calls."""
    async with observed(tmp_path_factory.mktemp("observed")) as proxy:
        await proxy.calls()
        async with asyncio.timeout(PATIENCE_S):
            while 'le="+Inf"' not in (told := await proxy.metrics()) or "engine_pool_bytes{" not in told:
                pass
        return told

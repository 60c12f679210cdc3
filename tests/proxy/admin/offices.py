"""A whole proxy, put together as it is served, whose own files stand in a folder of the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from starlette.types import ASGIApp

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.access.tls import Certificates
from scalesim.proxy.app.assembly import assembled
from scalesim.proxy.configuration import Configuration
from scalesim.proxy.settings import Sources
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve as served

CHAT = "/v1/chat/completions"
OPERATOR = {"x-admin-key": "sk-operator"}
QUICK = {
    "port": "0",
    "admin_port": "0",
    "tick_ms": "1",
    "report_every_s": "0.02",
    "probe_every_s": "0.02",
}


@dataclass(frozen=True, slots=True)
class Town:
    admin: httpx.AsyncClient
    """Of `/admin/v1`, with an operator's key."""
    data: httpx.AsyncClient
    folder: Path
    write: Callable[[str], int]
    """Anew: the config file."""

    async def call(self, prompt: str = "You are Ann.", key: str = "") -> httpx.Response:
        body = {"model": "emulated", "messages": [{"role": "user", "content": prompt}], "max_tokens": 4}
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return await self.data.post(CHAT, json=body, headers=headers)


@asynccontextmanager
async def town(
    folder: Path,
    text: str | None = None,
    engine: ASGIApp | None = None,
    *,
    names_engines: bool = False,
    **environ: str,
) -> AsyncIterator[Town]:
    """`text` is the config file's, none where it is None; `environ`, settings by name. `names_engines`: the file says where engines are."""
    file = folder / "scalesim.toml"
    arguments = {} if text is None else {"config": str(file)}
    if text is not None:
        file.write_text(text)
    async with AsyncExitStack() as stack:
        given = QUICK | environ
        if not names_engines:
            given["engine"] = await stack.enter_async_context(served(engine or EmulatedEngine().app))
        named = {f"SCALESIM_{name.upper()}": value for name, value in given.items()}
        configuration = Configuration.read(Sources.of(arguments, named))
        addresses, *_ = await stack.enter_async_context(
            assembled(configuration, Certificates(None, None), hurry=asyncio.Event())
        )
        admin, data = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_S, headers=headers)
            )
            for url, headers in ((f"{addresses.admin}/admin/v1", OPERATOR), (addresses.data, {}))
        ]
        async with asyncio.timeout(PATIENCE_S):
            while (await admin.get(f"{addresses.admin}/ready")).status_code != 200:
                pass
        yield Town(admin, data, folder, file.write_text)

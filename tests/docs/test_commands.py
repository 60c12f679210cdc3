"""What the documentation tells to type works as it is printed: each page on a proxy and an emulated engine of its own.

Only ports and addresses of other machines are put in: those of the town that the page is played in.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from scalesim.workloads.servers import Servers, free_port
from tests.faults.town import Process, Town, servers
from tests.proxy.state.servers import redis_server
from tests.support.patience import PATIENCE_S

from .pages import ROOT, RUNNABLE, Block, Page, Way, pages

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PLAYED = [
    page
    for page in pages()
    if any(one.language in RUNNABLE and one.way in (Way.RUN, Way.SERVES) for one in page.blocks)
]
QUICK = (
    *("--decode-s-per-token", "0.001"),
    *("--adapter-slots", "4", "--host-adapters", "8", "--host-tokens", "100000"),
)
STARTS_S = 120.0
"""For a whole program to be there, on a machine that is busy with other work."""
# A curl that is refused ends the block, and says with what.
PRELUDE = 'set -euo pipefail\ncurl() { command curl --fail-with-body --noproxy "*" "$@"; }\n'


@dataclass
class Place:
    """A folder with the commands of this tree, and a town."""

    folder: Path
    servers: Servers
    engine: Process
    proxy: Process
    instead: dict[str, str] = field(default_factory=dict)

    def local(self, text: str) -> str:
        for printed, here in self.instead.items():
            text = text.replace(printed, here)
        return text

    def environment(self, port: int, admin_port: int) -> Mapping[str, str]:
        return {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_PROXY": "*",
            "SCALESIM_PORT": str(port),
            "SCALESIM_ADMIN_PORT": str(admin_port),
        }

    def script(self, block: Block) -> list[str]:
        if block.language == "python":
            return [str(self.folder / "bin" / "python"), "-c", self.local(block.text)]
        return ["bash", "-c", f"cd {self.folder}\n{PRELUDE}{self.local(block.text)}"]

    async def run(self, block: Block) -> None:
        there = self.environment(self.proxy.port, int((self.proxy.admin_url or "").rpartition(":")[2]))
        process = await asyncio.create_subprocess_exec(
            *self.script(block),
            cwd=self.folder,
            env={**os.environ, **there},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            said, _ = await asyncio.wait_for(process.communicate(), STARTS_S)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise AssertionError(f"{block} did not end within {STARTS_S:g} s") from None
        assert process.returncode == 0, f"{block} ended with {process.returncode}:\n{said.decode()}"

    async def serves(self, block: Block) -> None:
        port, admin_port = free_port(), free_port()
        emulates = "scalesim.engine_adapters.emulated" in block.text
        url = f"http://127.0.0.1:{port}"
        told = self.environment(port, admin_port)
        script = [part.replace("--port 30000", f"--port {port}") for part in self.script(block)]
        server = self.servers.spawn(f"line-{block.line}", script, told, url)
        health = f"{url}/health" if emulates else f"http://127.0.0.1:{admin_port}/readyz"
        try:
            await self.servers.healthy(server, health, STARTS_S)
        finally:
            self.servers.stop(server)


@pytest.fixture
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, words in {"scalesim": "-m scalesim.proxy", "python": ""}.items():
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (commands / name).chmod(0o755)
    adapter = tmp_path / "pirate"
    adapter.mkdir()
    text = "".join(block.text for block in request.getfixturevalue("page").blocks)
    with ExitStack() as held:
        running = held.enter_context(servers(tmp_path / "town"))
        town = Town(running)
        engine = await town.engine(*QUICK)
        proxy = await town.proxy(engine.url)
        instead = {
            "http://127.0.0.1:8000": proxy.url,
            "http://127.0.0.1:8001": proxy.admin_url or "",
            "http://127.0.0.1:30000": engine.url,
            "http://gpu-1:30000": engine.url,
            '"/adapters/pirate"': f'"{adapter}"',
        }
        if "http://gpu-2:30000" in text:
            instead["http://gpu-2:30000"] = (await town.engine(*QUICK)).url
        if "redis://" in text:
            redis = held.enter_context(redis_server(tmp_path)).url()
            instead |= dict.fromkeys(re.findall(r"redis://[^\s`\"')]+", text), redis)
        here = Place(tmp_path, running, engine, proxy, instead)
        await somebody_has_called(here)
        yield here


async def somebody_has_called(here: Place) -> None:
    """Pages speak of a simulation `town`, and of Ann and Ben in it."""
    async with httpx.AsyncClient(base_url=here.proxy.url, trust_env=False, timeout=PATIENCE_S) as http:
        for agent in ("Ann", "Ben"):
            body = {
                "model": "any",
                "max_tokens": 2,
                "messages": [{"role": "user", "content": f"You are {agent}."}],
            }
            (await http.post(f"/sim/town/agent/{agent}/v1/chat/completions", json=body)).raise_for_status()


@pytest.mark.parametrize("page", PLAYED, ids=str)
async def test_every_command_works_as_it_is_printed(page: Page, place: Place) -> None:
    for block in page.blocks:
        if block.language not in RUNNABLE:
            continue
        if block.way is Way.RUN:
            await place.run(block)
        elif block.way is Way.SERVES:
            await place.serves(block)


def of(text: str, way: Way = Way.RUN) -> Block:
    return Block(ROOT / "docs" / "nowhere.md", 1, "sh", text, way)


NOTHING = Page(ROOT / "docs" / "nowhere.md", (), (), frozenset())


@pytest.mark.parametrize("page", [NOTHING], ids=["no page"])
@pytest.mark.parametrize(
    "command",
    [
        "curl -s http://127.0.0.1:8001/admin/v1/no-such-thing",
        "scalesim no-such-command",
        "curl -s http://127.0.0.1:8001/admin/v1/status | false",
        "false\ntrue",
    ],
)
async def test_a_command_that_fails_is_noticed(page: Page, place: Place, command: str) -> None:
    with pytest.raises(AssertionError, match="ended with"):
        await place.run(of(command))

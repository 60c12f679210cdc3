"""The README's commands work as they are printed."""

from __future__ import annotations

import asyncio
import json
import subprocess

import httpx
import pytest

from scalesim.proxy.core.model import AdapterName
from scalesim.workloads.servers import ROOT, Server

from .conftest import MemoryEngine
from .town import Town, town

pytestmark = [pytest.mark.engine, pytest.mark.slow]

_BEFORE, _, _REST = (ROOT / "README.md").read_text().partition("\n## Your own simulation, in five minutes\n")
README = _BEFORE + "\n## " + _REST.partition("\n## ")[2]
"""Without that section, whose simulation is played in tests/docs."""
WITH_ADAPTERS = "### Memory that is there before the call"
"""The section whose commands need an engine with LoRA."""


def commands_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("curl ")]


def sections() -> tuple[str, str]:
    """The README without the section on adapters, and that section."""
    before, heading, rest = README.partition(f"\n{WITH_ADAPTERS}\n")
    section, following, after = rest.partition("\n### ")
    assert heading
    assert following
    return before + following + after, section


async def answer_to(command: str, here: Town, adapter_path: str = "") -> str:
    """The body of a good answer."""
    # The tests' proxy is on a free port, and the tests' adapters are in a folder of their own; that is all that differs.
    local = command.replace("http://127.0.0.1:8000", here.data).replace("http://127.0.0.1:8001", here.admin)
    local = local.replace('/adapters/pirate"}', f'{adapter_path}"}}')
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", local + " -w '\\n%{http_code}'"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    body, _, status = done.stdout.rpartition("\n")
    assert status.startswith("2"), f"{command}\n{done.stdout}{done.stderr}"
    if "/v1/chat" in command:
        assert json.loads(body)["choices"][0]["message"]["content"]
    return body


@pytest.mark.anyio
async def test_every_curl_of_the_readme_is_answered(extended_engine: Server) -> None:
    commands = commands_in(sections()[0])
    assert len(commands) >= 8
    async with town(extended_engine.url) as here:
        for command in commands:
            await answer_to(command, here)


@pytest.mark.anyio
async def test_the_curls_on_adapters_are_answered_one_right_after_the_other(
    memory_engine: MemoryEngine,
) -> None:
    commands = commands_in(sections()[1])
    assert len(commands) == 3
    path = memory_engine.adapters[AdapterName("ad-0")]
    try:
        async with town(memory_engine.server.url) as here:
            bodies = [json.loads(await answer_to(command, here, path)) for command in commands]
            told = (await here.http.get(f"{here.admin}/admin/v1/adapters/pirate")).json()
    finally:
        # Other tests have the engine after this one.
        async with httpx.AsyncClient(base_url=memory_engine.server.url, trust_env=False) as http:
            await http.post("/unload_lora_adapter", json={"lora_name": "pirate"}, timeout=60)
    registered, assigned, _ = bodies
    assert registered["path"] == path
    assert assigned["problems"] == {}
    assert (told["agents"], told["problem"]) == (1, "")

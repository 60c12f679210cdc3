"""What the README shows of the admin API works as it is printed."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from scalesim.proxy.core.model import SimulationId

from .conftest import Proxy
from .test_hints import told

pytestmark = pytest.mark.anyio
_, _, _REST = (Path(__file__).parents[3] / "README.md").read_text().partition("\n### Tell what you know\n")
SECTION = _REST.partition("\n### ")[0]
ADMIN = "http://127.0.0.1:8001"
TOWN = SimulationId("town")


async def test_every_kind_of_knowledge_can_be_told_as_the_readme_shows(proxy: Proxy) -> None:
    for agent in ("Ann", "Ben"):
        proxy.call(TOWN, agent)
    commands = [line for line in SECTION.splitlines() if line.startswith("curl ") and ADMIN in line]
    shown = {re.search(r"/([a-z]+)'?(?: |$)", line.partition("http://")[2]) for line in commands}
    assert {found[1] for found in shown if found} >= {
        *("ticks", "distances", "actions", "space", "positions", "interactions", "graph", "activations"),
        *("answers", "leave", "update", "village"),
    }
    for command in commands:
        local = command.replace(ADMIN, str(proxy.client.base_url).rstrip("/"))
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", local + " -w '\\n%{http_code}'"), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert out.rpartition(b"\n")[2].startswith(b"2"), f"{command}\n{out.decode()}"
    assert not proxy.controller.knows(SimulationId("village"))


async def test_the_lines_of_python_tell_what_they_say(proxy: Proxy) -> None:
    proxy.call(TOWN, "Ann")
    (code,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    local = code.replace(ADMIN, str(proxy.client.base_url).rstrip("/")) + "town.close()\n"
    await asyncio.to_thread(exec, compile(local, "README.md", "exec"), {})
    assert (await told(proxy, TOWN))["Ben"] == (9, "steps", "hinted")

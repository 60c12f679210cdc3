"""The README's commands work as they are printed."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess

import pytest

from scalesim.workloads.servers import ROOT, Server

from .town import town

pytestmark = [pytest.mark.engine, pytest.mark.slow]

COMMANDS = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("curl ")]


@pytest.mark.anyio
async def test_every_curl_of_the_readme_is_answered(extended_engine: Server) -> None:
    assert len(COMMANDS) >= 8
    async with town(extended_engine.url) as here:
        for command in COMMANDS:
            # The tests' proxy is on a free port; that is all that differs.
            local = command.replace("http://127.0.0.1:8000", here.data).replace(
                "http://127.0.0.1:8001", here.admin
            )
            done = await asyncio.to_thread(
                subprocess.run,
                ["bash", "-c", local + " -w '\\n%{http_code}'"],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            body, _, status = done.stdout.rpartition("\n")
            assert status.startswith("2"), f"{command}\n{done.stdout}{done.stderr}"
            if "/v1/chat" in command:
                assert json.loads(body)["choices"][0]["message"]["content"]


def test_the_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert {"demo", "test"} <= named
    assert all(re.search(rf"^{name}:", makefile, re.MULTILINE) for name in named)

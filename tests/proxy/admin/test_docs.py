"""What docs/admin.md shows works as it is printed, in the order in which it stands there, and nothing is left out."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from scalesim.proxy.admin.operations import Operation
from scalesim.proxy.admin.problem_types import MEANINGS

from .conftest import Proxy
from .test_openapi import routes

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
PAGE = (Path(__file__).parents[3] / "docs" / "admin.md").read_text()
ADMIN = "http://127.0.0.1:8001"
COMMANDS = [line for line in PAGE.splitlines() if line.startswith("curl ")]
TAGS = frozenset(
    {"simulations", "agents", "pins", "engines", "adapters", "actions", "operations", "problems"}
)
"""Of which this page tells."""
ELSEWHERE = ("/host-copy", "/simulations/{simulation}/adapters")
"""Shown in the README."""


async def test_every_command_works_as_it_is_printed(told: Proxy) -> None:
    async def nothing(_: Operation) -> None:
        pass

    known = told.operations.begin("prefetch", {"simulation": "town", "agent": "Ann"}, nothing)
    failed: list[str] = []
    for command in COMMANDS:
        local = command.replace(ADMIN, str(told.client.base_url).rstrip("/")).replace("/ID", f"/{known.id}")
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", local + " -w '\\n%{http_code}'"), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        if not out.rpartition(b"\n")[2].startswith(b"2"):
            failed.append(f"{command}\n{out.decode()}")
    assert not failed, "\n\n".join(failed)


async def test_every_route_of_these_is_shown(told: Proxy) -> None:
    described = (await told.client.get("/openapi.json")).json()
    missing: list[str] = []
    for route in routes(described):
        if not TAGS.intersection(route.described["tags"]) or route.path.endswith(ELSEWHERE):
            continue
        method = "" if route.method == "get" else f"-X {route.method.upper()} "
        path = re.sub(r"\\\{[a-z]+\\\}", "[^/?' ]+", re.escape(route.path))
        if not any(re.search(f"{method}'?{ADMIN}{path}(?=[?' ]|$)", command) for command in COMMANDS):
            missing.append(str(route))
    assert not missing


def test_the_types_of_problems_that_are_named_exist() -> None:
    known = {one.value for one in MEANINGS}
    assert set(re.findall(r"`409` `([a-z-]+)`", PAGE)) <= known

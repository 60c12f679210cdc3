"""Members as processes, one of which is killed or stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S

from .group import Proxy, running, until
from .servers import redis_server

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def one_member(url: str, agents: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """It leads when the body begins."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.proxy.state.one_member", url, "other", str(agents)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert (await said(process)).startswith("leads")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        return (await process.stdout.readline()).decode()


async def test_when_the_leading_process_is_killed_another_one_leads_within_three_seconds(
    tmp_path: Path,
) -> None:
    with redis_server(tmp_path) as server:
        async with one_member(server.url(), 100) as other:
            one = Proxy("one", server.url(), ttl_s=1.5)
            async with running(one):
                await until(lambda: one.member.status().leader_url == "http://other", "its leading")
                await asyncio.sleep(
                    1.0
                )  # for it to write its agents down: nobody can be asked whether it did
                assert not one.member.leads
                other.kill()
                killed_at = time.monotonic()
                await until(one.member.may_command, "another leader")
                assert time.monotonic() - killed_at < 3.0
                assert len(one.names()) == 100


async def test_a_leader_that_was_stopped_finds_that_it_leads_no_more(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with one_member(server.url(), 1) as other:
            one = Proxy("one", server.url(), ttl_s=1.5)
            async with running(one):
                other.send_signal(signal.SIGSTOP)
                await until(one.member.may_command, "another leader")
                token = one.member.lease.token
                other.send_signal(signal.SIGCONT)
                assert await said(other) == "stopped\n"
                await asyncio.sleep(0.5)
                assert one.member.may_command()
                assert one.member.lease.token == token

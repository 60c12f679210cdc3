"""The configuration read again by a signal, and what takes its values."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

import httpx
import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.app import ServerAddresses, serve
from scalesim.proxy.configuration import Configuration
from scalesim.proxy.settings import GROUPS, LIVE, Settings, Sources, listed
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve as served

pytestmark = pytest.mark.anyio


def test_no_setting_is_taken_twice() -> None:
    assert sum(map(len, GROUPS.values())) == len(LIVE)
    assert {one.name for one in listed() if one.is_live} == LIVE


@pytest.mark.slow
async def test_at_sighup_the_file_is_read_again_and_a_wrong_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "scalesim.toml"
    file.write_text("port = 0\nadmin_port = 0\nqueue_limit = 5\n")
    ready: asyncio.Future[ServerAddresses] = asyncio.get_running_loop().create_future()
    async with (
        served(EmulatedEngine().app) as url,
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client,
    ):
        configuration = Configuration.read(Sources.of({"config": str(file), "engine": url}, {}))
        with caplog.at_level(logging.INFO, "scalesim"):
            serving = asyncio.create_task(serve(configuration, ready=ready.set_result))
            addresses = await asyncio.wait_for(ready, PATIENCE_S)

            async def shown() -> Settings:
                await client.get(f"{addresses.admin}/health")
                return configuration.settings

            file.write_text("port = 1\nadmin_port = 0\nqueue_limit = 6\n")
            os.kill(os.getpid(), signal.SIGHUP)
            async with asyncio.timeout(PATIENCE_S):
                while (await shown()).queue_limit != 6:
                    pass
            assert configuration.waiting == ("port",)
            file.write_text("queue_limit = 0\n")
            os.kill(os.getpid(), signal.SIGHUP)
            async with asyncio.timeout(PATIENCE_S):
                while "stays as it was" not in caplog.text:
                    await shown()
            assert (await shown()).queue_limit == 6
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(serving, PATIENCE_S)
    assert "the configuration was read again: queue_limit changed, port need a restart" in caplog.messages
    assert (
        f"the configuration stays as it was: queue_limit in {file}: 0 is not a number of calls (a whole one, 1 to 1000000)"
        in caplog.messages
    )

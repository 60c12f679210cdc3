from __future__ import annotations

import asyncio
import json
from pathlib import Path
from threading import Event, Thread

import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.cli.ending import PROBLEM
from scalesim.workloads.replay import profiles
from tests.support.serve import serve

from .running import invoke


@pytest.mark.slow
def test_a_live_engine_becomes_a_profile(tmp_path: Path) -> None:
    """The command has a loop of its own, so the engine has a thread."""
    up, over = Event(), Event()
    urls: list[str] = []

    async def serving() -> None:
        engine = EmulatedEngine(capacity_tokens=9_000, prefill_s_per_token=1e-4, decode_s_per_token=0.005)
        async with serve(engine.app) as url:
            urls.append(url)
            up.set()
            await asyncio.to_thread(over.wait)

    thread = Thread(target=asyncio.run, args=(serving(),))
    thread.start()
    try:
        assert up.wait(20)
        out = tmp_path / "found.toml"
        result = invoke("calibrate", f"{urls[0]}/v1", "--out", str(out), "--name", "toy", "--json")
    finally:
        over.set()
        thread.join()
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["profile"]["capacity_tokens"] == 9_000
    assert "it has no adapters: they are not measured" in told["notes"]
    assert profiles.measured(str(out)).name == "toy"


@pytest.mark.slow
def test_who_does_not_answer_cannot_be_measured(tmp_path: Path) -> None:
    out = tmp_path / "found.toml"
    result = invoke("calibrate", "http://127.0.0.1:1", "--out", str(out))
    assert result.exit_code == PROBLEM
    assert "cannot be measured" in result.stderr
    assert not out.exists()

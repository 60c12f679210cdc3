"""What stands in the log of a proxy that serves: request ids, and nothing of what was asked."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve as served

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


async def test_each_line_of_a_call_names_it_and_none_says_what_was_asked(tmp_path: Path) -> None:
    port, admin_port = free_port(), free_port()
    async with served(EmulatedEngine().app) as engine, httpx.AsyncClient(trust_env=False) as client:
        with (tmp_path / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "scalesim.proxy", "serve", "--log-level", "debug"),
                *("--engine", f"up={engine}", "--engine", f"down=http://127.0.0.1:{free_port()}"),
                *("--port", str(port), "--admin-port", str(admin_port)),
                env={**os.environ, "SCALESIM_LOG_FORMAT": "json", "SCALESIM_PLACEMENT": "round_robin"},
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )
        try:
            async with asyncio.timeout(2 * PATIENCE_S):
                await until_ready(client, admin_port)
                answers = [
                    await client.post(
                        f"http://127.0.0.1:{port}/v1/chat/completions",
                        json={
                            "model": "emulated",
                            "messages": [{"role": "user", "content": "a secret prompt"}],
                            "max_tokens": 2,
                        },
                        headers={"x-agent-id": "Ann Sullivan", "x-request-id": f"mine-{number}"},
                    )
                    for number in range(4)
                ]
                made = await client.get(f"http://127.0.0.1:{port}/v1/models")
        finally:
            process.terminate()
            await process.wait()
    assert [one.headers["x-request-id"] for one in answers] == [f"mine-{number}" for number in range(4)]
    assert len(made.headers["x-request-id"]) == 32
    text = (tmp_path / "log").read_text()
    lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    ended = [one["request_id"] for one in lines if one["message"].startswith("a call at")]
    assert ended == [f"mine-{number}" for number in range(4)]
    assert all({"time", "level", "logger", "message"} <= one.keys() for one in lines)
    assert "secret" not in text
    assert "Sullivan" not in text


async def until_ready(client: httpx.AsyncClient, admin_port: int) -> None:
    while True:
        try:
            answer = await client.get(f"http://127.0.0.1:{admin_port}/ready")
        except httpx.TransportError:
            await asyncio.sleep(0.1)
            continue
        if answer.status_code == 200:
            return

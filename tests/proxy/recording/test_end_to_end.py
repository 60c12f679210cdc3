"""Calls through the whole proxy, and what its trace says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.app import running
from scalesim.proxy.recording import CannotRecord
from scalesim.proxy.recording.files import lines_of
from scalesim.proxy.recording.trace import Call, Reading
from tests.proxy.test_app import chat, proxied, settings_for

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ANN = "Ännchen-von-Tharau"
WORDS = "Mein Leben schließ ich um deines herum. " * 20
SECRETS = (ANN, "%C3%84nnchen", "nchen-von", "Mein Leben", "herum", "Tharau-Town", "sk-geheim", "lora-von")


def body(**fields: object) -> dict[str, object]:
    return {"model": "emulated", "messages": [{"role": "user", "content": WORDS}], "max_tokens": 4, **fields}


async def streamed(client: httpx.AsyncClient, url: str) -> list[str]:
    headers = {"authorization": "Bearer sk-geheim", "x-request-id": "sk-geheim"}
    options = {"stream": True, "stream_options": {"include_usage": True}, "user": ANN}
    async with client.stream("POST", url, json=body(**options), headers=headers) as answer:
        return [line async for line in answer.aiter_lines() if line]


def read(path: Path) -> tuple[Reading, list[Call]]:
    reading = Reading(lines_of(path))
    return reading, list(reading)


def traces(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if path.suffix != ".salt":
            yield path.read_text()


async def test_a_stream_and_its_repetition_are_recorded_without_a_word_of_them(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    async with proxied(EmulatedEngine(adapter_slots=3), record=str(path)) as (addresses, client):
        url = f"{addresses.data}/sim/Tharau-Town/agent/{ANN}/v1/chat/completions"
        lines = await streamed(client, url)
        again = await client.post(url, json=body())
        wrong = await client.post(url, json=body(model="emulated:lora-von-Tharau"))
        await client.post(
            f"{addresses.data}/sim/Tharau-Town/agent/{'x' * 300}/v1/chat/completions", json=body()
        )
        async with asyncio.timeout(10):
            recorded: dict[str, Any] = {"calls": 0}
            while recorded["calls"] < 3:
                recorded = (await client.get(f"{addresses.admin}/admin/v1/status")).json()["recording"]
        metrics = (await client.get(f"{addresses.admin}/metrics")).text
    assert lines[-1] == "data: [DONE]"
    reading, (first, second, third) = read(path)
    assert (reading.skips, reading.lost, reading.headers[0].text) == (0, 0, False)
    assert (first.stream, second.stream) == (True, False)
    assert first.session_id == second.session_id is not None
    assert first.hash_ids == second.hash_ids
    assert len(first.hash_ids) == 4
    assert second.timestamp > first.timestamp > 0
    assert first.first_byte_ms is not None
    assert 0 < first.first_byte_ms <= first.end_ms
    usage = again.json()["usage"]
    assert (second.prompt_tokens, second.output_length) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )
    assert second.cached_tokens == usage["prompt_tokens_details"]["cached_tokens"] > 0
    assert (first.outcome, first.source, first.route) == ("done", "URL", "/v1/chat/completions")
    assert third.status == wrong.status_code == 400
    assert third.adapter is not None
    assert not set(third.hash_ids) & set(second.hash_ids)
    assert (recorded["lost"], recorded["full_text"]) == (0, False)
    assert 'scalesim_trace_calls_total{result="recorded"} 3' in metrics
    assert 'scalesim_table_entries{table="trace_calls_waiting"}' in metrics
    for written in traces(tmp_path):
        for secret in SECRETS:
            assert secret not in written


async def test_full_text_is_there_when_it_was_chosen_and_keys_never_are(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    async with proxied(EmulatedEngine(), record=str(path), record_full_text=True) as (addresses, client):
        await streamed(client, f"{addresses.data}/sim/Tharau-Town/agent/{ANN}/v1/chat/completions")
        plain = (await client.post(f"{addresses.data}/v1/chat/completions", json=body())).json()
    reading, (first, second) = read(path)
    assert reading.headers[0].text
    assert first.text is not None
    assert second.text is not None
    assert (first.text.agent, first.text.simulation) == (ANN, "Tharau-Town")
    assert first.text.body is not None
    assert first.text.body["messages"] == [{"role": "user", "content": WORDS}]
    assert "rid" not in first.text.body
    assert second.text.body == body()
    assert second.text.answer == plain["choices"][0]["message"]["content"]
    assert first.text.answer == second.text.answer
    assert path.stat().st_mode & 0o777 == 0o600
    assert "geheim" not in path.read_text()


async def test_a_proxy_without_a_trace_says_so(tmp_path: Path) -> None:
    async with proxied(EmulatedEngine()) as (addresses, client):
        await chat(client, addresses, "Ann")
        status = (await client.get(f"{addresses.admin}/admin/v1/status")).json()
        metrics = (await client.get(f"{addresses.admin}/metrics")).text
    assert status["recording"] is None
    assert "scalesim_trace_" not in metrics


async def test_a_proxy_whose_trace_cannot_be_begun_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(CannotRecord, match="nowhere"):
        async with running(
            settings_for("http://127.0.0.1:9", record=str(tmp_path / "nowhere" / "trace.jsonl"))
        ):
            pass

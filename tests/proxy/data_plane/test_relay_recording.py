"""What the relay tells of a call to whoever keeps a record of calls."""

from __future__ import annotations

import json

import orjson
import pytest

from scalesim.proxy.core.model import Outcome, Usage
from scalesim.proxy.served_call import ServedCall

from .rig import SOON_S, Recorder, Stuck, client, raw_client, raw_post, rig

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
SSE = ((b"content-type", b"text/event-stream"),)
COUNTS = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}}
BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello."}], "lora_path": "ann-lora"}


async def test_a_call_is_told_of_once_with_all_that_is_known() -> None:
    told: list[ServedCall] = []
    stream = b'data: {"choices": [{"delta": {"content": "Hi."}}]}\n\n'
    usage = b"data: " + orjson.dumps({"choices": [], "usage": COUNTS}) + b"\n\n"
    async with (
        rig(Recorder(stream, usage, b"data: [DONE]\n\n", headers=SSE), record=told.append) as r,
        client() as c,
    ):
        await c.post(
            f"{r.url}/sim/town/agent/Ann{CHAT}",
            content=orjson.dumps(BODY),
            headers={"content-type": "application/json"},
        )
        end = await r.log.until_ended()
    (call,) = told
    (started,) = r.log.started
    assert (call.call, call.arrived_at, call.ended_at) == (started.call, started.at, end.at)
    assert (call.route, call.simulation, call.agent, call.source) == (CHAT, "town", "Ann", "URL")
    assert (call.confidence, call.adapter) == (1.0, "ann-lora")
    assert (call.body, call.raw) == (BODY, orjson.dumps(BODY))  # without what the engine got besides
    assert call.first_byte_at is not None
    assert call.arrived_at < call.first_byte_at < call.ended_at
    assert (call.outcome, call.status, call.usage) == (Outcome.DONE, 200, Usage(9, 8, 2))
    assert call.answer is not None
    assert call.answer.text() == "Hi."
    assert call.answer.held_bytes == len(stream) + len(usage) + len(b"data: [DONE]\n\n")


async def test_an_answer_of_the_engines_that_says_no_is_told_with_its_status() -> None:
    told: list[ServedCall] = []
    async with rig(Recorder(b'{"error": "no"}', status=400), record=told.append) as r, client() as c:
        await c.post(r.url + CHAT, content=b"no json")
        await r.log.until_ended()
    assert [(one.status, one.outcome, one.body, one.agent) for one in told] == [
        (400, Outcome.DONE, None, None)
    ]


async def test_an_engine_that_is_not_there_has_no_status_and_no_first_byte() -> None:
    told: list[ServedCall] = []
    async with rig("http://127.0.0.1:9", record=told.append) as r, client() as c:
        assert (await c.post(r.url + CHAT, json=BODY)).status_code == 502
        await r.log.until_ended()
    assert [(one.status, one.outcome, one.first_byte_at, one.answer) for one in told] == [
        (None, Outcome.ENGINE_FAILED, None, None)
    ]


async def test_a_client_that_leaves_is_told_of_too() -> None:
    told: list[ServedCall] = []
    engine = Stuck(first=b"data: 1\n\n")
    request = raw_post(CHAT, json.dumps(BODY).encode())
    async with rig(engine, record=told.append) as r, raw_client(r.port, request) as (reader, writer):
        await reader.readuntil(b"data: 1\n\n")
        writer.close()
        await r.log.until_ended(timeout_s=4 * SOON_S)
    ((outcome, status, usage),) = [(one.outcome, one.status, one.usage) for one in told]
    assert (outcome, status, usage) == (Outcome.CLIENT_GONE, 200, None)
    assert told[0].first_byte_at is not None


async def test_what_is_no_call_or_was_refused_is_not_told() -> None:
    told: list[ServedCall] = []
    async with rig(Recorder(), record=told.append) as r, client() as c:
        await c.get(f"{r.url}/v1/models")
        await c.post(r.url + CHAT, json=BODY, headers={"X-Simulation-ID": "no such name!"})
    assert told == []

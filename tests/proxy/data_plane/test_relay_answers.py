"""How long an agent acts, read in the answers that go by: clients get theirs as ever, and send nothing for it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import orjson
import pytest

from scalesim.proxy.core.durations import RULES, Reading, Rule, Scale
from scalesim.proxy.core.events import CallEnded
from scalesim.proxy.core.model import Clock, Mode, Outcome
from scalesim.proxy.data_plane.usage import MAX_JSON_BYTES, MAX_TEXT_BYTES

from .rig import Engine, Recorder, Stuck, client, raw_client, raw_engine, raw_post, rig

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
READING = Reading(RULES, Scale(Clock.STEPS, 0.2))
ANN = {"X-Agent-ID": "Ann"}
SSE = ((b"content-type", b"text/event-stream; charset=utf-8"),)
COUNTS = {"prompt_tokens": 9, "completion_tokens": 2}


def spoken(text: str, **other: object) -> bytes:
    return orjson.dumps({"choices": [{"index": 0, "message": {"content": text}}], "usage": COUNTS, **other})


def streamed(*texts: str) -> bytes:
    events = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    lines = [
        b"data: " + orjson.dumps(event) + b"\n\n" for event in [*events, {"choices": [], "usage": COUNTS}]
    ]
    return b"".join([*lines, b"data: [DONE]\n\n"])


async def ended(
    engine: Engine | str,
    *,
    headers: Mapping[str, str] = ANN,
    reading: Reading | None = READING,
    mode: Mode = Mode.ON,
    path: str = CHAT,
) -> tuple[CallEnded, bytes]:
    """The end of one call, and what its client got."""
    async with rig(engine, reading=reading, mode=mode) as r, client() as c:
        response = await c.post(r.url + path, json={"model": "m"}, headers=headers)
        return await r.log.until_ended(), response.content


async def test_an_answer_says_how_long_its_agent_acts() -> None:
    raw = spoken('{"time": 10}')
    end, got = await ended(Recorder(raw[:20], raw[20:]))
    assert (end.said, end.acts_for, end.outcome) == ((2.0, Clock.STEPS), None, Outcome.DONE)
    assert got == raw
    assert end.usage is not None


async def test_a_streamed_answer_says_it_too() -> None:
    raw = streamed("I paint ", "for 2", " hou", "rs.")
    end, got = await ended(Recorder(raw[:70], raw[70:], headers=SSE))
    assert end.said == (24.0, Clock.STEPS)
    assert got == raw


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/completions", {"choices": [{"text": "(duration in minutes: 15, minutes left: 5)"}]}),
        ("/generate", {"text": "It takes 15 minutes.", "meta_info": {}}),
        ("/v1/responses", {"output": [{"content": [{"type": "output_text", "text": "for 15 minutes"}]}]}),
    ],
)
async def test_all_routes_are_read(path: str, answer: dict[str, object]) -> None:
    end, _ = await ended(Recorder(orjson.dumps(answer)), path=path)
    assert end.said == (3.0, Clock.STEPS)


async def test_an_agent_known_by_the_fields_of_its_body_will_do() -> None:
    async with rig(Recorder(spoken("for 15 minutes")), reading=READING) as r, client() as c:
        for user in ("Ann", "Bob"):
            await c.post(r.url + CHAT, json={"user": user})
        end = await r.log.until_ended(2)
    assert r.log.started[-1].agent == "Bob"
    assert end.said == (3.0, Clock.STEPS)


@pytest.mark.parametrize(
    ("headers", "reading", "mode"),
    [
        ({}, READING, Mode.ON),
        ({**ANN, "X-Agent-Acts-For": "7 steps"}, READING, Mode.ON),
        (ANN, None, Mode.ON),
        (ANN, Reading((), READING.scale), Mode.ON),
        (ANN, Reading((Rule("mine", "busy (?P<amount>[0-9]{1,3}+)"),), READING.scale), Mode.ON),
        (ANN, READING, Mode.OFF),
    ],
    ids=["agent unknown", "told by the header", "not switched on", "no rules", "no such rule", "mode off"],
)
async def test_nothing_is_read(headers: dict[str, str], reading: Reading | None, mode: Mode) -> None:
    raw = spoken("for 2 hours")
    end, got = await ended(Recorder(raw), headers=headers, reading=reading, mode=mode)
    assert (end.said, end.outcome) == (None, Outcome.DONE)
    assert end.acts_for == ((7.0, Clock.STEPS) if "X-Agent-Acts-For" in headers else None)
    assert got == raw


async def test_in_shadow_answers_are_read() -> None:
    end, _ = await ended(Recorder(spoken("for 15 minutes")), mode=Mode.SHADOW)
    assert end.said == (3.0, Clock.STEPS)


@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        (b'{"choices": [{"message": {"content": "for 2 hours"', Recorder().head[1]),
        (b"\xff for 2 hours", Recorder().head[1]),
        (b"[" * 5000, Recorder().head[1]),
        (b'{"choices": [{"message": {"content": "\\ud800 for 2 hours"}}]}', Recorder().head[1]),
        (b'{"error": {"message": "try again in for 2 hours"}}', Recorder().head[1]),
        (spoken("for 2 hours", padding="x" * MAX_TEXT_BYTES), Recorder().head[1]),
        (spoken("for 2 hours", padding="x" * MAX_JSON_BYTES), Recorder().head[1]),
        (b'data: {"choices": [{"delta": {"content": "for 2 hou\n\ndata: [DONE]\n\n', SSE),
        (spoken("for 2 hours"), ((b"content-type", b"text/plain"),)),
    ],
    ids=[
        *("broken JSON", "no UTF-8", "too deep", "half a character", "an error", "long", "over the limit"),
        *("broken event", "another type"),
    ],
)
async def test_what_cannot_be_read_says_nothing_and_comes_through(
    raw: bytes, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    end, got = await ended(Recorder(raw, headers=tuple(headers)))
    assert (end.said, end.outcome) == (None, Outcome.DONE)
    assert got == raw


async def test_a_client_that_leaves_in_the_middle_heard_nothing() -> None:
    engine = Stuck(first=streamed("for 2 hours").removesuffix(b"data: [DONE]\n\n"))
    async with rig(engine, reading=READING) as r:
        request = raw_post(CHAT, b'{"stream": true}', "X-Agent-ID: Ann")
        async with raw_client(r.port, request) as (reader, writer):
            await reader.readuntil(b"for 2 hours")
            writer.close()
            end = await r.log.until_ended()
    assert (end.outcome, end.said) == (Outcome.CLIENT_GONE, None)


async def test_a_client_that_leaves_right_after_the_end_of_its_stream_heard_it() -> None:
    engine = Stuck(first=streamed("for 2 hours"))  # the end of its connection is still to come
    async with rig(engine, reading=READING) as r:
        request = raw_post(CHAT, b'{"stream": true}', "X-Agent-ID: Ann")
        async with raw_client(r.port, request) as (reader, writer):
            await reader.readuntil(b"[DONE]\n\n")
            writer.close()
            end = await r.log.until_ended()
    assert (end.outcome, end.said) == (Outcome.DONE, (24.0, Clock.STEPS))


async def test_an_engine_that_breaks_off_said_nothing() -> None:
    async def talk(reader: object, writer: object) -> None:
        body = streamed("for 2 hours")
        head = (
            f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(body) + 9}\r\n\r\n"
        )
        writer.write(head.encode() + body)  # type: ignore[attr-defined]
        await writer.drain()  # type: ignore[attr-defined]

    async with raw_engine(talk) as url, rig(url, reading=READING) as r:
        request = raw_post(CHAT, b"{}", "X-Agent-ID: Ann", "Connection: close")
        async with raw_client(r.port, request) as (reader, _):
            await reader.read()
            end = await r.log.until_ended()
    assert (end.outcome, end.said) == (Outcome.ENGINE_FAILED, None)


async def test_the_call_ends_before_the_client_can_make_its_next() -> None:
    async with rig(Recorder(spoken("for 15 minutes")), reading=READING) as r, client() as c:
        for _ in range(5):
            await c.post(r.url + CHAT, json={}, headers=ANN)
        await r.log.until_ended(5)
    assert [type(event).__name__ for event in r.log.events] == ["CallStarted", "CallEnded"] * 5
    assert {event.said for event in r.log.ended} == {(3.0, Clock.STEPS)}
    ends = [event.at for event in r.log.events]
    assert all(one < other for one, other in itertools.pairwise(ends))

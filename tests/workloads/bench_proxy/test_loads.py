from __future__ import annotations

import json

import pytest

from scalesim.workloads.bench_proxy.http1 import Message, Messages
from scalesim.workloads.bench_proxy.loads import (
    AGENTS,
    JSON_ANSWER,
    JSON_BODY,
    LOADS,
    PROMPTS,
    SSE_BODY,
    SSE_WRITES,
    Load,
    fault_of,
    requests,
)

OK = b"http/1.1 200 ok"


def _read(raw: bytes) -> Message:
    message = Messages().feed(raw)
    assert message is not None
    return message


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.name)
def test_every_request_has_the_size_it_should_have_and_another_agent(load: Load) -> None:
    prepared = requests(load, "127.0.0.1:1", seed=1)
    bodies = [_read(one).body for one in prepared]
    assert {len(body) for body in bodies} == {load.body_bytes}
    told = [json.loads(body) for body in bodies]
    assert {one["stream"] for one in told} == {load.streams}
    whose = [one["messages"][1]["content"].splitlines()[1] for one in told]
    assert len(set(whose)) == AGENTS
    assert len(set(bodies)) == AGENTS * PROMPTS


def test_the_same_seed_asks_for_the_same() -> None:
    load = LOADS[0]
    assert requests(load, "a", seed=1) == requests(load, "a", seed=1) != requests(load, "a", seed=2)


def test_named_requests_say_in_a_header_whose_they_are() -> None:
    plain, named = (requests(LOADS[0], "a", seed=1, named=named) for named in (False, True))
    assert not any(b"x-agent-id" in one for one in plain)
    assert all(b"\r\nx-agent-id: agent-" in one for one in named)
    assert [_read(one).body for one in plain] == [_read(one).body for one in named]


def test_the_answers_have_the_sizes_of_the_aims() -> None:
    assert len(JSON_BODY) == 1024
    assert _read(JSON_ANSWER) == Message(OK, JSON_BODY, False)
    assert len(SSE_WRITES) == 64
    assert _read(b"".join(SSE_WRITES)) == Message(OK, SSE_BODY, False)
    events = [event.removeprefix("data: ") for event in SSE_BODY.decode().split("\n\n") if event]
    assert events[-1] == "[DONE]"
    contents = [json.loads(event)["choices"][0]["delta"].get("content") for event in events[:-1]]
    assert len([one for one in contents if one]) == 64
    assert contents[-2:] == ["over and out", None]


@pytest.mark.parametrize(
    ("start", "body", "streams", "to_the_byte", "fault"),
    [
        (OK, JSON_BODY, False, True, None),
        (OK, JSON_BODY[:-1], False, True, "1023 bytes for 1024"),
        (OK, JSON_BODY[:-1] + b" ", False, True, "other bytes"),
        (OK, SSE_BODY, True, True, None),
        (OK, SSE_BODY.replace(b"[DONE]", b""), True, True, f"{len(SSE_BODY) - 6} bytes for {len(SSE_BODY)}"),
        (OK, JSON_BODY + b" ", False, False, None),
        (OK, JSON_BODY.replace(b"over and out", b""), False, False, "the last words are missing"),
        (OK, SSE_BODY + b"\n", True, False, None),
        (OK, SSE_BODY.replace(b"[DONE]", b""), True, False, "the last chunk is missing"),
        (b"http/1.1 503 no", JSON_BODY, False, True, "status 503"),
        (b"http/1.0 200 ok", JSON_BODY, False, True, "no HTTP/1.1"),
    ],
)
def test_an_answer_is_right_or_has_a_fault(
    start: bytes, body: bytes, streams: bool, to_the_byte: bool, fault: str | None
) -> None:
    assert fault_of(start, body, streams=streams, to_the_byte=to_the_byte) == fault

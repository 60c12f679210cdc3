from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.model import Outcome
from scalesim.proxy.recording.hashing import Hasher
from scalesim.proxy.recording.lines import Lines
from scalesim.proxy.recording.trace import Reading

from .calls import KEY, call


def lines(*, full_text: bool = False) -> Lines:
    return Lines(Hasher(KEY), full_text=full_text, started_at=100.0, start_unix_s=1_800_000_000.0)


def told(one: Any, *, full_text: bool = False) -> dict[str, Any]:
    line = lines(full_text=full_text).call(one)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_says_what_happened_when() -> None:
    line = told(call(2, "Hello. " * 100, fields={"stream": True}))
    hashed = {name: line.pop(name) for name in ("hash_ids", "session_id", "simulation", "model")}
    assert line == {
        "timestamp": 2000.0,
        "request_id": "2",
        "input_length": 177,
        "output_length": 7,
        "cut": False,
        "kind": "agent",
        "source": "X-Agent-ID",
        "confidence": 1.0,
        "step": None,
        "route": "/v1/chat/completions",
        "adapter": None,
        "stream": True,
        "first_byte_ms": 250.0,
        "end_ms": 1500.0,
        "outcome": "done",
        "status": 200,
        "prompt_tokens": 40,
        "cached_tokens": 32,
    }
    assert len(hashed["hash_ids"]) == 3
    assert all(hashed.values())


def test_blocks_and_input_length_fit_together() -> None:
    for words in (1, 50, 500, 5000):
        line = told(call(content="word " * words))
        assert len(line["hash_ids"]) == -(-line["input_length"] // 64)


def test_a_call_that_failed_says_so() -> None:
    failed = call(
        agent=None,
        outcome=Outcome.ENGINE_FAILED,
        status=None,
        usage=None,
        first_byte_at=None,
        body=None,
        raw=b"\xff",
    )
    line = told(failed)
    assert (line["outcome"], line["status"], line["output_length"], line["first_byte_ms"]) == (
        "engine_failed",
        None,
        None,
        None,
    )
    assert (line["session_id"], line["model"], line["hash_ids"], line["input_length"]) == (None, None, [], 0)


def test_a_caller_is_the_same_in_one_simulation_only() -> None:
    ann, again = told(call(1)), told(call(2, "Something else."))
    anna, elsewhere = told(call(3, agent="Anna")), told(call(4, simulation="city"))
    assert ann["session_id"] == again["session_id"]
    assert len({ann["session_id"], anna["session_id"], elsewhere["session_id"]}) == 3


def test_prompts_on_other_adapters_share_no_blocks() -> None:
    plain, adapted = told(call(1)), told(call(2, adapter="ann-lora"))
    assert plain["hash_ids"] != adapted["hash_ids"]
    assert adapted["adapter"] not in (None, "ann-lora")


def test_full_text_is_what_was_sent_and_said() -> None:
    raw = b'{\r\n "model": "base",\n "temperature": 1.00, "messages": [{"role": "user", "content": "Hi,\\nAnn"}]\n}'
    one = replace(call(adapter="ann-lora", said="Good morning.\ud83d"), raw=raw, body=orjson.loads(raw))
    line = lines(full_text=True).call(one)
    assert b'"temperature": 1.00' in line
    (header, found) = lines(full_text=True).header(0), json.loads(line)
    assert found.pop("text") == {
        "simulation": "town",
        "agent": "Ann",
        "adapter": "ann-lora",
        "body": json.loads(raw),
        "answer": "Good morning.?",
    }
    assert found == told(one)  # the rest is what is in every trace
    assert json.loads(header)["text"] is True
    assert "in full" in json.loads(header)["redacted"]
    assert line.count(b"\n") == 1


def test_a_body_that_was_not_understood_is_left_out_of_a_full_text() -> None:
    assert told(call(body=None, raw=b"\xff\n"), full_text=True)["text"]["body"] is None


def test_the_header_says_what_is_hidden_and_how_to_read_the_rest() -> None:
    header = json.loads(lines().header(3))
    assert "hashes" in header.pop("redacted")
    assert header == {
        "schema": "scalesim.trace",
        "version": 1,
        "text": False,
        "start_unix_s": 1_800_000_000.0,
        "part": 3,
        "block_size": 64,
        "bytes_per_token": 4,
        "salt_id": Hasher(KEY).key_id,
    }


# Digits, short words of the format and the like are in every trace.
SECRET = st.text(st.sampled_from("äöüßÄÖÜXYZ"), min_size=3, max_size=20)


@settings(max_examples=50)
@given(SECRET, SECRET, SECRET, SECRET, SECRET)
def test_no_name_and_no_prompt_is_in_a_redacted_line(
    agent: str, simulation: str, prompt: str, adapter: str, said: str
) -> None:
    fields = {
        "model": adapter,
        "user": agent,
        "metadata": {"agent_id": agent},
        "tools": [{"name": prompt}],
        prompt: agent,
    }
    one = call(content=[{"type": "text", "text": prompt}, {"type": prompt}], agent=agent, simulation=simulation,
               adapter=adapter, said=said, fields=fields)  # fmt: skip
    line = json.dumps(told(one), ensure_ascii=False)
    for secret in (agent, simulation, prompt, adapter, said):
        assert secret not in line


@settings(max_examples=30)
@given(st.text(max_size=30), st.text(max_size=300), st.booleans())
def test_the_reader_understands_every_line(agent: str, content: str, full_text: bool) -> None:
    writer = lines(full_text=full_text)
    one = call(
        content=content.encode("utf-8", "replace").decode(), agent=agent.encode("utf-8", "replace").decode()
    )
    reading = Reading([writer.header(0), writer.call(one), writer.lost(3)])
    (found,) = reading
    assert (reading.skipped, reading.lost) == ([], 3)
    assert reading.headers[0].text is full_text
    assert (found.text is not None) is full_text
    if found.text is not None:
        assert found.text.agent == one.agent
        assert found.text.body == one.body

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core.durations import RULES, Reading, Scale
from scalesim.proxy.core.model import Clock
from scalesim.proxy.data_plane.answers import duration_in, text_of, text_of_events

CALL = {"function": {"name": "act", "arguments": '{"time": 10}'}}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"choices": [{"index": 0, "message": {"content": "for 2 hours"}}]}, "for 2 hours"),
        (
            {
                "choices": [
                    {"index": 1, "message": {"content": "no"}},
                    {"index": 0, "message": {"content": "yes"}},
                ]
            },
            "yes",
        ),
        ({"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}, 7]}}]}, "ab"),
        ({"choices": [{"message": {"content": None, "tool_calls": [CALL, None]}}]}, '{"time": 10}'),
        ({"choices": [{"index": 0, "text": "of /v1/completions"}]}, "of /v1/completions"),
        ({"text": "of /generate", "meta_info": {}}, "of /generate"),
        ({"output": [{"type": "reasoning"}, {"content": [{"type": "output_text", "text": "of"}]}]}, "of"),
        ({"output": [{"type": "function_call", "name": "act", "arguments": "{}"}]}, "{}"),
        ({"choices": []}, ""),
        ({"choices": [7], "text": 7, "output": 7}, ""),
        ({"choices": [{"message": {"content": 7, "tool_calls": 7}}]}, ""),
        ({"error": {"message": "no"}}, ""),
        ([], ""),
    ],
)
def test_the_text_of_a_plain_answer(answer: object, expected: str) -> None:
    assert text_of(orjson.dumps(answer)) == expected


def _delta(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta}]}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            [_delta(role="assistant", content=""), _delta(content="for 2"), _delta(content=" hours")],
            "for 2 hours",
        ),
        (
            [
                _delta(content=None, tool_calls=[{"function": {"arguments": "{1"}}]),
                _delta(tool_calls=[{"function": {"arguments": "}"}}]),
            ],
            "{1}",
        ),
        ([{"choices": [{"text": "a"}]}, {"choices": [{"text": "b"}]}, {"choices": [], "usage": {}}], "ab"),
        ([{"text": "a"}, {"text": "ab"}], "ab"),
        (
            [
                {"type": "response.output_text.delta", "delta": "a"},
                {"type": "response.completed", "response": {}},
            ],
            "a",
        ),
        ([{"choices": [{"index": 1, "delta": {"content": "no"}}]}, _delta(content="yes")], "yes"),
        ([], ""),
    ],
)
def test_the_text_of_a_stream(events: list[object], expected: str) -> None:
    payloads = [orjson.dumps(event) for event in events]
    assert text_of_events([*payloads, b"[DONE]"]) == expected


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[DONE]", b"null"])
def test_what_cannot_be_read_has_no_text(raw: bytes) -> None:
    assert text_of(raw) == text_of_events([raw]) == ""


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "delta",
                    "content",
                    "text",
                    "output",
                    "tool_calls",
                    "function",
                    "arguments",
                    "index",
                    "type",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_anything_can_be_read(answer: object) -> None:
    raw = orjson.dumps(answer)
    assert isinstance(text_of(raw), str)
    assert isinstance(text_of_events([raw, raw]), str)


class _Said:
    def __init__(self, text: str) -> None:
        self._text = text

    def text(self) -> str:
        return self._text


def test_a_duration_comes_on_the_clock_of_the_simulation() -> None:
    reading = Reading(RULES, Scale(Clock.STEPS, 0.2))
    assert duration_in(_Said('{"time": 10}'), reading) == (2.0, Clock.STEPS)
    assert duration_in(_Said("Good morning!"), reading) is None
    assert duration_in(_Said(""), reading) is None

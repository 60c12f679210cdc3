from __future__ import annotations

import orjson
import pytest

from scalesim.proxy.core.model import Usage
from scalesim.proxy.data_plane.usage import MAX_JSON_BYTES, MAX_TAIL_BYTES, MAX_TEXT_BYTES, witness_of

JSON = [(b"content-type", b"application/json; charset=utf-8")]
SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]
COUNTS = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}


def seen(
    headers: list[tuple[bytes, bytes]], *chunks: bytes, request: dict[str, object] | None = None
) -> Usage | None:
    witness = witness_of(headers, request)
    for chunk in chunks:
        witness.see(chunk)
    return witness.usage()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"usage": COUNTS}, Usage(9, 4, 2)),
        ({"usage": {**COUNTS, "prompt_tokens_details": None}}, Usage(9, None, 2)),
        ({"usage": {"prompt_tokens": 9, "total_tokens": 9}}, Usage(9, None, 0)),
        (
            {"usage": {"input_tokens": 9, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 0}}},
            Usage(9, 0, 2),
        ),
        (
            {"text": "", "meta_info": {"prompt_tokens": 9, "completion_tokens": 2, "cached_tokens": 4}},
            Usage(9, 4, 2),
        ),
        ({"usage": None}, None),
        ({"usage": []}, None),
        ({"usage": {"prompt_tokens": "9"}}, None),
        ({"usage": {"prompt_tokens": True}}, None),
        ({"usage": {"prompt_tokens": -1}}, None),
        (
            {"usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": [4]}},
            Usage(9, None, 2),
        ),
        ({"error": {}}, None),
        ([], None),
    ],
)
def test_the_usage_of_a_json_answer(answer: object, expected: Usage | None) -> None:
    raw = orjson.dumps(answer)
    assert seen(JSON, raw[:5], raw[5:]) == expected


def _chat(text: str) -> bytes:
    return orjson.dumps({"choices": [{"message": {"content": text}}]})


def _event(text: str) -> bytes:
    return b"data: " + orjson.dumps({"choices": [{"delta": {"content": text}}]}) + b"\n\n"


def _thought(text: str) -> bytes:
    return b"data: " + orjson.dumps({"choices": [{"delta": {"reasoning_content": text}}]}) + b"\n\n"


def _own(text: str) -> bytes:
    """Of SGLang's own route."""
    return b"data: " + orjson.dumps({"text": text, "meta_info": {}}) + b"\n\n"


@pytest.mark.parametrize(
    ("headers", "raw", "expected"),
    [
        (JSON, _chat("for 2 hours"), "for 2 hours"),
        (JSON, b"", ""),
        (JSON, _chat("x" * MAX_TEXT_BYTES), ""),
        (JSON, _chat("x" * MAX_JSON_BYTES), ""),
        (SSE, _event("for ") + _event("2 hours") + b"data: [DONE]\n\n", "for 2 hours"),
        (SSE, b"", ""),
        (SSE, _event("for ") + _event("2 hours") + b": " + b"x" * 2 * MAX_TAIL_BYTES + b"\n\n", ""),
        (SSE, _event("x") * 2000 + _event("11") + _event("5 min for") + _event(" 2 h"), "min for 2 h"),
        (SSE, _thought("x") * 2000 + _event("2") + _event(" hours"), "2 hours"),
        (SSE, _own("x" * MAX_TAIL_BYTES) + _own("for 2 hours"), "for 2 hours"),
        ([*JSON, (b"content-encoding", b"gzip")], _chat("for 2 hours"), ""),
        ([(b"content-type", b"text/plain")], b"for 2 hours", ""),
    ],
)
def test_the_text_of_an_answer_is_there_if_it_was_kept(
    headers: list[tuple[bytes, bytes]], raw: bytes, expected: str
) -> None:
    witness = witness_of(headers, None)
    for start in range(0, len(raw), 4096):
        witness.see(raw[start : start + 4096])
    assert witness.text() == expected


@pytest.mark.parametrize("request_body", [{"n": 2}, {"sampling_params": {"n": 3}}])
def test_several_answers_to_one_prompt_leave_open_what_was_cached(request_body: dict[str, object]) -> None:
    assert seen(JSON, orjson.dumps({"usage": COUNTS}), request=request_body) == Usage(9, None, 2)


@pytest.mark.parametrize("request_body", [{"n": 1}, {"n": None}, {"n": "2"}, {"sampling_params": [{"n": 1}]}])
def test_one_answer_to_one_prompt_says_what_was_cached(request_body: dict[str, object]) -> None:
    assert seen(JSON, orjson.dumps({"usage": COUNTS}), request=request_body) == Usage(9, 4, 2)


@pytest.mark.parametrize("raw", [b"", b"{", b'{"usage": {"prompt_tokens": 9', b"\xff\xfe"])
def test_an_answer_that_cannot_be_read_has_no_usage(raw: bytes) -> None:
    assert seen(JSON, raw) is None


def test_an_answer_that_is_encoded_or_of_another_kind_is_not_looked_into() -> None:
    raw = orjson.dumps({"usage": COUNTS})
    assert seen([*JSON, (b"content-encoding", b"gzip")], raw) is None
    assert seen([(b"content-type", b"text/plain")], raw) is None
    assert seen([], raw) is None


def test_an_answer_beyond_the_limit_is_not_kept() -> None:
    start, end = b'{"x": "', b'", "usage": ' + orjson.dumps(COUNTS) + b"}"
    half = b"y" * (MAX_JSON_BYTES // 2)
    assert seen(JSON, start, half, end) == Usage(9, 4, 2)
    assert seen(JSON, start, half, half, end) is None


STREAM = (
    b'data: {"choices": [{}], "usage": null}\n\n'
    b'data: {"choices": [], "usage": ' + orjson.dumps(COUNTS) + b"}\n\n"
    b"data: [DONE]\n\n"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_the_usage_of_a_stream_however_it_is_cut(size: int, newline: bytes) -> None:
    stream = STREAM.replace(b"\n", newline)
    assert seen(SSE, *(stream[i : i + size] for i in range(0, len(stream), size))) == Usage(9, 4, 2)


def test_the_last_of_several_usages_counts() -> None:
    frames = [
        b"data: "
        + orjson.dumps({"meta_info": {"prompt_tokens": 9, "completion_tokens": n, "cached_tokens": 1}})
        + b"\n\n"
        for n in range(5)
    ]
    assert seen(SSE, *frames) == Usage(9, 1, 4)


def test_the_last_event_of_the_responses_route_wraps_its_usage() -> None:
    usage = {"input_tokens": 9, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}}
    event = orjson.dumps({"type": "response.completed", "response": {"usage": usage}})
    assert seen(SSE, b"event: response.completed\ndata: ", event, b"\n\n") == Usage(9, 4, 2)


@pytest.mark.parametrize("size", [100, 5000, MAX_TAIL_BYTES + 1])
def test_of_a_long_stream_only_the_end_is_kept(size: int) -> None:
    witness = witness_of(SSE, None)
    early = b'data: {"usage": {"prompt_tokens": 1}}\n\n'
    witness.see(early)
    for _ in range(2 * MAX_TAIL_BYTES // size + 2):
        witness.see(b"data: " + b"x" * size + b"\n\n")
    assert witness.usage() is None
    witness.see(STREAM)
    assert witness.usage() == Usage(9, 4, 2)


def test_a_stream_without_usage_has_none() -> None:
    assert seen(SSE, b'data: {"choices": []}\n\ndata: {"usage": br\n\ndata: [DONE]\n\n') is None
    assert seen(SSE) is None


@pytest.mark.parametrize(
    ("headers", "chunks", "expected"),
    [
        (SSE, (b'data: {"a": 1}\n\nda', b"ta: [DO", b"NE]\n\n"), True),
        (SSE, (b"data: [DONE]",), True),
        (
            SSE,
            (b'event: response.completed\ndata: {"type": "response.completed", "response": {}}\n\n',),
            True,
        ),
        (SSE, (b'data: {"type":"response.incomplete"}\n\n', b": ping\n\n"), True),
        (SSE, (b'data: {"type": "response.compl',), False),
        (SSE, (b'data: {"type": "response.completed", "resp',), False),
        (SSE, (b'data: {"type": "response.output_text.delta", "delta": "response.completed"}\n\n',), False),
        (SSE, (b'data: {"text": "[DONE]"}\n\n',), False),
        (SSE, (b'data: {"text": "data: [DONE]"}\n\n', b": ping\n\n"), False),
        (SSE, (b"data: [DONE]\n\n", b'data: {"a": 1}\n\n'), False),
        (SSE, (), False),
        (JSON, (b"data: [DONE]\n\n",), False),
        ([*SSE, (b"content-encoding", b"gzip")], (b"data: [DONE]\n\n",), False),
    ],
)
def test_only_a_stream_says_itself_that_it_has_ended(
    headers: list[tuple[bytes, bytes]], chunks: tuple[bytes, ...], expected: bool
) -> None:
    witness = witness_of(headers, None)
    for chunk in chunks:
        witness.see(chunk)
    assert witness.saw_the_end() is expected

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.data_plane.body import parsed_object, with_fields

JSON = [(b"content-type", b"application/json")]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Half of a surrogate pair is no JSON text, and the parser refuses it.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)
names = st.sampled_from(["rid", "session_id", "a"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=5
)
objects = st.dictionaries(names, values, max_size=4)
fields = st.dictionaries(
    st.sampled_from(["rid", "session_id", "a", 'we"ird\\', "ключ", "}"]),
    st.text(st.characters(exclude_categories=["Cs"])),
    max_size=3,
)
blanks = st.text(" \t\r\n", max_size=3)


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """An object as any client may write it."""
    text = json.dumps(
        draw(objects), indent=draw(st.none() | st.integers(0, 2)), ensure_ascii=draw(st.booleans())
    )
    return (draw(blanks) + text[:-1] + draw(blanks) + "}" + draw(blanks)).encode()


@pytest.mark.slow
@settings(deadline=None)
@given(written(), fields)
def test_new_fields_are_added_and_every_other_byte_stays(raw: bytes, new: dict[str, str]) -> None:
    parsed = parsed_object(JSON, raw)
    assert parsed is not None
    result = with_fields(raw, parsed, new)
    assert json.loads(result) == {**json.loads(raw), **new}
    assert orjson.loads(result) == {**orjson.loads(raw), **new}
    end = raw.rindex(b"}")
    added = len(result) - len(raw)
    assert result[:end] + result[end + added :] == raw


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"{}", b'{"rid":"x"}'),
        (b" { } \n", b' { "rid":"x"} \n'),
        (b'{"a": 1.0}', b'{"a": 1.0,"rid":"x"}'),
        (b'{"a": "}"}\n', b'{"a": "}","rid":"x"}\n'),
        (b'{"a": {}, "rid" : "x"}', b'{"a": {}, "rid" : "x"}'),
        (b'{"a": 1e2, "rid": "other"}', b'{"a": 1e2, "rid": "other","rid":"x"}'),
        (b'{"rid": null}', b'{"rid": null,"rid":"x"}'),
        (b'{"rid": "x", "rid": 1}', b'{"rid": "x", "rid": 1,"rid":"x"}'),
        (b'{"rid": 1, "rid": "x"}', b'{"rid": 1, "rid": "x"}'),
    ],
)
def test_a_body_with_one_field_more(raw: bytes, expected: bytes) -> None:
    parsed = parsed_object(JSON, raw)
    assert parsed is not None
    assert with_fields(raw, parsed, {"rid": "x"}) == expected


def test_a_field_is_replaced_however_deeply_the_body_is_nested() -> None:
    raw = b'{"rid": 1, "a": ' + b"[" * 600 + b"]" * 600 + b"}"
    parsed = parsed_object(JSON, raw)
    assert parsed is not None
    assert orjson.loads(with_fields(raw, parsed, {"rid": "x"})) == {**parsed, "rid": "x"}


def test_no_fields_give_the_same_bytes() -> None:
    raw = b'{"a" : 1}'
    assert with_fields(raw, {"a": 1}, {}) is raw


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"1", b'"x"', b"null", b"{'a': 1}", b'{"a": 1,}', b"\xef\xbb\xbf{}", b"\xff"]
)
def test_what_is_no_object_is_none(raw: bytes) -> None:
    assert parsed_object(JSON, raw) is None


@pytest.mark.parametrize(
    ("headers", "is_read"),
    [
        ([(b"content-type", b"Application/JSON; charset=utf-8")], True),
        ([(b"content-type", b"application/vnd.x+json")], True),
        ([*JSON, (b"content-encoding", b"identity")], True),
        ([*JSON, (b"content-encoding", b"gzip")], False),
        ([(b"content-type", b"text/plain")], False),
        ([], False),
    ],
)
def test_only_plain_json_is_read(headers: list[tuple[bytes, bytes]], is_read: bool) -> None:
    assert (parsed_object(headers, b"{}") is not None) is is_read

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.admin import cutting
from scalesim.proxy.admin.cutting import LONGEST, PIECE, cut


def pieces(text: bytes) -> list[Any]:
    return [json.loads(piece.text) for piece in cut(text) if piece is not None]


def large(entries: int = 5_000) -> dict[str, int]:
    return {f"agent-{number:06}": number for number in range(entries)}


@pytest.mark.parametrize("text", [b"", b"[1]", b'{"a": 1}', b"oops", b"[" * PIECE * 2, b" " * PIECE * 2])
def test_what_is_short_or_no_object_comes_back_as_it_is(text: bytes) -> None:
    assert [piece.text for piece in cut(text) if piece is not None] == [text]


def test_each_piece_has_some_of_the_entries_and_all_that_is_plain() -> None:
    text = json.dumps({"unit": "steps", "distances": large(), "create_agents": True}).encode()
    found = [piece for piece in cut(text) if piece is not None]
    assert len(found) > 5
    assert max(len(piece.text) for piece in found) < PIECE + 200
    told: dict[str, int] = {}
    for piece in found:
        body = json.loads(piece.text)
        told |= body.pop("distances")
        assert body == {"unit": "steps", "create_agents": True}
    assert list(told.items()) == list(large().items())
    assert (
        text[found[1].offset :]
        .lstrip()
        .startswith(next(iter(json.loads(found[1].text)["distances"])).join('""').encode())
    )


def test_an_entry_that_is_large_itself_is_cut_too() -> None:
    agents = [str(number) for number in range(20_000)]
    text = json.dumps({"timestep_data": {"0": ["a"], "3": agents, "4": ["b"]}, "timestep_cnt": 2}).encode()
    told: dict[str, list[str]] = {}
    for body in pieces(text):
        assert body.pop("timestep_cnt") == 2
        for key, some in body["timestep_data"].items():
            told.setdefault(key, []).extend(some)
    assert told == {"0": ["a"], "3": agents, "4": ["b"]}


def test_others_get_their_turn_while_a_body_is_looked_through() -> None:
    text = json.dumps({"distances": large(20_000)}).encode()
    found = list(cut(text))
    assert found.count(None) >= 10
    assert found.index(None) == 0, "before the first piece is there"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"distances": {' + b'"a": 1, ' * PIECE, "it breaks off"),
        (b'{"distances": {"' + b"a" * PIECE * 2, "it breaks off"),
        (b'{"a": "' + b'\\"' * PIECE * 8 + b"\\", "it breaks off"),
        (b'{"distances": {' + b'"a": 1, ' * PIECE + b'"b": 2}} {}', "something after its end"),
        (b'{"unit": "' + b"a" * PIECE * 2 + b'"}', f"plain values have more than {PIECE}"),
        (b'{"a": {"b": [[' + b"1," * LONGEST + b"1]]}}", "stands an entry of more than"),
        (b'{"a": ["' + b"b" * LONGEST + b'"]}', "stands an entry of more than"),
    ],
)
def test_what_cannot_be_cut_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        pieces(text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": {' + b'"b": 1 ' * (PIECE // 4) + b"}}",
        b'{"a": {"b": 1]' + b" " * PIECE + b"}",
        b'{"a": 1,' + b" " * PIECE + b"}",
        b'{"a": {"b": 1,,' + b" " * PIECE + b"}}",
        b"{" + b" " * PIECE + b"oops}",
    ],
)
def test_what_is_no_json_makes_a_piece_that_is_none(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"Expecting|delimiter|double quotes|plain"):
        pieces(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('a"\\{[]},: é\n', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('a"\\{,', max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=20)
@given(
    st.dictionaries(st.text('ab"\\{', max_size=4), json_values, max_size=4),
    st.booleans(),
    st.integers(min_value=1, max_value=40),
)
def test_nothing_is_lost_or_added(body: dict[str, Any], escaped: bool, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "PIECE", piece)
        patch.setattr(cutting, "LONGEST", 10_000)
        patch.setattr(cutting, "_PLAIN", 10_000)
        text = json.dumps(body, ensure_ascii=escaped).encode()
        joined: dict[str, Any] = {}
        for part in pieces(text):
            for key, value in part.items():
                joined[key] = _joined(joined[key], value, 2) if key in joined else value
    assert joined == body


def _joined(one: Any, other: Any, depth: int) -> Any:
    """Plain values are repeated, entries are not; what was cut within an entry goes together again."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one | {
            key: _joined(one[key], value, depth - 1) if key in one and depth > 1 else value
            for key, value in other.items()
        }
    if isinstance(one, list) and isinstance(other, list):
        return one + other
    return other

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.dashboard.patch import Json, patch, without_none

leaves = st.one_of(
    st.integers(0, 3), st.booleans(), st.text(max_size=2), st.lists(st.integers(0, 2), max_size=2)
)
objects = st.recursive(
    st.dictionaries(st.sampled_from("abc"), leaves, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), st.one_of(leaves, inner), max_size=3),
    max_leaves=8,
)


def patched(target: Any, told: Any) -> Any:
    """As RFC 7396 says it."""
    if not isinstance(told, dict):
        return told
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in told.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = patched(result.get(key), value)
    return result


@settings(max_examples=60)
@given(objects, objects)
def test_whoever_knew_the_one_and_is_told_the_patch_knows_the_other(before: Json, after: Json) -> None:
    assert patched(before, patch(before, after)) == after


@settings(max_examples=20)
@given(objects)
def test_nothing_is_told_where_nothing_changed(known: Json) -> None:
    assert patch(known, known) == {}


def test_only_what_changed_is_told() -> None:
    before = {"town": {"calls": 3, "mode": "on"}, "gone": {"calls": 1}, "same": [1, 2]}
    after = {"town": {"calls": 4, "mode": "on"}, "same": [1, 2], "new": {}}
    assert patch(before, after) == {"gone": None, "town": {"calls": 4}, "new": {}}


def test_what_is_not_known_is_left_out() -> None:
    assert without_none({"a": None, "b": {"c": None, "d": 0}, "e": []}) == {"b": {"d": 0}, "e": []}

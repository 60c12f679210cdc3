from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.engine_adapters.sglang_plugin.wire import (
    COMMANDS,
    MAX_INTEGER,
    MAX_OWNER_CHARS,
    MAX_OWNERS,
    Command,
    FenceLost,
    Malformed,
    parse_command,
)

FENCE = [3, 4]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "fence": st.lists(st.integers(0, 9), min_size=2, max_size=2) | json_values,
        "owners": st.lists(st.text(max_size=5))
        | st.dictionaries(st.text(max_size=5), st.floats())
        | json_values,
        "tokens": st.integers() | json_values,
        "more": json_values,
    },
)


def test_a_plan_is_distances_by_owner() -> None:
    command = parse_command("plan", {"fence": FENCE, "owners": {"a": 0, "b": 2.5}})
    assert command == Command("plan", (3, 4), distances={"a": 0.0, "b": 2.5})


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("plan", {"fence": FENCE, "owners": {"a": 1}}),
        ("plan", {"fence": FENCE, "owners": {}, "by_recency": True}),
        ("pin", {"fence": FENCE, "owners": ["a", "b"]}),
        ("evict", {"fence": FENCE, "tokens": 7}),
        ("renew", {"fence": FENCE}),
    ],
)
def test_a_command_arrives_as_it_was_sent(name: str, body: dict[str, object]) -> None:
    command = parse_command(name, body)
    assert Command.from_payload(json.loads(json.dumps(command.payload()))) == command


def test_half_a_surrogate_pair_is_no_name() -> None:
    with pytest.raises(Malformed, match="is not Unicode text"):
        parse_command("pin", {"fence": FENCE, "owners": ["a\ud800"]})


def test_an_empty_plan_is_a_plan() -> None:
    assert parse_command("plan", {"fence": FENCE, "owners": {}}) == Command("plan", (3, 4))


def test_a_renewal_needs_a_fence_alone() -> None:
    assert parse_command("renew", {"fence": FENCE}) == Command("renew", (3, 4))


@pytest.mark.parametrize("name", ["pin", "unpin", "evict"])
def test_owners_are_a_list_of_names(name: str) -> None:
    body = {"fence": FENCE, "owners": ["a", "b"]}
    assert parse_command(name, body) == Command(name, (3, 4), owners=("a", "b"))


def test_an_eviction_can_be_of_tokens() -> None:
    assert parse_command("evict", {"fence": FENCE, "tokens": 7}) == Command("evict", (3, 4), tokens=7)


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("dance", {"fence": FENCE}, "unknown command 'dance'"),
        ("plan", None, "not a JSON object"),
        ("plan", [], "not a JSON object"),
        ("plan", {"owners": {}}, "fence: None"),
        ("plan", {"fence": [1], "owners": {}}, "fence: "),
        ("plan", {"fence": [1, -1], "owners": {}}, "fence sequence: -1"),
        ("plan", {"fence": [True, 1], "owners": {}}, "fence token: True"),
        ("plan", {"fence": [1.0, 1], "owners": {}}, "fence token: 1.0"),
        ("plan", {"fence": [MAX_INTEGER + 1, 1], "owners": {}}, "fence token: "),
        ("plan", {"fence": FENCE, "owners": ["a"]}, "owners: "),
        ("plan", {"fence": FENCE, "owners": {"a": -0.5}}, "'a' is -0.5"),
        ("plan", {"fence": FENCE, "owners": {"a": math.inf}}, "'a' is inf"),
        ("plan", {"fence": FENCE, "owners": {"a": math.nan}}, "'a' is nan"),
        ("plan", {"fence": FENCE, "owners": {"a": True}}, "'a' is True"),
        ("plan", {"fence": FENCE, "owners": {"a": "1"}}, "'a' is '1'"),
        ("plan", {"fence": FENCE, "owners": {"": 1}}, "owners: ''"),
        ("plan", {"fence": FENCE, "owners": {"x" * (MAX_OWNER_CHARS + 1): 1}}, "owners: 'xxx"),
        ("plan", {"fence": FENCE, "owners": {}, "speed": 1}, "unknown field 'speed'"),
        ("pin", {"fence": FENCE}, "owners: None"),
        ("pin", {"fence": FENCE, "owners": "a"}, "owners: 'a'"),
        ("unpin", {"fence": FENCE, "owners": [None]}, "owners: None"),
        ("evict", {"fence": FENCE, "tokens": -1}, "tokens: -1"),
        ("evict", {"fence": FENCE, "tokens": 1, "owners": []}, "not both"),
        ("plan", {"fence": FENCE, "owners": {str(n): 1 for n in range(MAX_OWNERS + 1)}}, "at most 16384"),
        ("pin", {"fence": FENCE, "owners": ["a"] * (MAX_OWNERS + 1)}, "at most 16384"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name_and_value(name: str, body: object, told: str) -> None:
    with pytest.raises(Malformed) as refusal:
        parse_command(name, body)
    assert told in str(refusal.value)
    assert len(str(refusal.value)) < 500


def test_a_number_too_large_for_a_float_is_no_distance() -> None:
    """Python's JSON parser makes whole numbers of any size."""
    body = json.loads('{"fence": [1, 1], "owners": {"a": 1' + "0" * 400 + "}}")
    with pytest.raises(Malformed):
        parse_command("plan", body)


@pytest.mark.slow
@given(name=st.sampled_from(sorted(COMMANDS)) | st.text(max_size=8), body=bodies | json_values)
def test_any_json_is_a_sound_command_or_malformed(name: str, body: object) -> None:
    try:
        command = parse_command(name, body)
    except Malformed:
        return
    assert command.name in COMMANDS
    assert all(0 <= part <= MAX_INTEGER for part in command.fence)
    assert all(0 <= distance < math.inf for distance in command.distances.values())
    assert all(0 < len(owner) <= MAX_OWNER_CHARS for owner in (*command.distances, *command.owners))
    assert command.tokens >= 0


def test_a_lost_fence_tells_the_highest() -> None:
    lost = FenceLost((5, 6))
    assert lost.highest == (5, 6)
    assert "[5, 6]" in str(lost)

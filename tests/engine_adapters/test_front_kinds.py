from __future__ import annotations

import hashlib

import pytest

from scalesim.engine_adapters.front_kinds import KINDS, SALT, key_of, turn_of
from scalesim.engine_adapters.sglang_plugin.wire import owner_of_key
from scalesim.engine_adapters.sglang_requests import (
    ADAPTER_PATHS,
    REQUEST_ID_FIELDS,
    SALTED_PATHS,
    SESSION_PATHS,
)
from scalesim.proxy.core.model import Owner

BOB = Owner("town/bob")


def lineage(rid: str) -> str:
    """As smg reads an id: a retry's mark goes, and then a turn's."""
    for letter in "rt":
        base, mark, number = rid.rpartition(f"_{letter}")
        if base and mark and number.isdigit():
            rid = base
    return rid


@pytest.mark.parametrize(
    "name",
    [
        "town/bob",
        "t/" + "x" * 127,
        "town/Zoë",
        "town/b\r\nx-evil: 1",
        "town/bob_t2",
        "town/b_r1",
        "town/bob ",
    ],
)
def test_a_key_is_printable_and_short_whatever_the_agent_is_called(name: str) -> None:
    key = key_of(Owner(name))
    assert key.isascii()
    assert key.isprintable()
    assert 0 < len(key.strip()) == len(key) <= 128
    assert lineage(key) == key
    assert key == key_of(Owner(name))


@pytest.mark.parametrize("name", ["town/bob", "town/Bob Smith", "t/" + "x" * 126, 'a/"b" {1}'])
def test_the_key_is_the_name_where_it_can_be(name: str) -> None:
    assert key_of(Owner(name)) == name == owner_of_key(name)


@pytest.mark.parametrize(
    "name",
    ["town/Zoë", "town/李明", "a b/ c ", "town/100%", "town/%41", "town/bob_t2", "a_t1_r2", "x\r\ny: 1"],
)
def test_engines_read_the_name_of_an_agent_out_of_its_key(name: str) -> None:
    """They know it from plans."""
    assert owner_of_key(key_of(Owner(name))) == name


def test_what_is_too_long_has_a_key_that_names_nobody() -> None:
    assert (
        key_of(Owner("town/" + "李" * 20)) == hashlib.sha256(("town/" + "李" * 20).encode()).hexdigest()[:32]
    )


def test_agents_whose_names_end_like_turns_have_keys_of_their_own() -> None:
    assert len({key_of(Owner(name)) for name in ("town/bob", "town/bob_t1", "town/bob_t2", "city/bob")}) == 4


def test_all_ids_of_an_agent_are_turns_of_its_key() -> None:
    ids = {turn_of(BOB, f"{number:032x}") for number in (0, 1, 16**32 - 1)}
    assert len(ids) == 3
    assert {lineage(one) for one in ids} == {key_of(BOB)}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_whatever_is_kept_is_something_that_engines_are_told(kind: object) -> None:
    for path, fields in KINDS[kind.name].kept.items():  # type: ignore[attr-defined]
        told = {
            REQUEST_ID_FIELDS[path],
            *(["session_id"] if path in SESSION_PATHS else []),
            *(["lora_path"] if path in ADAPTER_PATHS else []),
            *(["cache_salt"] if path in SALTED_PATHS else []),
        }
        assert fields <= told, path


def test_a_kind_that_loses_salts_says_so() -> None:
    loses = {
        name
        for name, kind in KINDS.items()
        # Where smg has no room for one it refuses the request, which no simulation can be harmed by.
        if any(path in kind.kept and not kind.keeps(path, SALT) for path in SALTED_PATHS)
    }
    assert loses == {name for name, kind in KINDS.items() if not kind.salts}

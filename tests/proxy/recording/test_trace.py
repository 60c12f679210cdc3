from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.recording.hashing import Hasher
from scalesim.proxy.recording.lines import Lines
from scalesim.proxy.recording.trace import KEPT_SKIPS, Reading

from .calls import KEY, call

LINES = Lines(Hasher(KEY), full_text=False, started_at=0.0, start_unix_s=0.0)
HEADER = LINES.header(0)


def changed(line: bytes, **fields: Any) -> bytes:
    return json.dumps(json.loads(line) | fields).encode() + b"\n"


def read(*lines: bytes) -> tuple[list[str], list[tuple[int, str]]]:
    reading = Reading(lines)
    return [one.request_id for one in reading], [tuple(skipped) for skipped in reading.skipped]


def test_calls_come_out_in_the_order_of_their_lines() -> None:
    assert read(HEADER, LINES.call(call(2)), b"\n", LINES.call(call(1))) == (["2", "1"], [])


def test_a_line_that_was_cut_off_is_skipped() -> None:
    whole, cut = LINES.call(call(1)), LINES.call(call(2))[:-30]
    assert read(HEADER, whole, cut) == (["1"], [(3, "not JSON, and cut off: its writer was stopped in it")])


def test_what_is_missing_is_added_up() -> None:
    reading = Reading([HEADER, LINES.lost(2), LINES.call(call(1)), LINES.lost(40)])
    assert len(list(reading)) == 1
    assert reading.lost == 42


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"nonsense\n", "not JSON"),
        (b"[1]\n", "not an object"),
        (b"{}\n", "without hash_ids"),
        (changed(LINES.call(call()), hash_ids=[1, "2"]), "hash_ids is not a list of integers"),
        (changed(LINES.call(call()), end_ms="soon"), "end_ms is not a number"),
        (changed(LINES.call(call()), input_length=-1), "input_length is not a whole number from 0 on"),
        (changed(LINES.call(call()), stream=1), "stream is not true or false"),
        (changed(LINES.call(call()), text=[]), "text is not an object"),
        (changed(LINES.call(call()), text={"body": 3}), "body is not an object"),
        (changed(HEADER, version=2), "version 2; 1 is read here"),
        (changed(HEADER, schema="other"), "a header, but not of scalesim.trace"),
        (changed(HEADER, salt_id=None), "salt_id is not a string"),
        (b'{"lost": true}\n', "lost is not a whole number from 0 on"),
    ],
)
def test_a_line_that_is_not_ours_is_skipped_and_named(line: bytes, why: str) -> None:
    assert read(HEADER, line, LINES.call(call())) == (["1"], [(2, why)])


def test_calls_before_any_header_say_nothing() -> None:
    assert read(LINES.call(call()))[1] == [(1, "before any header")]


def test_fields_of_a_later_version_do_not_disturb() -> None:
    assert read(HEADER, changed(LINES.call(call()), weather="rain")) == (["1"], [])


def test_not_every_skip_is_kept() -> None:
    reading = Reading([b"x\n"] * (2 * KEPT_SKIPS))
    assert list(reading) == []
    assert (reading.skips, len(reading.skipped)) == (2 * KEPT_SKIPS, KEPT_SKIPS)


@settings(max_examples=60)
@given(st.integers(0, 5000), st.binary(max_size=20))
def test_a_damaged_trace_never_stops_the_reader(at: int, damage: bytes) -> None:
    whole = HEADER + LINES.call(call(1)) + LINES.call(call(2))
    at %= len(whole)
    damaged = whole[:at] + damage + whole[at + len(damage) :]
    reading = Reading(damaged.splitlines(keepends=True))
    assert len(list(reading)) <= 2

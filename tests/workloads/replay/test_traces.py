from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from scalesim.workloads.program import Impossible
from scalesim.workloads.replay.engine import Sizes
from scalesim.workloads.replay.trace_player import Pace, play_trace
from scalesim.workloads.replay.traces import Trace, by_caller, read, read_all, read_files
from scalesim.workloads.replay.world import Setting

from .toy import COSTS, STEP_S, TOKEN_S

HEADER = {"schema": "scalesim.trace", "version": 1, "block_size": 64}
CALL = {
    "timestamp": 0.0,
    "session_id": "ann",
    "input_length": 100,
    "output_length": 1,
    "hash_ids": [1, 2],
    "outcome": "done",
    "end_ms": 100.0,
}


def lines(*calls: Mapping[str, object], header: Mapping[str, object] = HEADER) -> list[str]:
    return [json.dumps(one) + "\n" for one in (header, *calls)]


def without(field: str) -> Mapping[str, object]:
    return {name: value for name, value in CALL.items() if name != field}


def setting(policy: str = "stock", engines: int = 1) -> Setting:
    return Setting(COSTS, Sizes(10_000), policy, engines)


def test_calls_are_read_in_the_order_in_which_they_came() -> None:
    trace = read(lines({**CALL, "timestamp": 50.0, "session_id": "late"}, CALL))
    assert [call.agent for call in trace.calls] == ["ann", "late"]
    assert trace.calls[1].arrived_s == 0.05
    assert trace.block_tokens == 64


def test_what_cannot_be_played_is_left_out_and_counted() -> None:
    trace = read(
        lines(
            CALL,
            {"lost": 12},
            {**CALL, "outcome": "client_gone"},
            {**CALL, "output_length": None},
            {**CALL, "cut": True},
            HEADER,
        )
    )
    assert len(trace.calls) == 1
    assert trace.skipped == {
        "a note of lost calls": 1,
        "it did not end well": 1,
        "nobody knows the length of its answer": 1,
        "its prompt was cut": 1,
        "a further header": 1,
    }


def test_of_what_is_left_out_the_first_line_is_told() -> None:
    trace = read(lines(CALL, {**CALL, "cut": True}, {**CALL, "cut": True}, {"lost": 1}), "town.jsonl")
    assert trace.left_out() == [
        "1 line: a note of lost calls (the first: town.jsonl, line 5)",
        "2 lines: its prompt was cut (the first: town.jsonl, line 3)",
    ]


def test_agents_that_never_call_are_counted() -> None:
    trace = read(
        lines(
            CALL,
            {"session_id": "bob", "distance": 3, "timestamp": 5},
            {**CALL, "session_id": "cleo", "outcome": "engine_failed"},
        )
    )
    assert trace.skipped == {"it is no call": 1, "it did not end well": 1}
    assert trace.silent_agents == 2
    assert "2 agents are named, and no call of theirs is played" in trace.left_out()


def test_calls_of_the_same_time_stay_in_their_order_and_earlier_ones_come_first() -> None:
    trace = read(
        lines(
            {**CALL, "timestamp": 9, "session_id": "last"},
            {**CALL, "timestamp": 5, "session_id": "one"},
            {**CALL, "timestamp": 5, "session_id": "other"},
            {**CALL, "timestamp": 1, "session_id": "first"},
        )
    )
    assert [call.agent for call in trace.calls] == ["first", "one", "other", "last"]


def test_a_call_that_is_there_twice_is_played_once() -> None:
    named = {**CALL, "request_id": "r1"}
    trace = read(lines(named, named, {**named, "request_id": "r2"}, CALL, CALL))
    assert len(trace.calls) == 4  # without an id nobody knows
    assert trace.skipped == {"it is there already": 1}


def test_calls_without_a_name_are_told_and_wait_for_nobody_in_a_closed_loop() -> None:
    nameless = {**CALL, "session_id": None}
    trace = read(lines(nameless, {**nameless, "timestamp": 10.0}))
    assert trace.left_out() == ["2 calls are played as one agent's: the trace does not say whose they are"]
    assert [len(calls) for calls in by_caller(trace.calls)] == [1, 1]


def test_files_of_one_trace_are_one_trace() -> None:
    first = lines(CALL, header={**HEADER, "start_unix_s": 100.0, "salt_id": "x"})
    later = lines({**CALL, "timestamp": 500.0}, header={**HEADER, "start_unix_s": 107.0, "salt_id": "x"})
    trace = read_all([("a", first), ("b", later)])
    assert [call.arrived_s for call in trace.calls] == [0.0, 7.5]
    with pytest.raises(Impossible, match="b, line 2: timestamp is -1"):
        read_all([("a", lines(CALL)), ("b", lines({**CALL, "timestamp": -1}))])
    with pytest.raises(Impossible, match="a, line 1: it began before the file"):
        read_all([("b", later), ("a", first)])
    with pytest.raises(Impossible, match="b, line 1: its hashes cannot be compared"):
        read_all([("a", first), ("b", lines(CALL))])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(Impossible, match=r"none\.jsonl: No such file"):
        read_files([tmp_path / "none.jsonl"])


def test_half_a_line_at_the_end_is_left_out() -> None:
    trace = read([*lines(CALL), '{"timestamp": 1'])
    assert len(trace.calls) == 1
    assert trace.skipped == {"the last line is half of one": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ([], "trace is empty"),
        (lines(CALL)[1:], "line 1: no header of scalesim.trace 1"),
        (lines(CALL, header={**HEADER, "block_size": 0}), "line 1: block_size is 0"),
        ([*lines(CALL), "{half\n", *lines(CALL)[1:]], "line 3 is not JSON"),
        ([*lines(CALL), "[]\n"], "line 3 is no JSON object"),
        (lines(CALL, {**CALL, "timestamp": -1}), "line 3: timestamp is -1"),
        (lines({**CALL, "timestamp": None}), "line 2: timestamp is None"),
        (lines({**CALL, "input_length": "many"}), "line 2: input_length is 'many'"),
        (lines({**CALL, "hash_ids": [1]}), "line 2: 1 hash_ids for 100 tokens in blocks of 64"),
        (lines({**CALL, "hash_ids": None}), "line 2: hash_ids are no list"),
        (lines({**CALL, "outcome": "client_gone"}), "no call that can be played"),
        (lines(CALL, without("timestamp")), "line 3: timestamp is None"),
        (lines(CALL, without("input_length")), "line 3: input_length is None"),
        (lines(CALL, without("hash_ids")), "line 3: hash_ids are no list"),
        (lines({**CALL, "hash_ids": [1, True]}), "line 2: hash_ids are no list"),
        (lines({**CALL, "timestamp": float("nan")}), "line 2: timestamp is nan"),
        (lines({**CALL, "output_length": 1.5}), "line 2: output_length is 1.5, and has to be a whole number"),
        (lines({**CALL, "end_ms": "soon"}), "line 2: end_ms is 'soon'"),
        (lines(CALL, header={**HEADER, "start_unix_s": "now"}), "line 1: start_unix_s is 'now'"),
        (lines(CALL, header={**HEADER, "bytes_per_token": 0}), "line 1: bytes_per_token is 0"),
        (["\ufffd\n", *lines(CALL)], "line 1 is not JSON"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: list[str], says: str) -> None:
    with pytest.raises(Impossible, match=says):
        read(text)


def twice() -> Trace:
    """The second call finds the first block; it came half a second after the first one, which had taken 0.1 s."""
    return read(lines(CALL, {**CALL, "timestamp": 500.0, "hash_ids": [1, 3]}))


def test_a_trace_is_played_at_its_own_pace() -> None:
    played = play_trace(twice(), setting())
    # 64 of its 100 tokens are there.
    assert played.seconds == pytest.approx(0.5 + 36 * TOKEN_S)
    assert played.hits.all_calls == pytest.approx(64 / 200)


def test_a_trace_is_played_faster() -> None:
    assert play_trace(twice(), setting(), Pace(speed=2)).seconds == pytest.approx(0.25 + 36 * TOKEN_S)


def test_in_a_closed_loop_pauses_are_kept_and_not_times() -> None:
    # The engine takes 0.1 s for the first call as well; with a slower one the second call would come later.
    played = play_trace(twice(), setting(), Pace(closed=True))
    assert played.seconds == pytest.approx(0.1 + 0.4 + 36 * TOKEN_S)
    long = read(lines({**CALL, "output_length": 31}, {**CALL, "timestamp": 500.0, "hash_ids": [1, 3]}))
    held = sum(range(101, 131)) * 4e-8
    assert play_trace(long, setting(), Pace(closed=True)).seconds == pytest.approx(
        0.1 + 30 * STEP_S + held + 0.4 + 36 * TOKEN_S
    )


def test_a_trace_goes_through_the_proxy_too() -> None:
    played = play_trace(twice(), setting("nearest_first", engines=2))
    assert played.control is not None
    assert played.calls == 2
    assert played.hits.all_calls > 0  # the second call went where the first had been


def test_a_rule_that_knows_the_future_is_refused() -> None:
    with pytest.raises(Impossible, match="belady knows the future of a program"):
        play_trace(twice(), setting("belady"))


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_speed_that_cannot_be_is_refused(speed: float) -> None:
    with pytest.raises(Impossible, match="speed is"):
        Pace(speed)

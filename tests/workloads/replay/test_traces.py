from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from scalesim.workloads.program import Impossible
from scalesim.workloads.replay.engine import Sizes
from scalesim.workloads.replay.trace_player import Pace, play_trace
from scalesim.workloads.replay.traces import Trace, read
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

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from scalesim.workloads.player import Target
from scalesim.workloads.program import Impossible, Told
from scalesim.workloads.replay.trace_player import Pace
from scalesim.workloads.replay.traces import Trace, read
from scalesim.workloads.traced import play_trace, text_of
from tests.support.serve import serve
from tests.workloads.fake_engine import FakeEngine

pytestmark = pytest.mark.anyio

HEADER = {"schema": "scalesim.trace", "version": 1, "block_size": 64}
CALL = {"timestamp": 0, "session_id": "ann", "input_length": 100, "output_length": 3, "hash_ids": [1, 2]}
AT_ONCE = Pace(speed=1e6)


def trace(*calls: Mapping[str, object]) -> Trace:
    return read([json.dumps(one) + "\n" for one in (HEADER, *calls)])


class Sleeping:
    """Nobody sleeps; for how long they would have is noted, in whole seconds."""

    def __init__(self) -> None:
        self.slept: list[int] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(round(seconds))


def test_prompts_are_as_long_as_recorded_and_alike_where_they_were() -> None:
    recorded = trace(CALL, {**CALL, "hash_ids": [1, 3]}, {**CALL, "hash_ids": [4, 2], "input_length": 65})
    one, other, third = (text_of(call, recorded) for call in recorded.calls)
    assert [len(text.encode()) for text in (one, other, third)] == [400, 400, 260]
    assert one[:256] == other[:256]
    assert one[256:] != other[256:]
    assert one[:256] != third[:256]


async def test_each_call_is_made_as_it_was_recorded() -> None:
    engine = FakeEngine()
    async with serve(engine.app()) as url:
        traced = await play_trace(
            trace(CALL, {**CALL, "timestamp": 5, "session_id": "bob", "output_length": 7}),
            Target(url, simulation="town"),
            AT_ONCE,
        )
    assert sorted((one.headers["x-agent-id"], one.body["max_tokens"]) for one in engine.asked) == [
        ("ann", 3),
        ("bob", 7),
    ]
    assert {one.headers["x-simulation-id"] for one in engine.asked} == {"town"}
    assert {record.error for record in traced.played.calls} == {None}
    assert traced.late_s >= 0


async def test_calls_of_nobody_knows_whom_name_nobody() -> None:
    engine = FakeEngine()
    async with serve(engine.app()) as url:
        await play_trace(trace({**CALL, "session_id": None}), Target(url, simulation="town"), AT_ONCE)
    assert "x-agent-id" not in engine.asked[0].headers


async def test_calls_come_when_they_came_or_faster() -> None:
    calls = [{**CALL, "timestamp": 1000.0 * second} for second in (7, 107, 207)]
    for speed, expected in ((1.0, [0, 100, 200]), (10.0, [0, 10, 20])):
        sleep = Sleeping()
        async with serve(FakeEngine().app()) as url:
            await play_trace(trace(*calls), Target(url), Pace(speed=speed), sleep)
        assert sleep.slept == expected


async def test_in_a_closed_loop_each_call_waits_for_the_answer_and_the_pause() -> None:
    calls = [{**CALL, "timestamp": 1000.0 * second, "end_ms": 40_000.0} for second in (7, 107, 120)]
    sleep, engine = Sleeping(), FakeEngine()
    async with serve(engine.app()) as url:
        traced = await play_trace(trace(*calls), Target(url), Pace(closed=True), sleep)
    # It was answered 40 s after each call; the third had come before that.
    assert sleep.slept == [0, 60, 0]
    assert engine.most_running == 1
    first, second, third = traced.played.calls
    assert first.ended_s <= second.started_s <= second.ended_s <= third.started_s


async def test_a_trace_has_nothing_to_tell_but_names() -> None:
    target = Target("http://127.0.0.1:1", simulation="town", admin_url="http://127.0.0.1:1", told=Told.EXACT)
    with pytest.raises(Impossible, match="nothing to tell but names"):
        await play_trace(trace(CALL), target)

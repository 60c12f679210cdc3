from __future__ import annotations

from dataclasses import replace

import pytest

from scalesim.workloads.belady import RecordedCall
from scalesim.workloads.scaling.figures import Noted, Rate, hits, linear, noted_of
from scalesim.workloads.scaling.paced import Pace


def rate(engines: int, rps: float, busy: float = 0.5) -> Rate:
    return Rate(
        engines=engines,
        cap_rps=200.0 * engines,
        rps=rps,
        p50_ms=1.0,
        p99_ms=2.0,
        proxy_busy=busy,
        ends_busy=0.1,
        calls={f"engine-{number}": 10 * (number + 1) for number in range(engines)},
        errors={},
    )


def call(
    start: float, prompt: list[int], cached: int, owner: str | None = "ann", *, ahead: bool = False
) -> Noted:
    return Noted(owner, RecordedCall(start, start + 1, prompt, 2, first=False), cached, ahead)


def test_twice_the_engines_are_linear_if_they_answer_twice_as_much() -> None:
    assert [linear(one, rate(1, 100)) for one in (rate(1, 100), rate(2, 200), rate(4, 360))] == [
        1.0,
        1.0,
        pytest.approx(0.9),
    ]


def test_a_proxy_that_is_full_says_nothing_of_its_engines() -> None:
    assert linear(rate(8, 300, busy=0.99), rate(1, 100)) is None


def test_two_proxies_are_full_when_the_cores_are_that_they_share_with_the_others() -> None:
    two = replace(rate(8, 700, busy=1.2), proxies=2)
    assert linear(two, rate(1, 100)) == pytest.approx(7 / 8)
    assert linear(replace(two, ends_busy=0.75), rate(1, 100)) is None
    assert linear(replace(two, redis_busy=0.5), rate(1, 100)) == pytest.approx(7 / 8)
    assert linear(replace(two, redis_busy=0.6), rate(1, 100)) is None, "Redis is on these cores too"


def test_several_proxies_are_not_to_blame_where_the_core_of_the_others_is_full() -> None:
    assert linear(replace(rate(8, 700, busy=0.5), proxies=2, ends_busy=0.96), rate(1, 100)) is None


def test_the_busiest_engine_is_compared_to_the_mean() -> None:
    assert rate(1, 1).imbalance == 1.0
    assert rate(3, 1).imbalance == pytest.approx(1.5)


def test_each_engine_is_compared_to_the_best_that_its_own_calls_allow() -> None:
    ann, bob = [1, 2, 3, 4], [5, 6, 7, 8]
    one = [call(0, ann, 0), call(2, bob, 0, "bob"), call(4, ann, 3), call(6, bob, 0, "bob")]
    found = hits({"a": one}, 100, 10)
    assert (found.prompt_tokens, found.cached_tokens, found.belady_tokens) == (16, 3, 6)
    assert found.of_belady == 0.5
    # On engines of their own with room for one of them, both are always found.
    found = hits({"a": one[::2], "b": [call(2, bob, 0, "bob"), call(6, bob, 3, "bob")]}, 6, 10)
    assert found.of_belady == 1.0
    assert (found.moves, found.moved_bytes) == (0, 0)


def test_what_an_agent_leaves_behind_is_counted_in_bytes() -> None:
    found = hits({"a": [call(0, [1, 2, 3, 4], 0)], "b": [call(2, [1, 2, 3, 4], 1)]}, 100, 10)
    assert (found.moves, found.moved_bytes) == (1, 30)


def test_what_is_computed_ahead_is_no_call() -> None:
    found = hits({"a": [call(0, [1, 2, 3, 4], 1, ahead=True), call(2, [1, 2, 3, 4, 5], 4)]}, 100, 10)
    assert found.calls == {"a": 1}
    assert (found.ahead_bytes, found.prompt_tokens, found.belady_tokens) == (30, 5, 0)


def test_what_an_engine_tells_of_a_call_is_checked() -> None:
    told = {
        "owner": None,
        "start": 1.0,
        "end": 2.0,
        "prompt": [1],
        "output_tokens": 2,
        "cached": 0,
        "ahead": False,
    }
    assert noted_of(told).call.prompt == [1]
    with pytest.raises(TypeError, match="is no call"):
        noted_of({**told, "cached": "many"})


def test_a_paced_engine_answers_as_many_as_it_runs_and_then_the_next_ones() -> None:
    pace = Pace(2, 1.0)
    assert [pace.ends_at(10.0) for _ in range(5)] == [11.0, 11.0, 12.0, 12.0, 13.0]
    assert pace.ends_at(100.0) == 101.0
    assert pace.calls == 6

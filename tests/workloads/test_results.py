from __future__ import annotations

from dataclasses import replace

import pytest

from scalesim.workloads.records import CallRecord, StepPlayed, TokenSeen
from scalesim.workloads.results import (
    Play,
    Summary,
    TokenCounts,
    bounds,
    compare_texts,
    count_tokens,
    percentile,
    speedups,
    spread_of_speedups,
    summaries,
)


def seen(agent: str, step: int, index: int, at: float, cached: int, text: str = "yes") -> CallRecord:
    return CallRecord(
        agent,
        step,
        index,
        "plan",
        started_s=at,
        ended_s=at + 0.5,
        first_token_s=at + 0.25,
        prompt_tokens=5,
        cached_tokens=cached,
        output_tokens=1,
        text=text,
        tokens=(TokenSeen(text, ((text, -0.1), ("?", -5.0))),),
    )


# Ann comes, Bob comes, Ann comes back and calls twice.
PROMPTS = {
    (0, "Ann", 0): [1, 2, 3, 4, 5],
    (0, "Bob", 0): [9, 8, 7, 6, 5],
    (1, "Ann", 0): [1, 2, 3, 4, 6],
    (1, "Ann", 1): [1, 2, 3, 4, 7],
}


def town(*cached: int) -> list[CallRecord]:
    return [seen(agent, step, index, at, cached[at]) for at, (step, agent, index) in enumerate(PROMPTS)]


def play(
    name: str, wall_s: float, *calls: CallRecord, repeat: int = 0, pass_index: int = 0, **more: object
) -> Play:
    steps = (StepPlayed(wall_s / 2, calls), StepPlayed(wall_s / 2, ()))
    return Play(name, pass_index, repeat, steps, **more)  # type: ignore[arg-type]  # by name


def test_hits_are_counted_against_what_an_unlimited_cache_would_have_served() -> None:
    everything, firsts, by_trigger = count_tokens(town(0, 0, 1, 4), PROMPTS, capacity=100)
    assert everything == TokenCounts(prompt=20, cached=5, belady=8, unlimited=8, resident=5)
    assert everything.hit_rate == 5 / 8
    # Only Ann's return counts, not her second call, nor anybody's first visit.
    assert firsts == TokenCounts(prompt=5, cached=1, belady=4, unlimited=4, resident=1)
    assert firsts.hit_rate == 0.25
    assert firsts.belady_hit_rate == 1.0
    assert by_trigger == {"plan": firsts}


def test_first_calls_are_counted_by_what_triggered_them() -> None:
    calls = [replace(call, trigger="interaction") if call.step else call for call in town(0, 0, 1, 4)]
    counted = count_tokens(calls, PROMPTS, capacity=100)
    assert counted.by_trigger == {"interaction": counted.first_calls}
    told = summaries([play("on", 1, *calls), play("on", 1, *calls, repeat=1)], PROMPTS, 100)["on"]
    assert told.by_trigger["interaction"].cached == 2
    assert told.ttft_by_trigger == {"interaction": [0.25, 0.25]}
    report = told.report()["first_calls"]
    assert isinstance(report, dict)
    assert report["interaction"]["calls"] == 1


def test_what_the_lead_in_saw_for_the_first_time_is_no_debut_afterwards() -> None:
    calls = town(0, 0, 1, 4)
    late = replace(play("on", 1, *calls[2:]), lead_in=(StepPlayed(1, tuple(calls[:2])),))
    assert [call.key for call in late.first_calls] == [(1, "Ann", 0)]


def test_belady_has_the_same_room() -> None:
    everything = count_tokens(town(0, 0, 1, 4), PROMPTS, capacity=8).all_calls
    # Of Ann's four tokens two can stay while Bob's call runs with its five and the one it generates.
    assert (everything.belady, everything.unlimited) == (2 + 4, 8)


def test_a_call_with_an_error_does_not_count() -> None:
    calls = town(0, 0, 1, 4)
    broken = [*calls[:3], replace(calls[3], error="gone")]
    everything = count_tokens(broken, PROMPTS, capacity=100).all_calls
    assert everything == TokenCounts(prompt=15, cached=1, belady=4, unlimited=4, resident=1)


def test_calls_count_in_the_order_of_their_first_tokens() -> None:
    calls = town(0, 0, 0, 0)
    # Bob's call was sent first, and waited in the queue until Ann had gone.
    late = [replace(calls[1], started_s=-1.0), calls[0], *calls[2:]]
    everything = count_tokens(late, PROMPTS, capacity=100).all_calls
    assert everything.unlimited == 8


def test_no_hits_to_be_had_give_no_rate() -> None:
    assert TokenCounts().hit_rate is None
    assert TokenCounts().belady_hit_rate is None


def test_percentiles_lie_between_values() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0, 2.0], 0.95) == pytest.approx(1.95)
    assert percentile([4.0], 0.95) == 4.0
    assert percentile([], 0.5) is None


def test_a_speedup_is_against_the_reference_of_the_same_pass_and_repeat() -> None:
    plays = [
        play("stock", 10),
        play("on", 5),
        play("stock", 20, repeat=1),
        play("on", 15, repeat=1),
        play("stock", 40, pass_index=1),
        play("off", 40, pass_index=1),
    ]
    assert speedups(plays, "stock") == {"stock": 1.0, "on": 1.5, "off": 1.0}


def test_a_speedup_has_the_spread_of_its_repeats_and_that_of_the_engines_alone() -> None:
    plays = [
        play("stock", 10, step_seconds={"prefill": 4.0}),
        play("on", 5, step_seconds={"prefill": 1.0}),
        play("stock", 20, repeat=1, step_seconds={"prefill": 4.0}),
        play("on", 15, repeat=1, step_seconds={"prefill": 1.0}),
    ]
    assert spread_of_speedups(plays, "stock")["on"] == (1.5, pytest.approx(4 / 3), 2.0, 4.0)
    unmetered = [replace(plays[0], step_seconds=None), *plays[1:]]
    assert spread_of_speedups(unmetered, "stock")["on"].engine is None


def test_what_a_call_brought_from_host_memory_itself_was_not_resident() -> None:
    calls = town(0, 0, 1, 4)
    brought = [*calls[:3], replace(calls[3], host_tokens=3)]
    assert count_tokens(brought, PROMPTS, capacity=100).all_calls.resident == 2


def test_sources_count_by_the_beginnings_they_were_measured_by() -> None:
    first = play("on", 1, accuracy={"plan": {"order": 1.0, "count": 30}, "gap": {"order": 0.5, "count": 0}})
    second = play("on", 1, repeat=1, accuracy={"plan": {"order": 0.5, "count": 10}})
    assert Summary((first, second), TokenCounts(), TokenCounts()).order == {"plan": 0.875}


def test_activations_are_counted_by_trigger() -> None:
    met = replace(seen("Ann", 1, 0, 5, 0), trigger="interaction")
    told = Summary((play("on", 1, *town(0, 0, 1, 4), met),), TokenCounts(), TokenCounts())
    assert told.activations_by_trigger == {"interaction": 1.0, "plan": 3.0}


def test_texts_of_the_other_configurations_are_compared_with_the_first_play_of_the_reference() -> None:
    repeated = [
        play("stock", 1, seen("Ann", 0, 0, 0, 0)),
        play("stock", 1, seen("Ann", 0, 0, 0, 0, text="no"), repeat=1),
    ]
    others = [
        play("on", 1, seen("Ann", 0, 0, 0, 0)),
        play("off", 1, seen("Ann", 0, 0, 0, 0, text="wrong")),
    ]
    texts = compare_texts([*repeated, *others], "stock")
    assert (texts.compared, texts.equal) == (2, 1)
    assert not texts.all_explained
    # Alone, the reference is compared with itself: its repeats would otherwise water the share down.
    alone = compare_texts(repeated, "stock")
    assert (alone.compared, alone.equal) == (1, 0)


def test_the_report_of_a_configuration() -> None:
    told = summaries(
        [
            play("on", 4, *town(0, 0, 1, 4), step_seconds={"decode": 1.0, "prefill": 2.0}),
            play("on", 6, *town(0, 0, 3, 4), repeat=1, step_seconds={"decode": 1.0, "prefill": 2.0}),
        ],
        PROMPTS,
        capacity=100,
    )
    report = told["on"].report()
    assert report["wall_s"] == 5
    assert (report["calls"], report["errors"]) == (4, 0)
    assert report["step_s"] == {"mean": 2.5, "p95": 3.0}
    assert report["ttft_s"] == {"mean": 0.25, "p50": 0.25, "p95": 0.25}
    assert report["prefix_hit_rate"] == 12 / 16
    assert report["first_call_hit_rate"] == 4 / 8
    assert report["belady"] == {"prefix_hit_rate": 1.0, "first_call_hit_rate": 1.0}
    assert report["time_share"] == {
        "decode": 0.2,
        "prefill": 0.4,
        "load": 0.0,
        "other": pytest.approx(0.4),
    }
    assert report["plays"] == [{"pass": 0, "repeat": 0, "wall_s": 4}, {"pass": 0, "repeat": 1, "wall_s": 6}]


def test_without_a_tokenizer_there_are_no_rates_and_without_a_meter_no_shares() -> None:
    report = summaries([play("on", 4, *town(0, 0, 1, 4))], None, capacity=100)["on"].report()
    assert report["prefix_hit_rate"] is None
    assert report["belady"] == {"prefix_hit_rate": None, "first_call_hit_rate": None}
    assert "time_share" not in report


def test_errors_are_those_of_all_plays() -> None:
    broken = replace(seen("Ann", 0, 0, 0, 0), error="gone")
    told = summaries([play("on", 1, broken), play("on", 1, broken, repeat=1)], None, 100)
    assert told["on"].errors == 2


def test_the_speedup_is_bounded_by_the_prefill_of_what_was_evicted() -> None:
    summary = Summary(
        (play("stock", 10, step_seconds={"prefill": 5.0, "decode": 4.0}),),
        TokenCounts(prompt=1000, cached=200, belady=400, unlimited=600),
        TokenCounts(),
    )
    bound = bounds(summary)
    assert bound is not None
    assert (bound.prefill_share, bound.missed_share) == (0.5, 0.5)
    assert bound.unlimited == pytest.approx(1 / 0.75)
    assert bound.belady == pytest.approx(1 / 0.875)


def test_there_is_no_bound_to_tell_without_a_meter() -> None:
    assert bounds(Summary((play("stock", 10),), TokenCounts(10, 1, 1, 1), TokenCounts())) is None

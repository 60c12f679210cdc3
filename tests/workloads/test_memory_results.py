from __future__ import annotations

import pytest

from scalesim.workloads.memory_results import (
    Prefetch,
    adapter_hit_rate,
    against,
    ceiling,
    load_s,
    mean_load_s,
    prefetch_by_kind,
)
from scalesim.workloads.records import CallRecord, StepPlayed
from scalesim.workloads.results import Play, Summary, TokenCounts


def play(
    name: str,
    wall_s: float = 10.0,
    load: float | None = 4.0,
    ttft_s: float = 1.0,
    place: tuple[int, int] = (0, 0),
    **more: object,
) -> Play:
    call = CallRecord("Ann", 0, 0, "plan", 0.0, 2.0, first_token_s=ttft_s)
    seconds = None if load is None else {"decode": 2.0, "prefill": 1.0, "load": load}
    return Play(name, *place, (StepPlayed(wall_s, (call,)),), seconds, **more)  # type: ignore[arg-type]  # by name


def summary(*plays: Play) -> Summary:
    return Summary(plays, TokenCounts(), TokenCounts())


def test_hidden_is_what_is_gone_of_the_blocked_seconds_of_the_reference_beside_it() -> None:
    plays = [
        play("hicache", load=4.0),
        play("all", load=0.1, ttft_s=0.3),
        play("hicache", load=6.0, place=(0, 1)),
        play("all", load=0.4, ttft_s=0.5, place=(0, 1)),
        # Another pass, in which `all` did not play: it does not count for it.
        play("hicache", load=100.0, place=(1, 0), ttft_s=50.0),
    ]
    beside = against(plays, "all", "hicache")
    assert beside.load_hidden == pytest.approx(1 - 0.5 / 10)
    assert beside.ttft_saved == pytest.approx(1 - 0.8 / 2)
    assert against(plays, "hicache", "hicache").load_hidden == 0


def test_waiting_longer_than_the_reference_hides_less_than_nothing() -> None:
    assert (
        against([play("hicache", load=4.0), play("order", load=6.0)], "order", "hicache").load_hidden == -0.5
    )


def test_nothing_is_hidden_where_nothing_was_blocked_or_nothing_was_counted() -> None:
    for reference in (play("hicache", load=0.0), play("hicache", load=None)):
        assert against([reference, play("all", load=0.0)], "all", "hicache").load_hidden is None
    assert load_s(play("all", load=None)) is None
    assert mean_load_s(summary(play("all", load=1.0), play("all", load=None))) is None
    assert mean_load_s(summary(play("all", load=1.0), play("all", load=2.0))) == 1.5


def test_a_meter_that_saw_no_load_saw_zero_seconds() -> None:
    bare = Play("all", 0, 0, (), {"decode": 1.0})
    assert load_s(bare) == 0.0


def test_coverage_is_of_what_calls_needed_and_precision_of_loads_whose_fate_is_known() -> None:
    # One of those issued still waits for its call.
    counts = Prefetch(issued=11, used=8, late=1, missed=1, wasted=1, wasted_bytes=100)
    assert (counts.coverage, counts.precision) == (0.8, 0.8)
    assert (Prefetch().coverage, Prefetch().precision) == (None, None)
    assert Prefetch(issued=3).precision is None


def test_loads_are_summed_over_plays_by_kind() -> None:
    loads = {"lora": {"issued": 2.0, "used": 1.0, "stopped": 7.0}, "kv_prefix": {"missed": 3.0}}
    found = prefetch_by_kind(summary(play("all", loads=loads), play("all", loads={"lora": {"issued": 1.0}})))
    assert found == {"lora": Prefetch(issued=3, used=1), "kv_prefix": Prefetch(missed=3)}


def test_an_adapter_on_its_way_is_no_hit() -> None:
    plays = summary(
        play("all", adapter_lookups={"hit": 5.0, "loading": 1.0}), play("all", adapter_lookups={"miss": 4.0})
    )
    assert adapter_hit_rate(plays) == 0.5
    assert adapter_hit_rate(summary(play("all"))) is None


def test_the_ceiling_is_what_is_left_without_loads() -> None:
    assert ceiling(summary(play("hicache", wall_s=10.0, load=3.6))) == pytest.approx(1 / 0.64)
    assert ceiling(summary(play("hicache", load=None))) is None

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from scalesim.workloads.comparison import Comparison
from scalesim.workloads.configurations import CONFIGURATIONS
from scalesim.workloads.matching import Difference, Match
from scalesim.workloads.noise import Noise
from scalesim.workloads.picture import draw
from scalesim.workloads.program import Wishes
from scalesim.workloads.records import CallRecord, StepPlayed
from scalesim.workloads.results import Play, Summary, TokenCounts, bounds, speedups


def play(name: str, wall_s: float) -> Play:
    call = CallRecord("Ann", 0, 0, "plan", 0.0, 1.0, first_token_s=wall_s / 10)
    return Play(name, 0, 0, (StepPlayed(wall_s, (call,)),), {"prefill": wall_s / 2, "decode": wall_s / 4})


@pytest.fixture
def comparison() -> Comparison:
    plays = [play("stock", 10.0), play("off", 10.0), play("on", 8.0), play("on-nohints", 9.0)]
    summaries = {
        one.configuration: Summary((one,), TokenCounts(1000, 500, 800, 900), TokenCounts(400, 100, 200, 300))
        for one in plays
    }
    return Comparison(
        command="python -m workloads compare",
        commit="c0ffee",
        machine="a machine",
        scenario="independent",
        wishes=Wishes(),
        repeats=1,
        model="random",
        capacity_tokens=15_000,
        capacity="15,000 tokens",
        configurations=CONFIGURATIONS,
        summaries=summaries,
        speedup=speedups(plays, "stock"),
        texts=Match(3, 3, ()),
        bounds=bounds(summaries["stock"]),
    )


def printed(comparison: Comparison, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    comparison.print(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_json_has_what_others_read(comparison: Comparison) -> None:
    result = json.loads(json.dumps(comparison.as_json()))
    assert list(result)[:12] == [
        *("schema", "command", "commit", "seed", "machine", "scenario", "agents", "steps", "configs"),
        *("speedup_over_stock", "text_match", "text_differences_explained"),
    ]
    assert set(result["configs"]["on"]) >= {
        *(
            "wall_s",
            "calls",
            "errors",
            "step_s",
            "ttft_s",
            "prefix_hit_rate",
            "first_call_hit_rate",
            "belady",
        ),
    }
    assert result["speedup_over_stock"]["on"] == 1.25
    assert result["speedup_bound"]["unlimited_cache"] == pytest.approx(1 / (1 - 0.5 * 400 / 500))


def test_the_json_says_what_was_told_and_what_was_wished_for(comparison: Comparison) -> None:
    noisy = replace(CONFIGURATIONS["on"], noise=Noise(sigma=0.5))
    asked = replace(
        comparison,
        wishes=Wishes(options={"tiles": 280.0}),
        configurations={**CONFIGURATIONS, "on": noisy},
        calls_by_trigger={"interaction": 3, "plan": 9},
    )
    result = json.loads(json.dumps(asked.as_json()))
    assert result["options"] == {"tiles": 280.0}
    assert result["told"] == {"on": "exact"}
    assert {name: noise["sigma"] for name, noise in result["noise"].items()} == {"on": 0.5}
    assert result["calls_by_trigger"] == {"interaction": 3, "plan": 9}
    assert result["engine"] == "sglang"


def with_first_calls(comparison: Comparison, *triggers: str) -> Comparison:
    """Everybody calls twice: in step 0, and then in step 1 for one of these."""
    first = play("on", 8.0).steps[0]
    back = tuple(
        CallRecord(name, step, 0, "plan", 0.0, 1.0, first_token_s=0.5 + step / 4, trigger=trigger)
        for name, trigger in zip("abc", triggers, strict=False)
        for step in (0, 1)
    )
    one = Play(
        "on",
        0,
        0,
        (replace(first, calls=back),),
        accuracy={"plan": {"order": 0.75, "count": 9}, "gap": {"order": 0.5, "count": 0}},
    )
    counts = dict.fromkeys(triggers, TokenCounts(100, 40, 60, 80))
    summary = Summary((one,), TokenCounts(100, 40, 60, 80), TokenCounts(), counts)
    return replace(comparison, summaries={**comparison.summaries, "on": summary})


def test_first_calls_are_told_apart_by_what_made_the_agent_call(comparison: Comparison) -> None:
    split = with_first_calls(comparison, "interaction", "plan")
    first = split.as_json()["configs"]["on"]["first_calls"]  # type: ignore[index]  # JSON
    assert first["interaction"] == {
        "calls": 1.0,
        "hit_rate": 0.5,
        "belady_hit_rate": 0.75,
        "ttft_s": {"mean": 0.75, "p95": 0.75},
    }
    text = printed(split)
    assert "by what made the agent call" in text
    assert "interaction" in text
    assert "…" not in text
    assert "by what made the agent call" not in printed(with_first_calls(comparison, "plan", "plan"))


def test_how_right_it_was_told_is_shown_where_the_proxy_says_so(comparison: Comparison) -> None:
    told = with_first_calls(comparison, "plan")
    assert told.as_json()["configs"]["on"]["order_accuracy"] == {"plan": 0.75}  # type: ignore[index]  # JSON
    assert "plan 0.750" in printed(told)
    assert "plan 0.750" not in printed(comparison)


def test_the_tables_fit_a_terminal_of_eighty_columns_and_cut_nothing(comparison: Comparison) -> None:
    text = printed(comparison)
    assert "…" not in text
    assert "on-nohints" in text


def test_the_caption_says_what_bounds_the_speedup(comparison: Comparison) -> None:
    caption = comparison.caption()
    assert "stock spends 50% of its time in prefill, and 80% of the tokens it prefills" in caption
    assert "1.67x" in caption
    assert "does not tell how its time divides" in replace(comparison, bounds=None).caption()


def test_it_is_ok_only_without_errors_and_without_unexplained_differences(comparison: Comparison) -> None:
    assert comparison.ok
    near_tie = Difference((0, "Ann", 0), 3, True, "a", "b")
    assert replace(comparison, texts=Match(100, 99, (near_tie,))).ok
    assert not replace(comparison, texts=Match(100, 98, (near_tie, near_tie))).ok
    wrong = replace(comparison, texts=Match(3, 2, (replace(near_tie, explained=False),)))
    assert not wrong.ok
    assert "1 DIFFERENCES ARE NOT EXPLAINED" in wrong.caption()
    broken = replace(play("on", 8.0).steps[0].calls[0], error="gone")
    failed = Play("on", 0, 0, (StepPlayed(8.0, (broken,)),))
    summaries = {**comparison.summaries, "on": Summary((failed,), TokenCounts(), TokenCounts())}
    assert not replace(comparison, summaries=summaries).ok


@pytest.mark.slow
def test_the_picture_is_a_png_also_where_numbers_are_missing(comparison: Comparison, tmp_path: Path) -> None:
    bare = Play("stock", 0, 0, (StepPlayed(0.0, ()),))
    empty = {"stock": Summary((bare,), TokenCounts(), TokenCounts())}
    for name, one in (
        ("full", comparison),
        ("bare", replace(comparison, summaries=empty, speedup={}, bounds=None)),
    ):
        draw(one, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.format == "PNG"

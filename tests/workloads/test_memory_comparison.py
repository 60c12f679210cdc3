from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from scalesim.workloads.comparison import Comparison
from scalesim.workloads.links import Link
from scalesim.workloads.matching import Difference, Match
from scalesim.workloads.memory_comparison import MemoryComparison
from scalesim.workloads.memory_configurations import WITH_HOST_TIER, reference_first
from scalesim.workloads.memory_picture import draw
from scalesim.workloads.memory_results import against
from scalesim.workloads.program import Wishes
from scalesim.workloads.results import Play, Summary, TokenCounts, speedups
from tests.workloads.test_memory_results import play

LOADS = {
    "lora": {
        "issued": 20.0,
        "used": 18.0,
        "late": 1.0,
        "missed": 1.0,
        "wasted": 1.0,
        "wasted_bytes": 2e6,
        "refused": 2.0,
    },
    "kv_prefix": {
        "issued": 30.0,
        "used": 27.0,
        "late": 0.0,
        "missed": 8.0,
        "wasted": 3.0,
        "wasted_bytes": 1e6,
        "refused": 5.0,
    },
}


def compared(*plays: Play) -> MemoryComparison:
    shown = tuple(dict.fromkeys(one.configuration for one in plays))
    ordered = reference_first(shown)
    return MemoryComparison(
        base=Comparison(
            command="python -m workloads bench-memory",
            commit="c0ffee",
            machine="a machine",
            scenario="independent",
            wishes=Wishes(adapters=True),
            repeats=1,
            model="random",
            capacity_tokens=15_000,
            capacity="15,000 tokens",
            configurations=WITH_HOST_TIER,
            summaries={
                name: Summary(
                    tuple(one for one in plays if one.configuration == name), TokenCounts(), TokenCounts()
                )
                for name in ordered
            },
            speedup=speedups(plays, ordered[0]),
            texts=Match(3, 3, ()),
            bounds=None,
        ),
        shown=shown,
        against={name: against(plays, name, ordered[0]) for name in shown},
        link=Link("paper", 20e6, 0.1, 0.001),
        room=0.25,
        slots=6,
        rank=8,
        lead_in=0,
        one_file=False,
    )


@pytest.fixture
def comparison() -> MemoryComparison:
    return compared(
        play("stock", wall_s=11.0, load=2.0),
        play("hicache", wall_s=10.0, load=4.0, adapter_lookups={"hit": 1.0, "miss": 3.0}),
        play("prefetch", wall_s=8.0, load=1.0, loads=LOADS),
        play(
            "all",
            wall_s=6.25,
            load=0.1,
            ttft_s=0.3,
            adapter_lookups={"hit": 39.0, "loading": 1.0},
            loads=LOADS,
        ),
    )


def printed(comparison: MemoryComparison, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    comparison.print(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_json_has_what_others_read(comparison: MemoryComparison) -> None:
    result = json.loads(json.dumps(comparison.as_json()))
    assert list(result["configs"]) == ["stock", "hicache", "prefetch", "all"]
    assert result["reference"] == "hicache"
    assert result["ceiling"] == pytest.approx(1 / 0.6)
    assert result["share_of_ceiling"] == pytest.approx(1.6 * 0.6)
    assert result["link"] == {
        "name": "paper",
        "bandwidth_bytes_per_s": 20e6,
        "adapter_overhead_s": 0.1,
        "prefix_overhead_s": 0.001,
    }
    every = result["configs"]["all"]
    assert every["time_share"] == pytest.approx(
        {"decode": 0.32, "prefill": 0.16, "load": 0.016, "other": 0.504}
    )
    assert (every["load_s"], every["load_hidden"]) == (0.1, pytest.approx(0.975))
    assert every["ttft_saved"] == pytest.approx(0.7)
    assert every["adapter_hit_rate"] == 0.975
    assert every["prefetch"] == {
        "issued": 50,
        "used": 45,
        "late": 1,
        "missed": 9,
        "coverage": pytest.approx(45 / 55),
        "precision": 0.9,
        "wasted": 4,
        "wasted_bytes": 3e6,
        "refused": 7,
        "by_kind": {
            "lora": {**LOADS["lora"], "coverage": 0.9, "precision": 0.9},
            "kv_prefix": {**LOADS["kv_prefix"], "coverage": pytest.approx(27 / 35), "precision": 0.9},
        },
    }
    assert every["parts"][0] == "order"


def test_the_speedup_over_stock_goes_through_the_reference() -> None:
    # Stock and all never played beside each other; the machine was twice as slow in the second pass.
    comparison = compared(
        play("stock", wall_s=12.0),
        play("hicache", wall_s=10.0),
        play("hicache", wall_s=20.0, place=(1, 0)),
        play("all", wall_s=10.0, place=(1, 0)),
    )
    result = comparison.as_json()
    assert result["speedup_over_hicache"] == pytest.approx({"stock": 10 / 12, "hicache": 1.0, "all": 2.0})
    assert result["speedup_over_stock"] == pytest.approx({"stock": 1.0, "hicache": 1.2, "all": 2.4})
    configs = result["configs"]
    assert isinstance(configs, dict)
    assert configs["all"]["speedup_over_stock"] == pytest.approx(2.4)


def test_without_stock_or_hicache_there_is_no_speedup_over_them() -> None:
    alone = compared(play("hicache"), play("all", wall_s=5.0))
    assert alone.as_json()["speedup_over_stock"] == {}
    other = compared(play("stock"), play("order", wall_s=5.0))
    assert other.as_json()["speedup_over_hicache"] == {}
    assert other.as_json()["speedup_over_stock"] == {"stock": 1.0, "order": 2.0}


def test_the_tables_fit_a_terminal_of_eighty_columns_and_cut_nothing(comparison: MemoryComparison) -> None:
    text = printed(comparison)
    assert "…" not in text
    assert "prefetch" in text
    assert "kv_prefix" in text


def test_the_caption_says_what_was_told_the_link_the_room_and_the_ceiling(
    comparison: MemoryComparison,
) -> None:
    caption = comparison.caption()
    assert "Told by the simulation: exact." in caption
    assert "Told by" not in compared(play("stock"), play("hicache")).caption()
    assert "Link: emulated, paper: 20 MB/s" in caption
    assert "25% of N slots and prefixes: 6 slots for 24 adapters of rank 8" in caption
    assert "without any load, hicache would be 1.67x as fast; all reaches 96% of it (aim: 90%)" in caption
    assert "Link: off" in replace(comparison, link=None).caption()
    assert "all of them one file" in replace(comparison, one_file=True).caption()


def test_what_the_paper_reached_stands_beside_what_all_reaches(comparison: MemoryComparison) -> None:
    result = json.loads(json.dumps(comparison.as_json()))
    assert result["paper"] == {"over_stock": 1.73, "over_hicache": pytest.approx(1.65, abs=0.01)}
    assert result["ceiling_over_stock"] == pytest.approx(1.1 / 0.6)
    assert result["share_of_ceiling_aimed_at"] == 0.9
    assert (
        "all is 1.76x as fast as stock (ceiling 1.83) and 1.60x as fast as hicache (ceiling 1.67). The paper's, with 500"
        " agents on an H100: 1.73x over SGLang, 1.65x over HiCache." in comparison.caption()
    )
    of_rhythm = replace(comparison, base=replace(comparison.base, scenario="rhythm"))
    assert of_rhythm.as_json()["paper"] is None
    assert "paper's" not in of_rhythm.caption()


def test_without_hicache_only_the_paper_speaks_of_a_speedup_over_it() -> None:
    assert "\nThe paper's, with 500 agents" in compared(play("stock"), play("all")).caption()


def test_a_wrong_answer_fails_it(comparison: MemoryComparison) -> None:
    assert comparison.ok
    wrong = Match(3, 2, (Difference((0, "Ann", 0), 0, False, "a", "b"),))
    assert not replace(comparison, base=replace(comparison.base, texts=wrong)).ok


@pytest.mark.slow
def test_the_picture_is_a_png_also_where_numbers_are_missing(
    comparison: MemoryComparison, tmp_path: Path
) -> None:
    bare = compared(Play("stock", 0, 0, ()))
    for name, one in (("full", comparison), ("bare", bare)):
        draw(one, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.format == "PNG"

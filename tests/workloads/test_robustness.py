from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from scalesim.workloads.noise import Noise
from scalesim.workloads.program import Wishes
from scalesim.workloads.results import TokenCounts
from scalesim.workloads.robustness import Order, robustness
from scalesim.workloads.robustness_lies import Curve, Lie, adversaries
from scalesim.workloads.robustness_report import Robustness
from scalesim.workloads.robustness_results import Measured, Pair, slack_of

WISHES = Wishes(
    agents=24, steps=12, persona_tokens=200, growth_tokens=2, output_share=0.05, chars_per_token=5.5
)
CURVES = (Curve("sigma", "distances with errors", "s", (0, 2)),)


def measured(*lead: float) -> Measured:
    counts = TokenCounts(prompt=100, cached=50, belady=80, unlimited=90)
    return Measured(counts, counts, lead, slack_of(lead, 1))


@pytest.fixture
def result() -> Robustness:
    pair = Pair(measured(0.0, -0.5), measured(-1.0, -9.0))
    told = dict.fromkeys((*CURVES[0].lies(1).values(), *adversaries(1).values()), pair)
    about = {"command": "it", "commit": "abc", "machine": "here", "scenario": "independent", "capacity": "2"}
    return Robustness(
        **about,
        wishes=WISHES,
        capacity_tokens=2,
        fits=1,
        curves=CURVES,
        recency=measured(0.0, 0.0),
        told=told,
    )


def test_a_promise_is_kept_if_every_guarded_play_keeps_it(result: Robustness) -> None:
    assert result.ok
    assert result.worst == ("sigma 0", measured(0.0, -0.5))


def test_one_guarded_play_that_breaks_the_promise_breaks_it(result: Robustness) -> None:
    broken = Pair(measured(0.0, -1.5), measured(0.0, 0.0))
    result = replace(result, told={**result.told, Lie(Noise(sigma=2)): broken})
    assert not result.ok
    promise = result.as_json()["promise"]
    assert promise == {
        "kept": False,
        "after_n_calls": "hits >= hits of lru - 1 - n / 100",
        "worst_slack": {"hits": pytest.approx(-0.48), "after_calls": 2, "of": "sigma 2"},
    }
    assert "BROKEN" in result.caption()


def test_a_table_has_a_row_for_each_point(result: Robustness) -> None:
    console = Console(width=110, record=True, file=StringIO())
    result.print(console)
    rows = [line.split("│") for line in console.export_text().splitlines() if line.startswith("│")]
    assert [row[1].strip() for row in rows] == ["0", "2", *adversaries(1)]
    assert [cell.strip() for cell in rows[0][2:-1]] == ["1.00", "0.625", "0.5", "0", "1.00", "0.625", "-8.0"]


@pytest.mark.slow
@pytest.mark.anyio
async def test_all_is_played_printed_and_written(tmp_path: Path) -> None:
    order = Order("independent", WISHES, 0.25, 1, tmp_path / "a" / "r.json", tmp_path / "b" / "r.png", CURVES)
    console = Console(width=110, record=True, file=StringIO())
    assert await robustness(order, console)
    told = json.loads(order.json_path.read_text())
    assert {"command", "commit", "seed", "machine", "scenario", "agents", "steps"} <= told.keys()
    assert [point["value"] for point in told["curves"]["sigma"]["points"]] == [0, 2]
    assert told["curves"]["sigma"]["points"][0]["guarded"]["first_calls"]["over_lru"] > 1
    assert told["memories_that_fit"] == 6
    assert told["promise"]["kept"]
    assert order.png_path.read_bytes().startswith(b"\x89PNG")
    assert "was kept in every play" in " ".join(console.export_text().split())

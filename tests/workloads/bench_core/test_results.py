from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from scalesim.workloads.bench_core.bench import Order, sizes
from scalesim.workloads.bench_core.core import Rounds
from scalesim.workloads.bench_core.held import Held
from scalesim.workloads.bench_core.recognition import Recognition
from scalesim.workloads.bench_core.results import Measured, as_json, p99, show
from scalesim.workloads.program import Impossible

RECOGNISED = {("recipe", 4096): Recognition([10.0, 20.0, 30.0], 1.0)}


def _measured(ms: float) -> Measured:
    held = Held(
        lags_ms=[ms] * 99 + [7 * ms],
        longest_ms={"Ticked": 3 * ms, "CallStarted": 0.01},
        tick_gaps_ms=[(1.0, 2.0), (5.0, 30.0), (9.0, 4.0)],
        bulk=(4.0, 6.0),
        bulk_s=0.4,
        calls=12,
    )
    return Measured(Rounds(50.0, [ms] * 99 + [9 * ms], [ms]), held, 1500.4)


def test_the_results_have_ticks_of_every_size_and_all_else_of_the_largest() -> None:
    told = as_json({1000: _measured(1.0), 100_000: _measured(2.0)}, RECOGNISED, seed=3, active=500)
    assert told["results"] == {
        "tick_p99_ms": {"1000": 1.0, "100000": 2.0},
        "loop_held_ms_p99": 2.0,
        "bulk_update_s": 0.4,
        "bytes_per_idle_agent": 1500,
        "recognition_us": {"recipe 4096": {"mean": 20.0, "p99": 30.0}},
    }
    assert (told["schema"], told["seed"]) == (1, 3)
    assert {"commit", "machine", "command"} <= told.keys()
    json.dumps(told, allow_nan=False)


def test_the_table_has_the_sizes_side_by_side() -> None:
    text = StringIO()
    show({1000: _measured(1.0), 100_000: _measured(2.0)}, Console(file=text, width=120))
    lines = {line.strip("│ ").partition("│")[0].strip(): line for line in text.getvalue().splitlines()}
    ticks = lines["round of planning, p99 ms"]
    assert [cell.strip() for cell in ticks.split("│")[2:5]] == ["1.00", "2.00", "10"]
    assert "30.00" in lines["ticks later then, max ms"]
    assert "4.00" in lines["at other times"]
    assert "longest events Ticked 6.00 ms, CallStarted 0.01 ms" in text.getvalue()


def test_the_99th_percentile_is_a_value_that_was_measured() -> None:
    assert p99([]) == 0.0
    assert p99([5.0]) == 5.0
    assert p99([float(number) for number in range(100)]) == 98.0
    assert p99([float(number) for number in range(101)]) == 99.0


def test_sizes_are_read_from_a_list() -> None:
    assert sizes("1000,10") == (1000, 10)
    with pytest.raises(Impossible, match="'many' is not a list of numbers"):
        sizes("many")


@pytest.mark.parametrize(
    ("agents", "active", "seconds"), [((), 1, 1.0), ((0,), 1, 1.0), ((5,), 0, 1.0), ((5,), 1, 0.0)]
)
def test_what_cannot_be_measured_is_refused(agents: tuple[int, ...], active: int, seconds: float) -> None:
    with pytest.raises(Impossible):
        Order(agents, active, 1, seconds, Path("bench.json"))

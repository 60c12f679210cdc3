from __future__ import annotations

import json
import math
from dataclasses import replace
from io import StringIO

from rich.console import Console

from scalesim.workloads.bench_proxy.contestants import Contestant
from scalesim.workloads.bench_proxy.loads import Load
from scalesim.workloads.bench_proxy.results import Measured, as_json, show
from tests.workloads.bench_proxy.test_figures import DIRECT, SAMPLE

JSON = Load("JSON, c=1", 4096, False, 1)
SSE = Load("SSE, c=64", 4096, True, 64)


def _measured() -> Measured:
    """Two that were there, one that was not; the second of them said nothing to one load."""
    measured = Measured(["direct", "fast", "silent", "absent"], [JSON, SSE], missing={"absent": "never made"})
    silent = replace(SAMPLE, rps=0.0, p50_ms=math.nan, p99_ms=math.nan, cpu_us=math.nan, errors={"late": 3})
    for load in (JSON, SSE):
        measured.add("direct", load, DIRECT)
        measured.add("fast", load, replace(SAMPLE, rps=20_000.0, busy=0.7, ends_busy=0.99))
        measured.add("silent", load, SAMPLE if load is JSON else silent)
    return measured


def test_the_results_have_every_row_and_all_rounds_behind_it() -> None:
    told = as_json(_measured(), seed=3, settings={"rounds": 1})
    text = json.dumps(told, allow_nan=False)
    assert json.loads(text)["results"]["JSON, c=1"]["fast"] == {
        "rps": 20_000.0,
        "p50_ms": 2.0,
        "p99_ms": 9.0,
        "added_p50_ms": 1.5,
        "added_p99_ms": 8.0,
        "cpu_us": 50.0,
        "busy": 0.7,
        "rss_mb": 30.0,
        "at_least": True,
        "errors": {},
        "rounds": 1,
    }
    told = json.loads(text)
    assert told["results"]["SSE, c=64"]["silent"]["p50_ms"] is None
    assert told["results"]["SSE, c=64"].keys() == {"direct", "fast", "silent"}
    assert told["absent"] == {"absent": "never made"}
    assert told["details"]["loads"]["SSE, c=64"]["connections"] == 64
    assert len(told["details"]["rounds"]["JSON, c=1"]["fast"]) == 1
    assert (told["schema"], told["seed"], told["settings"]) == (1, 3, {"rounds": 1})


def test_all_are_in_the_table_and_errors_and_reasons_below_it() -> None:
    text = StringIO()
    contestants = [Contestant("fast", lambda place: None, about="knows nothing")]  # type: ignore[arg-type,return-value]
    show(_measured(), contestants, Console(file=text, width=130))
    lines = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in text.getvalue().splitlines()
        if "│" in line
    ]
    json_rows, sse_rows = lines[:4], lines[4:]
    assert json_rows[0] == ["direct", "", "", "1.00", "100", "", "", "", "0"]
    assert json_rows[1] == ["fast", "1.50", "8.00", "9.00", ">20,000", "50", "70%", "30", "0"]
    assert sse_rows[2] == ["silent", "-", "-", "-", "0", "-", "50%", "30", "3"]
    assert sse_rows[3] == ["absent", *["-"] * 8]
    assert "fast: knows nothing" in text.getvalue()
    assert "absent is not there, or not to the end: never made" in text.getvalue()
    assert "error of silent, SSE, c=64, 3 times: late" in text.getvalue()


def test_all_is_well_only_if_all_who_were_started_stayed_and_were_right() -> None:
    measured = Measured(["direct"], [JSON])
    measured.add("direct", JSON, DIRECT)
    assert measured.all_well
    measured.add("direct", JSON, replace(DIRECT, errors={"status 500": 1}))
    assert not measured.all_well
    assert not Measured(["direct", "a"], [JSON], failed={"a": "gone"}).all_well
    assert Measured(["direct", "a"], [JSON], missing={"a": "never made"}).all_well

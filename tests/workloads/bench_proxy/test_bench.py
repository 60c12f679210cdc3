"""The whole of it, in short: one that serves, one that is not there, one that does not start, and one that dies."""

from __future__ import annotations

import json
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from scalesim.workloads.bench_proxy.bench import Order, bench_proxy
from scalesim.workloads.bench_proxy.contestants import Contestant, NotThere, Place, Start
from scalesim.workloads.bench_proxy.loads import Load
from scalesim.workloads.program import Impossible
from tests.workloads.bench_proxy.test_racers import of_mock

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads /proc, and stops processes"
)

JSON = Load("JSON", 4096, False, 2)
SSE = Load("SSE", 4096, True, 2)


def _of_nobody(place: Place) -> Start:
    raise NotThere("it was never made; `make it` makes it")


def _of_broken(place: Place) -> Start:
    program = "import sys; print('this cannot work', file=sys.stderr); sys.exit(7)"
    return Start([sys.executable, "-c", program], f"http://{place.host}:{place.port}/health")


def _of_dying(place: Place) -> Start:
    # By its file: `tests` is not installed.
    command = [sys.executable, str(Path(__file__).with_name("dying.py")), place.host, str(place.port)]
    return Start(command, f"http://{place.host}:{place.port}/health")


def _order(tmp_path: Path, *contestants: Contestant, rounds: int = 1) -> Order:
    return Order(
        contestants=contestants,
        loads=(JSON, SSE),
        rounds=rounds,
        seconds=0.1,
        warm_up_s=0.0,
        grace_s=2.0,
        seed=1,
        named=False,
        out_dir=tmp_path,
        json_path=tmp_path / "results" / "bench.json",
    )


@pytest.mark.slow
@pytest.mark.anyio
async def test_all_are_in_the_table_and_the_results_or_there_is_a_reason(tmp_path: Path) -> None:
    contestants = (
        Contestant("serves", of_mock, about="the mock itself"),
        Contestant("nobody", _of_nobody),
        Contestant("broken", _of_broken),
        Contestant("dies", _of_dying),
    )
    text = StringIO()
    well = await bench_proxy(_order(tmp_path, *contestants, rounds=2), Console(file=text, width=160))
    told = json.loads((tmp_path / "results" / "bench.json").read_text())
    assert not well
    assert told["schema"] == 1
    assert {"command", "commit", "machine", "seed", "settings"} <= told.keys()
    for load in (JSON.name, SSE.name):
        assert {"direct", "serves"} <= told["results"][load].keys()
        for name in ("direct", "serves"):
            row = told["results"][load][name]
            assert (row["errors"], row["rounds"]) == ({}, 2)
            assert row["rps"] > 0
        assert told["results"][load]["direct"]["added_p50_ms"] == 0.0
        assert told["results"][load]["serves"]["rss_mb"] > 1
    assert told["absent"].keys() == {"nobody", "broken", "dies"}
    assert told["absent"]["nobody"] == "it was never made; `make it` makes it"
    assert "this cannot work" in told["absent"]["broken"]
    assert "it ended by itself" in told["absent"]["dies"]
    shown = text.getvalue()
    assert "serves: the mock itself" in shown
    for name in ("nobody", "broken", "dies"):
        assert f"{name} is not there, or not to the end: " in shown


@pytest.mark.slow
@pytest.mark.anyio
async def test_all_is_well_when_everybody_answered_rightly(tmp_path: Path) -> None:
    assert await bench_proxy(_order(tmp_path, Contestant("serves", of_mock)), Console(file=StringIO()))


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    order = _order(tmp_path)
    told = {name: getattr(order, name) for name in order.__slots__}
    for wrong in ({"loads": ()}, {"rounds": 0}, {"seconds": 0.0}, {"warm_up_s": -1.0}, {"grace_s": -1.0}):
        with pytest.raises(Impossible):
            Order(**{**told, **wrong})

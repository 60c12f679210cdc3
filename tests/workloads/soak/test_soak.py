from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from scalesim.workloads.emulated import EmulatedInstallation
from scalesim.workloads.program import Impossible
from scalesim.workloads.soak.growth import WarmUp
from scalesim.workloads.soak.soak import Order, soak

pytestmark = pytest.mark.anyio

SCALESIM = Path(sys.executable).with_name("scalesim")


def order(out: Path, **options: float) -> Order:
    return Order(
        minutes=options.get("minutes", 0.05),
        warm_up=WarmUp(seconds=60 * options.get("warm_up_minutes", 0.01)),
        clients=int(options.get("clients", 8)),
        agents=int(options.get("agents", 40)),
        seed=1,
        out_dir=out,
        json_path=out / "soak.json",
        png_path=out / "soak.png",
        installation=replace(EmulatedInstallation(), scalesim=SCALESIM),
    )


@pytest.mark.slow
@pytest.mark.skipif(not SCALESIM.exists(), reason="scalesim is not installed beside this interpreter")
async def test_a_short_one_loses_nothing_and_says_that_it_was_too_short(tmp_path: Path) -> None:
    console = Console(width=130, record=True)
    assert not await soak(order(tmp_path), console)
    told = json.loads((tmp_path / "soak.json").read_text())
    assert told["verdict"]["problems"] == ["it was too short to tell whether anything grows"]
    assert sum(told["calls"].values()) >= 8
    assert sum(told["lost"].values()) == told["tracebacks"] == 0
    assert {"schema", "command", "commit", "machine", "seed", "looks"} <= told.keys()
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    for options in ({"minutes": 0.0}, {"warm_up_minutes": 1.0}, {"clients": 0}, {"agents": 0}):
        with pytest.raises(Impossible, match="there has to be a client"):
            order(tmp_path, **options)

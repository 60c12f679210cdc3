from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from scalesim.workloads import calibration
from scalesim.workloads.builds import EngineBuild, Flavour
from scalesim.workloads.compare import Order, compare
from scalesim.workloads.emulated import EmulatedInstallation
from scalesim.workloads.program import Impossible, Wishes

STOCK = EngineBuild(Flavour.STOCK)
PROXY = """#!{python}
from scalesim.proxy.__main__ import main
main()
"""


def test_a_stock_engine_is_one_without_the_extension() -> None:
    stock = EmulatedInstallation().engine_command(Flavour.STOCK, 1234, 5000)
    extended = EmulatedInstallation().engine_command(Flavour.EXTENDED, 1234, 5000)
    assert stock[:3] == [sys.executable, "-m", "scalesim.engine_adapters.emulated"]
    assert stock == [*extended, "--stock"]
    assert stock[stock.index("--capacity-tokens") + 1] == "5000"


def test_twice_the_pace_halves_what_steps_take() -> None:
    slow, fast = EmulatedInstallation(pace=1), EmulatedInstallation(pace=2)
    assert slow.prefill_s_per_token == 2 * fast.prefill_s_per_token
    assert slow.decode_s_per_step == 2 * fast.decode_s_per_step
    # A token of a quarter of an answer takes as long as four of the whole one.
    assert slow.decode_s_per_step == pytest.approx(0.032)
    assert "2 times as fast" in fast.notes()[0]


@pytest.mark.parametrize("pace", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_pace_is_refused(pace: float) -> None:
    with pytest.raises(Impossible, match="pace is"):
        EmulatedInstallation(pace=pace)


def test_what_is_not_emulated_is_refused() -> None:
    with pytest.raises(Impossible, match="stock-lfu"):
        EmulatedInstallation().engine_command(EngineBuild(Flavour.STOCK, settings=("--lfu",)), 1234, 5000)


def test_host_memory_holds_every_agent_behind_a_link_that_keeps_the_pace() -> None:
    command = EmulatedInstallation(pace=2).engine_command(
        EngineBuild(Flavour.EXTENDED, host_tier=True), 1234, 5000
    )
    given = dict(zip(command[3::2], command[4::2], strict=False))
    assert given["--host-tokens"] == "80000"
    assert float(given["--link-bytes-per-s"]) == 2 * 64e9
    assert EmulatedInstallation(pace=2).wire.seconds(1000) == pytest.approx(1000 * 57_344 / 128e9)


@pytest.mark.slow
def test_its_tokens_are_counted_without_an_engine() -> None:
    assert 4 < calibration.of_model(EmulatedInstallation()) < 6


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_town_is_compared_in_front_of_emulated_engines(tmp_path: Path) -> None:
    proxy = tmp_path / "scalesim"
    proxy.write_text(PROXY.format(python=sys.executable))
    proxy.chmod(0o755)
    order = Order(
        scenario="interaction",
        wishes=Wishes(agents=8, steps=4, persona_tokens=300, growth_tokens=8, options={"tiles": 60.0}),
        names=("stock", "own"),
        room=0.5,
        repeats=1,
        most_engines=2,
        out_dir=tmp_path / "out",
        json_path=tmp_path / "result.json",
        png_path=tmp_path / "picture.png",
        installation=EmulatedInstallation(
            scalesim=proxy, pace=100, engine_timeout_s=600, proxy_timeout_s=600
        ),
    )
    console = Console(file=io.StringIO(), width=200)
    assert await compare(order, console), console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["engine"], result["model"], result["text_match"]) == ("emulated", "emulated", 1.0)
    assert result["told"] == {"own": "spatial"}
    assert result["options"] == {"tiles": 60.0}
    for one in result["configs"].values():
        assert one["errors"] == 0
        assert 0 < one["engine_s"] <= one["wall_s"]
        assert one["prefix_hit_rate"] <= one["belady"]["prefix_hit_rate"] <= 1
    assert any("made up" in note for note in result["notes"])

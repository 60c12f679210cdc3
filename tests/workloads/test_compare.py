from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from scalesim.workloads.compare import Order, compare
from scalesim.workloads.emulated import EmulatedInstallation
from scalesim.workloads.noise import Noise
from scalesim.workloads.program import Impossible, Wishes
from scalesim.workloads.servers import Flavour, Installation, ServerFailed
from tests.support.serve import serve
from tests.workloads.fake_engine import FakeEngine

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def order(out_dir: Path, *names: str, **more: object) -> Order:
    return Order(
        scenario="independent",
        wishes=Wishes(agents=8, steps=6, persona_tokens=60, growth_tokens=10),
        names=names or ("stock",),
        room=0.25,
        repeats=2,
        most_engines=3,
        out_dir=out_dir,
        json_path=out_dir / "result.json",
        png_path=out_dir / "picture.png",
        **more,  # type: ignore[arg-type]  # by name
    )


def screen() -> Console:
    return Console(file=io.StringIO(), width=200)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_a_comparison_writes_json_a_picture_and_every_call(tmp_path: Path) -> None:
    console = screen()
    async with serve(FakeEngine().app()) as url:
        assert await compare(order(tmp_path, given={Flavour.STOCK: url}), console)

    result = json.loads((tmp_path / "result.json").read_text())
    assert result["schema"] == 1
    assert (result["scenario"], result["agents"], result["steps"], result["seed"]) == ("independent", 8, 6, 1)
    assert {"command", "commit", "machine"} <= result.keys()
    assert result["speedup_over_stock"] == {"stock": 1.0}
    assert (result["text_match"], result["text_differences_explained"]) == (1.0, True)
    stock = result["configs"]["stock"]
    assert stock["errors"] == 0
    # The fake engine never gives anything up, and neither does Belady with so much room.
    assert stock["prefix_hit_rate"] == stock["first_call_hit_rate"] == 1.0
    assert stock["belady"] == {"prefix_hit_rate": 1.0, "first_call_hit_rate": 1.0}
    assert stock["wall_s"] == pytest.approx(6 * stock["step_s"]["mean"])
    assert stock["ttft_s"]["p50"] <= stock["ttft_s"]["p95"]

    lines = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * stock["calls"]
    assert {(line["config"], line["repeat"]) for line in lines} == {("stock", 0), ("stock", 1)}
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width > 1000

    text = shown(console)
    assert str(tmp_path / "result.json") in text
    assert str(tmp_path / "picture.png") in text
    assert "What bounds the speedup" in text


async def test_a_wrong_answer_makes_the_comparison_fail(tmp_path: Path) -> None:
    engine = FakeEngine()

    def answer(fingerprint: int) -> list[str]:
        # In the second repeat the engine finds the prefix of somebody else.
        wrong = engine.flushes == 2 and fingerprint % 5 == 0
        return ["wrong " if wrong else "right ", f"{fingerprint}"]

    engine.answer = answer
    console = screen()
    async with serve(engine.app()) as url:
        assert not await compare(order(tmp_path, given={Flavour.STOCK: url}), console)
    result = json.loads((tmp_path / "result.json").read_text())
    assert 0 < result["text_match"] < 1
    assert result["text_differences_explained"] is False
    difference = result["texts"]["differences"][0]
    assert (difference["token"], difference["explained"]) == (0, False)
    assert difference["other"].startswith("wrong ")
    assert "DIFFERENCES ARE NOT EXPLAINED" in shown(console)


async def test_errors_make_the_comparison_fail(tmp_path: Path) -> None:
    engine = FakeEngine()

    def answer(fingerprint: int) -> list[str]:
        engine.failure = "break" if engine.flushes == 2 else None
        return ["yes"]

    engine.answer = answer
    console = screen()
    async with serve(engine.app()) as url:
        assert not await compare(order(tmp_path, given={Flavour.STOCK: url}), console)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["configs"]["stock"]["errors"] > 0
    assert result["text_match"] == 1.0
    assert "the stream ended before the answer did" in shown(console)


async def test_what_is_not_installed_is_named_before_anything_starts(tmp_path: Path) -> None:
    installation = Installation(engine_env=tmp_path / "no-engine", scalesim=tmp_path / "no-scalesim")
    with pytest.raises(ServerFailed, match=r"no-engine.*no-scalesim: missing; `make setup`"):
        await compare(order(tmp_path, "stock", "on", installation=installation), screen())


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("spatial", {}, "independent has no 'spatial' to tell"),
        ("noisy", {}, "say which, as --noise"),
        ("on", {"noise": Noise(sigma=1)}, "noisy, which does not play"),
        (
            "on",
            {"installation": EmulatedInstallation(), "given": {Flavour.STOCK: "http://127.0.0.1:1"}},
            "either emulated or given",
        ),
    ],
)
async def test_what_cannot_be_told_or_played_is_refused_before_anything_starts(
    tmp_path: Path, name: str, more: dict[str, object], words: str
) -> None:
    with pytest.raises(Impossible, match=words):
        await compare(order(tmp_path / "out", "stock", name, **more), screen())
    assert not (tmp_path / "out").exists()


async def test_an_unknown_configuration_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(Impossible, match="no configuration 'fast'"):
        await compare(order(tmp_path, "stock", "fast"), screen())

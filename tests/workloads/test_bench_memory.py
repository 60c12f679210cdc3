from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from scalesim.workloads.bench_memory import Order, Prepared, measure, prepare, rules
from scalesim.workloads.builds import AdapterRoom, Conditions, Device
from scalesim.workloads.configurations import EngineKey, Lane, passes
from scalesim.workloads.links import Link
from scalesim.workloads.memory_configurations import configurations, reference_first
from scalesim.workloads.program import Impossible, Told, Wishes
from scalesim.workloads.scenarios import scenario
from scalesim.workloads.servers import Installation, ServerFailed
from tests.support.serve import serve
from tests.workloads.fake_engine import FakeEngine

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
LINK = Link("paper", 20e6, 0.1, 0.001)


@dataclass
class FakeFleet:
    """Makes an engine for each key that is asked for; each is also the proxy in front of itself."""

    stack: AsyncExitStack
    engines_by_key: dict[EngineKey, FakeEngine] = field(default_factory=dict)
    urls: dict[EngineKey, str] = field(default_factory=dict)

    async def engines(self, keys: Collection[EngineKey]) -> Mapping[EngineKey, str]:
        for key in keys:
            if key not in self.urls:
                engine = FakeEngine(slot_s=0.001)
                self.engines_by_key[key] = engine
                self.urls[key] = await self.stack.enter_async_context(serve(engine.app()))
        return {key: self.urls[key] for key in keys}

    async def proxy(self, lane: Lane, engine_url: str) -> tuple[str, str]:
        return engine_url, engine_url

    def stop_proxies(self) -> None:
        pass


def order(out_dir: Path, *names: str, **more: object) -> Order:
    # mean_gap_steps: everybody calls in every step.
    return Order(
        wishes=Wishes(agents=4, steps=2, persona_tokens=40, growth_tokens=8, adapters=True, mean_gap_steps=1),
        names=names,
        room=0.25,
        repeats=1,
        most_engines=3,
        out_dir=out_dir,
        json_path=out_dir / "result.json",
        png_path=out_dir / "picture.png",
        **more,  # type: ignore[arg-type]  # by name
    )


def prepared(order: Order, link: Link | None = LINK) -> Prepared:
    program = scenario(order.scenario).generate(order.wishes)
    conditions = Conditions(AdapterRoom(order.slots, 4, 8), link)
    known = configurations(order.host_tier, program.own())
    groups = passes(reference_first(order.names), 3, None, known, conditions)
    paths = {f"ad-{index}": f"/adapters/ad-{index}" for index in range(4)}
    told = rules(order, program, paths)
    return Prepared(program, order.wishes, known, groups, told, conditions, 1000, 5000, "5,000 tokens")


def screen() -> Console:
    return Console(file=io.StringIO(), width=200)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_the_benchmark_writes_json_a_picture_and_every_call(tmp_path: Path) -> None:
    console = screen()
    asked = order(tmp_path, "stock", "hicache", "best", "all")
    async with AsyncExitStack() as stack:
        fleet = FakeFleet(stack)
        assert await measure(asked, prepared(asked), fleet, console)
    result = json.loads((tmp_path / "result.json").read_text())
    assert list(result["configs"]) == ["stock", "hicache", "best", "all"]
    assert (result["reference"], result["text_match"]) == ("hicache", 1.0)
    assert result["link"]["name"] == "paper"
    assert (result["adapter_slots"], result["room"]) == (3, 0.25)
    assert result["speedup_over_hicache"]["hicache"] == result["speedup_over_stock"]["stock"] == 1.0
    assert result["ceiling"] > 1
    for config in result["configs"].values():
        assert set(config["time_share"]) == {"decode", "prefill", "load", "other"}
        assert config["errors"] == 0
        assert config["load_s"] > 0
        assert 0 <= config["adapter_hit_rate"] < 1
    lines = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert {line["config"] for line in lines} == {"stock", "hicache", "best", "all"}
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width > 1000
    text = shown(console)
    assert "Link: emulated, paper" in text
    assert "Not measured: " in text


@pytest.mark.parametrize(
    ("scenario", "told", "words"),
    [
        ("interaction", "spatial", {"space", "positions", "actions"}),
        ("diffusion", "path", {"graph", "activations"}),
    ],
)
async def test_other_scenarios_are_told_by_what_they_know_of_themselves(
    tmp_path: Path, scenario: str, told: str, words: set[str]
) -> None:
    asked = order(tmp_path, "hicache", "all", scenario=scenario)
    console = screen()
    async with AsyncExitStack() as stack:
        fleet = FakeFleet(stack)
        assert await measure(asked, prepared(asked), fleet, console)
        said = {
            what.rpartition("/")[2] for engine in fleet.engines_by_key.values() for what, _ in engine.told
        }
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["scenario"] == scenario
    assert result["told"] == {"all": told}
    assert result["paper"]["over_stock"] > 1.3
    assert (result["interactions"] is not None) == (scenario == "interaction")
    assert ("Interactions trigger" in shown(console)) == (scenario == "interaction")
    assert words <= said
    assert "distances" not in said


async def test_a_deliberately_wrong_adapter_makes_the_comparison_fail(tmp_path: Path) -> None:
    console = screen()
    asked = order(tmp_path, "stock", "hicache", wrong_adapter="stock")
    async with AsyncExitStack() as stack:
        assert not await measure(asked, prepared(asked), FakeFleet(stack), console)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["text_differences_explained"] is False
    assert {one["agent"] for one in result["texts"]["differences"]} == {"agent-0", "agent-1"}
    assert "DIFFERENCES ARE NOT EXPLAINED" in shown(console)
    assert "swapped, on purpose" in shown(console)


async def test_without_a_host_tier_stock_is_the_reference(tmp_path: Path) -> None:
    asked = order(tmp_path, *configurations(False), host_tier=False)
    async with AsyncExitStack() as stack:
        fleet = FakeFleet(stack)
        assert await measure(asked, prepared(asked, None), fleet, screen())
        assert not any(build.host_tier for build, _ in fleet.engines_by_key)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["reference"] == "stock"
    assert result["link"] is None
    assert list(result["configs"]) == ["stock", "order", "warm-up", "all-no-host"]
    assert result["speedup_bound"] is not None


async def test_prefixes_of_different_adapters_are_not_counted_as_shared(tmp_path: Path) -> None:
    """Everybody's prompt begins with the same tokens, yet only an agent's own returns could have been hits."""
    asked = order(tmp_path, "hicache")
    async with AsyncExitStack() as stack:
        await measure(asked, prepared(asked), FakeFleet(stack), screen())
    lines = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    shared = sum(line["cached_tokens"] for line in lines)
    rate = json.loads((tmp_path / "result.json").read_text())["configs"]["hicache"]["prefix_hit_rate"]
    # The fake engine shares them all the same, so it hits more than there should be to hit.
    assert shared > 0
    assert rate > 1


def installation(folder: Path) -> Installation:
    """An engine's environment that counts tokens, and makes adapters of a thousand bytes."""
    python = folder / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        '#!/bin/sh\nif [ "$1" = -c ]; then echo 5000; exit; fi\n'
        "for i in 0 1 2 3 4 5 6 7; do mkdir -p $4/ad-$i; head -c 1000 /dev/zero"
        " > $4/ad-$i/adapter_model.safetensors; done\n"
    )
    python.chmod(0o755)
    (folder / "config.json").write_text(
        json.dumps({"num_hidden_layers": 8, "num_key_value_heads": 2, "head_dim": 32})
    )
    return Installation(engine_env=folder / "env", model=folder, scalesim=python)


def test_what_is_decided_before_the_first_engine(tmp_path: Path) -> None:
    asked = order(tmp_path / "out", "stock", "hicache", installation=installation(tmp_path), link="h100")
    console = screen()
    found = prepare(asked, console)
    assert found.rules.whole_plays
    assert found.rules.adapter_paths["ad-3"] == str(tmp_path / "out" / "adapters" / "ad-3")
    assert found.conditions.adapters == AdapterRoom(slots=4, loaded=4, rank=8)  # one for the base model
    assert found.conditions.link is not None
    assert found.conditions.link.name == "h100"
    assert [lane.name for lane in found.passes[0]] == ["hicache", "stock"]
    assert "25% of 4 slots and prefixes fit: 3 slots" in shown(console)
    one_file = prepare(replace(asked, one_file=True), console)
    assert len(set(one_file.rules.adapter_paths.values())) == 1
    assert len(one_file.rules.adapter_paths) == 4


@pytest.mark.parametrize(
    ("scenario", "told", "word"),
    [
        ("independent", None, Told.PLAN),
        ("interaction", None, Told.SPATIAL),
        ("diffusion", None, Told.PATH),
        ("diffusion", Told.EXACT, Told.EXACT),
    ],
)
def test_a_simulation_tells_what_it_knows_of_itself_or_what_is_asked_for(
    tmp_path: Path, scenario: str, told: Told | None, word: Told
) -> None:
    asked = order(
        tmp_path / "out",
        "hicache",
        "all",
        scenario=scenario,
        told=told,
        installation=installation(tmp_path),
    )
    console = screen()
    lanes = {lane.name: lane.configuration.told for lane in prepare(asked, console).passes[0]}
    assert lanes == {"hicache": None, "all": word}
    assert f"Told: {word.value}." in shown(console)


def test_slots_are_the_share_of_the_agents_and_never_below_three(tmp_path: Path) -> None:
    asked = order(tmp_path, "stock")
    assert asked.slots == 3
    assert replace(asked, wishes=replace(asked.wishes, agents=24)).slots == 6


@pytest.mark.parametrize(
    ("names", "more", "words"),
    [
        (("stock",), {"rank": 0}, "rank is 0"),
        (("stock",), {"link": "fast"}, "no link 'fast'"),
        (("stock",), {"scenario": "chess"}, "no scenario 'chess'"),
        (
            ("stock",),
            {"link": "paper", "installation": Installation(device=Device.CUDA)},
            "only engines on the CPU",
        ),
        (("stock",), {"wrong_adapter": "all"}, "'all' is none of"),
        (("stock",), {"wishes": Wishes()}, "agents that have adapters"),
        (("stock",), {"wishes": Wishes(agents=1, adapters=True)}, "nobody to compete with"),
    ],
)
def test_an_order_that_cannot_be_is_refused(
    tmp_path: Path, names: tuple[str, ...], more: dict[str, object], words: str
) -> None:
    with pytest.raises(Impossible, match=words):
        replace(order(tmp_path, *names), **more)  # type: ignore[arg-type]  # by name


def test_unknown_configurations_and_what_is_not_installed_are_refused_before_anything_is_made(
    tmp_path: Path,
) -> None:
    nothing = Installation(engine_env=tmp_path / "no", model=tmp_path, scalesim=tmp_path / "no-scalesim")
    with pytest.raises(Impossible, match="no configuration 'off'"):
        prepare(order(tmp_path / "out", "off"), screen())
    with pytest.raises(Impossible, match="no configuration 'hicache'"):
        prepare(order(tmp_path / "out", "hicache", host_tier=False), screen())
    with pytest.raises(Impossible, match="independent has no 'path' to tell"):
        prepare(order(tmp_path / "out", "hicache", told=Told.PATH), screen())
    with pytest.raises(ServerFailed, match="no-scalesim: missing"):
        prepare(order(tmp_path / "out", "hicache", "all", installation=nothing), screen())
    assert not (tmp_path / "out").exists()

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scalesim.workloads.adapters import make_adapters, paths_by_name, sizes, swapped
from scalesim.workloads.links import Sizes
from scalesim.workloads.program import Impossible, Wishes
from scalesim.workloads.scenarios import scenario
from scalesim.workloads.servers import Installation, ServerFailed


def installation(folder: Path, script: str) -> Installation:
    python = folder / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return Installation(engine_env=folder / "env", model=folder / "model")


def test_adapters_are_made_in_the_engine_s_environment(tmp_path: Path) -> None:
    here = installation(
        tmp_path, f'echo "$@" > {tmp_path}/asked; mkdir -p {tmp_path}/out/ad-0 {tmp_path}/out/ad-1'
    )
    made = make_adapters(here, tmp_path / "out", count=2, rank=4, seed=7)
    assert made == [tmp_path / "out" / "ad-0", tmp_path / "out" / "ad-1"]
    assert (tmp_path / "asked").read_text().strip() == (
        f"-m scalesim_sglang.adapter_maker {tmp_path}/model {tmp_path}/out --count 2 --rank 4 --seed 7"
    )


def test_adapters_that_could_not_be_made_are_said_with_what_was_said(tmp_path: Path) -> None:
    here = installation(tmp_path, "echo rank 4 is refused >&2; exit 2")
    with pytest.raises(ServerFailed, match="rank 4 is refused"):
        make_adapters(here, tmp_path / "out", count=2, rank=4, seed=7)


def test_an_adapter_that_was_not_made_is_missed(tmp_path: Path) -> None:
    here = installation(tmp_path, f"mkdir -p {tmp_path}/out/ad-0")
    with pytest.raises(ServerFailed, match="ad-1 was to be made"):
        make_adapters(here, tmp_path / "out", count=2, rank=4, seed=7)


def test_every_agent_has_its_own_file_or_all_have_one() -> None:
    two = [Path("/a/ad-0"), Path("/a/ad-1")]
    assert paths_by_name(two, count=2) == {"ad-0": "/a/ad-0", "ad-1": "/a/ad-1"}
    assert paths_by_name(two[:1], count=2) == {"ad-0": "/a/ad-0", "ad-1": "/a/ad-0"}


def test_swapping_changes_the_adapters_of_two_agents_that_call_and_nothing_else() -> None:
    program = scenario("independent").generate(
        Wishes(agents=4, steps=2, persona_tokens=10, adapters=True, mean_gap_steps=1)
    )
    wrong = swapped(program)
    assert wrong.adapters == {"agent-0": "ad-1", "agent-1": "ad-0", "agent-2": "ad-2", "agent-3": "ad-3"}
    for (_, mine, _, call), (_, other, _, same) in zip(program.calls(), wrong.calls(), strict=True):
        assert (mine.agent, call) == (other.agent, same)
        assert (mine.adapter == other.adapter) == (mine.agent in ("agent-2", "agent-3"))


def test_swapping_needs_two_agents_that_call() -> None:
    program = scenario("independent").generate(Wishes(agents=1, steps=2, persona_tokens=10, adapters=True))
    with pytest.raises(Impossible, match="two agents have to call"):
        swapped(program)


def test_sizes_are_read_off_the_model_and_the_adapter(tmp_path: Path) -> None:
    here = Installation(model=tmp_path)
    config = {"num_hidden_layers": 8, "num_key_value_heads": 2, "hidden_size": 256, "num_attention_heads": 8}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.safetensors").write_bytes(bytes(1000))
    assert sizes(here, tmp_path) == Sizes(bytes_per_token=4096, adapter_bytes=1000)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ServerFailed, match="are unknown"):
        sizes(here, tmp_path)

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from scalesim.proxy.cli.ending import USAGE
from scalesim.workloads.replay import profiles
from tests.workloads.replay.test_measured import PROFILE

from .running import invoke

HEADER = {"schema": "scalesim.trace", "version": 1, "block_size": 64}
CALL = {"timestamp": 0, "session_id": "ann", "input_length": 100, "output_length": 3, "hash_ids": [1, 2]}


def written(path: Path, *calls: Mapping[str, object]) -> str:
    path.write_text("".join(json.dumps(one) + "\n" for one in (HEADER, *calls)))
    return str(path)


@pytest.fixture
def trace(tmp_path: Path) -> str:
    return written(
        tmp_path / "town.jsonl", CALL, {"lost": 2}, {**CALL, "timestamp": 9.0, "session_id": "bob"}
    )


@pytest.mark.slow
def test_policies_stand_side_by_side_and_what_was_left_out_beside_them(trace: str) -> None:
    result = invoke("replay", trace, "--policy", "stock,lfu,nearest_first")
    assert result.exit_code == 0, result.output
    assert "2 calls of 2 agents" in result.stdout
    assert [line for line in result.stdout.splitlines() if "stock" in line and "nearest_first" in line]
    for row in ("TTFT", "hits", "wasted", "bottleneck"):
        assert row in result.stdout
    assert result.stderr.strip() == f"left out: 1 line: a note of lost calls (the first: {trace}, line 3)"
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_json_has_each_policy_and_what_was_left_out(trace: str) -> None:
    told = json.loads(invoke("replay", trace, "--speed", "2", "--closed", "--json").stdout)
    assert list(told["policies"]) == ["stock", "nearest_first"]
    assert told["policies"]["stock"]["calls"] == 2
    assert told["policies"]["stock"]["setting"]["speed"] == 2
    assert told["policies"]["stock"]["setting"]["closed"] is True
    assert len(told["left_out"]) == 1


def test_files_of_one_trace_are_played_as_one(trace: str, tmp_path: Path) -> None:
    later = written(tmp_path / "later.jsonl", {**CALL, "timestamp": 50.0})
    told = json.loads(invoke("replay", trace, later, "--policy", "stock", "--json").stdout)
    assert told["policies"]["stock"]["calls"] == 3


@pytest.mark.slow
def test_it_plays_on_an_engine_that_was_measured(trace: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(profiles.written(PROFILE))
    told = json.loads(invoke("replay", trace, "--measured", str(mine), "--json").stdout)
    assert {one["setting"]["measured"]["name"] for one in told["policies"].values()} == {PROFILE.name}
    refused = invoke("replay", trace, "--measured", str(mine), "--model", "llama-3.1-8b")
    assert refused.exit_code == USAGE
    assert "model is llama-3.1-8b" in refused.stderr


@pytest.mark.slow
def test_adapters_need_a_rank(tmp_path: Path) -> None:
    path = written(tmp_path / "town.jsonl", {**CALL, "adapter": "a1"})
    refused = invoke("replay", path)
    assert refused.exit_code == USAGE
    assert "--adapter-rank" in refused.stderr
    assert invoke("replay", path, "--adapter-rank", "8", "--policy", "stock").exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--policy", "best"), "no policy 'best'"),
        (("--policy", ","), "--policy names none"),
        (("--policy", "belady"), "belady knows the future of a program"),
        (("--speed", "0"), "speed is 0"),
        (("--gpu", "h1000"), "no gpu 'h1000'"),
    ],
)
def test_what_is_impossible_ends_with_2_and_a_line_that_says_why(
    trace: str, words: tuple[str, ...], says: str
) -> None:
    result = invoke("replay", trace, *words)
    assert result.exit_code == USAGE
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_bad_trace_is_refused_with_its_line(tmp_path: Path) -> None:
    bad = invoke("replay", written(tmp_path / "bad.jsonl", CALL, {**CALL, "timestamp": -1}))
    assert bad.exit_code == USAGE
    assert "bad.jsonl, line 3: timestamp is -1" in bad.stderr
    none = invoke("replay", str(tmp_path / "none.jsonl"))
    assert none.exit_code == USAGE
    assert "none.jsonl: No such file" in none.stderr

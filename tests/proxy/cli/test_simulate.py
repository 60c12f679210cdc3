from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scalesim.proxy.cli.ending import PROBLEM, USAGE
from scalesim.workloads import scenarios
from scalesim.workloads.replay import profiles
from tests.support.command_page import help_of
from tests.workloads.replay.test_measured import PROFILE

from .running import invoke

SMALL = ("--agents", "12", "--steps", "2", "--persona-tokens", "200", "--lead-in", "1")


def told(*words: str) -> Any:
    result = invoke("simulate", *SMALL, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.slow
def test_it_prints_times_hits_bytes_what_holds_it_up_and_what_would_change_that() -> None:
    result = invoke("simulate", *SMALL)
    assert result.exit_code == 0, result.output
    for words in (
        *("step", "TTFT", "engines' time", "hits", "wasted", "bottleneck: the simulation's own chains"),
        *("as asked", "one more GPU", "twice the host link", "half the persona"),
    ):
        assert words in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.slow
def test_it_is_the_same_each_time_and_another_with_another_seed() -> None:
    one, other, third = told("--no-what-if"), told("--no-what-if"), told("--no-what-if", "--seed", "2")
    assert one == other
    assert one["cases"][0]["results"]["steps"] != third["cases"][0]["results"]["steps"]


@pytest.mark.slow
def test_json_has_each_case_with_what_it_was_and_what_came_of_it() -> None:
    answer = told()
    (case,) = answer["cases"]
    assert case["town"]["agents"] == 12
    assert case["machine"]["gpu"] == "h100"
    assert case["bottleneck"]["cause"] in case["results"]["causes"]
    assert case["results"]["step_s"]["mean"] > 0
    assert [one["name"] for one in answer["what_if"]] == [
        "one more GPU",
        "twice the host link",
        "half the persona",
    ]
    assert answer["what_if"][0]["machine"]["engines"] == 2


@pytest.mark.slow
def test_a_sweep_has_a_row_for_each_case_and_no_what_if() -> None:
    result = invoke("simulate", *SMALL, "--sweep", "agents=4,8", "--sweep", "policy=stock,nearest_first")
    assert result.exit_code == 0, result.output
    rows = [line.split()[:2] for line in result.stdout.splitlines()]
    assert rows == [
        ["agents", "policy"],
        ["4", "stock"],
        ["4", "nearest_first"],
        ["8", "stock"],
        ["8", "nearest_first"],
    ]
    assert told("--sweep", "agents=4,8")["what_if"] == []


@pytest.mark.slow
def test_every_option_arrives() -> None:
    (case,) = told(
        *("--scenario", "interaction", "--option", "tiles=280", "--told", "spatial", "--active", "0.5"),
        *("--calls", "3"),
        *("--gpu", "a100", "--model", "llama-3.1-8b", "--engines", "2", "--tensor-parallel", "2"),
        *("--policy", "cost_aware", "--growth-tokens", "7", "--host-gb", "3", "--link", "0.5"),
        *("--adapter-rank", "8", "--slots", "2", "--placement", "least_loaded", "--plan-every", "0.2"),
        *("--sweep", "seed=3"),
    )["cases"]
    assert case["town"] == {
        **{
            "scenario": "interaction",
            "agents": 12,
            "steps": 2,
            "lead_in": 1,
            "seed": 3,
            "persona_tokens": 200,
        },
        **{
            "growth_tokens": 7,
            "mean_gap_steps": 2.0,
            "calls_per_activation": 3,
            "told": "spatial",
            "options": {"tiles": 280},
        },
        "noise": {},
    }
    assert case["machine"] == {
        **{"gpu": "a100", "model": "llama-3.1-8b", "engines": 2, "tensor_parallel": 2, "link": 0.5},
        **{"host_gb": 3.0, "adapter_rank": 8, "slots": 2, "policy": "cost_aware"},
        **{"placement": "least_loaded", "plan_every_s": 0.2, "server": "sglang"},
    }


@pytest.mark.slow
def test_who_wants_a_step_within_a_time_is_told_by_the_exit_code() -> None:
    assert invoke("simulate", *SMALL, "--no-what-if", "--step-within", "1000").exit_code == 0
    assert invoke("simulate", *SMALL, "--no-what-if", "--step-within", "0.001").exit_code == PROBLEM


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--gpu", "h1000"), "no gpu 'h1000'; there is a100"),
        (("--scenario", "town"), "no scenario 'town'; there is diffusion"),
        (("--policy", "best"), "no policy 'best'"),
        (("--told", "all"), "told is 'all'"),
        (("--told", "path"), "no 'path' to tell"),
        (("--option", "tiles=3"), "independent has no option 'tiles'"),
        (("--noise", "sigma"), "'sigma' is not NAME=VALUE"),
        (("--sweep", "agents=1,x"), "agents is 'x'"),
        (("--sweep", "gpu=h100,h1000"), "no gpu 'h1000'"),
        (("--tensor-parallel", "3"), "has to divide"),
        (("--model", "qwen2.5-32b", "--gpu", "a10g"), "take all of"),
        (("--persona-tokens", "5000000"), "a call of"),
    ],
)
def test_what_is_impossible_ends_with_2_and_a_line_that_says_why(words: tuple[str, ...], says: str) -> None:
    result = invoke("simulate", *SMALL, *words)
    assert result.exit_code == USAGE
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(profiles.written(PROFILE))
    return str(path)


@pytest.mark.slow
def test_an_engine_that_was_measured_takes_the_place_of_a_gpu(mine: str) -> None:
    (case,) = told("--no-what-if", "--measured", mine)["cases"]
    assert case["machine"]["measured"] == mine
    assert "gpu" not in case["machine"]
    assert case["results"]["setting"]["measured"]["name"] == PROFILE.name
    assert case["results"]["setting"]["front_s"] == PROFILE.front_s
    shown = invoke("simulate", *SMALL, "--measured", mine)
    assert shown.exit_code == 0, shown.output
    assert "one more engine" in shown.stdout
    assert "moved                0 tokens while calls waited" in shown.stdout
    assert "GPU" not in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


@pytest.mark.slow
def test_a_sweep_of_measured_engines_counts_them_once(mine: str) -> None:
    result = invoke("simulate", *SMALL, "--measured", mine, "--sweep", "engines=1,2")
    assert result.exit_code == 0, result.output
    head, *rows = (line.split() for line in result.stdout.splitlines())
    assert head.count("engines") == 1
    assert [row[0] for row in rows] == ["1", "2"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--gpu", "a100"), "gpu is a100, and"),
        (("--sweep", "host-gb=1,2"), "host_gb is 1.0, and"),
        (("--sweep", "engines=1,2", "--sweep", "slots=3"), "slots is 3, and"),
    ],
)
def test_what_its_profile_does_not_say_is_refused(mine: str, words: tuple[str, ...], says: str) -> None:
    result = invoke("simulate", *SMALL, "--measured", mine, *words)
    assert result.exit_code == USAGE
    assert says in result.stderr
    assert "mine.toml" in result.stderr


def test_help_names_what_there_is() -> None:
    said = " ".join(help_of(("simulate",)).replace("│", " ").split())
    listed = [*profiles.names("gpu"), *profiles.names("model"), *scenarios.names()]
    assert [name for name in listed if name not in said] == []


@pytest.mark.slow
def test_a_bar_is_for_terminals_alone() -> None:
    assert invoke("simulate", *SMALL, "--no-what-if", "--policy", "stock").stderr == ""

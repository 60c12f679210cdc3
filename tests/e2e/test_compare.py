"""The comparison that the README shows, small, on real engines; and that it notices a wrong answer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from scalesim.workloads.matching import match
from scalesim.workloads.player import Target, play_program
from scalesim.workloads.program import Message, Program, Wishes
from scalesim.workloads.records import CallRecord
from scalesim.workloads.scenarios import scenario
from scalesim.workloads.servers import ROOT, Server

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def test_compare_plays_all_configurations_on_real_engines(tmp_path: Path) -> None:
    out, picture = tmp_path / "out.json", tmp_path / "out.png"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "workloads", "compare", "--scenario", "independent", "--seed", "1"),
            *("--agents", "8", "--steps", "3", "--persona-tokens", "600", "--repeats", "1"),
            *("--json", str(out), "--png", str(picture), "--out-dir", str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3_600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(out.read_text())
    assert found["schema"] == 1
    assert list(found["configs"]) == ["stock", "off", "on", "on-nohints"]
    assert {config["errors"] for config in found["configs"].values()} == {0}
    assert found["text_match"] >= 0.99
    assert found["text_differences_explained"] is True
    assert found["speedup_over_stock"]["stock"] == 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_deliberately_wrong_adapter_makes_the_memory_benchmark_fail(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "workloads", "bench-memory", "--configs", "stock,hicache,best"),
            *("--agents", "12", "--steps", "3", "--persona-tokens", "300", "--seed", "1", "--repeats", "1"),
            *("--wrong-adapter", "best", "--json", str(out), "--out-dir", str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3_600,
        check=False,
    )
    assert out.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(out.read_text())
    assert {config["errors"] for config in found["configs"].values()} == {0}
    assert found["text_differences_explained"] is False
    assert done.returncode == 1
    # Whose adapter was right got the same answers from stock, from hicache, and from the wrong lane's own others.
    unexplained = [one for one in found["texts"]["differences"] if not one["explained"]]
    assert len({one["agent"] for one in unexplained}) == 2


def _another(persona: Message) -> Message:
    return {**persona, "content": persona["content"][::-1]}


def _with_wrong_prefixes(program: Program) -> Program:
    """The same questions, put to people with somebody else's persona: what a cache that mixes agents up would answer."""
    swapped = []
    for step in program.steps:
        activations = []
        for activation in step.activations:
            calls = tuple(
                replace(call, messages=(_another(call.messages[0]), *call.messages[1:]))
                for call in activation.calls
            )
            activations.append(replace(activation, calls=calls))
        swapped.append(replace(step, activations=tuple(activations)))
    return replace(program, steps=tuple(swapped))


def test_a_deliberately_wrong_prefix_is_an_unexplained_difference(extended_engine: Server) -> None:
    program = scenario("independent").generate(
        Wishes(agents=4, steps=2, seed=3, persona_tokens=300, mean_gap_steps=1)
    )
    model = _model(extended_engine.url)

    async def texts(played: Program) -> list[CallRecord]:
        steps = await play_program(played, Target(extended_engine.url, model))
        return [call for step in steps for call in step.calls]

    right, again, wrong = (
        asyncio.run(texts(one)) for one in (program, program, _with_wrong_prefixes(program))
    )
    assert match(right, again).all_explained
    assert not match(right, wrong).all_explained
    assert match(right, wrong).share < 0.5


def _model(url: str) -> str:
    return str(httpx.get(f"{url}/v1/models", trust_env=False).json()["data"][0]["id"])

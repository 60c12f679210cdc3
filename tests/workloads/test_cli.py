"""The command line in a process of its own, as a user runs it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer

from scalesim.workloads.cli import MODULES
from scalesim.workloads.servers import ROOT
from tests.support.serve import serve
from tests.workloads.fake_engine import FakeEngine
from tests.workloads.test_servers import gone

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


RUN = ("run", "--base-url", "http://127.0.0.1:1")


async def workloads(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "workloads", *arguments),
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


def test_each_command_is_in_the_module_that_is_named_and_none_is_left_out() -> None:
    added = {}
    for module in {path.stem for path in (ROOT / "workloads").glob("*_cli.py")}:
        part = typer.Typer()
        import_module(f"scalesim.workloads.{module}").add_to(part)
        added |= dict.fromkeys(typer.main.get_group(part).commands, module)
    assert added == MODULES


@pytest.mark.parametrize("command", ["replay", "study", "tables"])
async def test_who_plays_in_virtual_time_waits_for_nothing_that_draws_serves_or_asks(command: str) -> None:
    look = (
        f"import sys; from scalesim.workloads.cli import app; app(['{command}', '--help'], standalone_mode=False);"
        "print('loaded:', *({'matplotlib', 'openai', 'fastapi', 'uvicorn'} & set(sys.modules)))"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", look), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert b"Usage:" in output
    assert output.decode().splitlines()[-1] == "loaded:"


async def test_run_plays_a_scenario_against_a_url_and_prints_a_summary(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with serve(engine.app()) as url:
        small = ("--agents", "6", "--steps", "4", "--persona-tokens", "50")
        process = await workloads("run", "--base-url", f"{url}/v1/", *small, "--out-dir", str(tmp_path))
        output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    assert '"errors": 0' in text
    assert len((tmp_path / "calls.jsonl").read_text().splitlines()) == len(engine.asked) > 0
    assert {asked.body["model"] for asked in engine.asked} == {"fake"}


async def test_run_tells_what_it_is_asked_to_and_says_so(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with serve(engine.app()) as url:
        small = ("--agents", "8", "--steps", "4", "--persona-tokens", "50", "--option", "waves=1")
        told = ("--admin-url", url, "--told", "path")
        process = await workloads(
            *("run", "--base-url", url, "--scenario", "diffusion", *small, *told, "--out-dir", str(tmp_path))
        )
        output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    assert [path.split("/")[-1] for path, _ in engine.told][:4] == [
        "PUT diffusion",
        "graph",
        "ticks",
        "activations",
    ]
    assert '"told": "path"' in text
    assert '"waves": 1.0' in text
    assert f'"path": {len(engine.asked)}' in text


async def test_run_plays_a_recorded_trace_and_says_what_it_left_out(tmp_path: Path) -> None:
    recorded = tmp_path / "town.jsonl"
    header = {"schema": "scalesim.trace", "version": 1, "block_size": 64}
    call = {"timestamp": 0, "session_id": "a", "input_length": 64, "output_length": 2, "hash_ids": [1]}
    recorded.write_text("\n".join(map(json.dumps, (header, call, {"lost": 3}, {**call, "timestamp": 9}))))
    engine = FakeEngine()
    async with serve(engine.app()) as url:
        process = await workloads(
            *("run", "--base-url", url, "--scenario", "trace", "--trace", str(recorded), "--closed"),
            *("--speed", "10", "--admin-url", url, "--out-dir", str(tmp_path)),
        )
        output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    assert '"errors": 0' in text
    assert "1 line: a note of lost calls" in text
    assert [asked.headers["x-agent-id"] for asked in engine.asked] == ["a", "a"]
    assert [path for path, _ in engine.told] == ["PUT trace", "DELETE trace"]


async def test_a_trace_and_its_scenario_belong_together(tmp_path: Path) -> None:
    for words in (("--scenario", "trace"), ("--trace", "town.jsonl")):
        process = await workloads(*RUN, *words)
        output, _ = await process.communicate()
        assert process.returncode == 2
        assert "--scenario trace and --trace FILE" in " ".join(output.decode().replace("│", " ").split())


async def test_run_with_errors_exits_with_one(tmp_path: Path) -> None:
    async with serve(FakeEngine(failure="refuse").app()) as url:
        small = ("--agents", "6", "--steps", "4", "--persona-tokens", "50")
        process = await workloads("run", "--base-url", url, *small, "--out-dir", str(tmp_path))
        await process.communicate()
    assert process.returncode == 1


async def test_what_is_impossible_is_a_usage_error_that_says_why() -> None:
    process = await workloads("compare", "--agents", "0")
    output, _ = await process.communicate()
    assert process.returncode == 2
    assert b"agents is 0" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*RUN, "--scenario", "diffusion", "--option", "colour=1"), b"no option 'colour'"),
        ((*RUN, "--option", "colour"), b"'colour' is not NAME=VALUE"),
        ((*RUN, "--told", "path"), b"no admin REST to tell 'path' to"),
        ((*RUN, "--admin-url", "http://127.0.0.1:1", "--told", "path"), b"independent has no 'path'"),
        ((*RUN, "--admin-url", "http://127.0.0.1:1", "--noise", "sigma=-1"), b"sigma is -1"),
        ((*RUN, "--noise", "sigma=1"), b"only exact distances that are told can have errors"),
        (("compare", "--configs", "stock,spatial"), b"independent has no 'spatial' to tell"),
        (("compare", "--noise", "sigma=1"), b"noisy, which does not play"),
        (("compare", "--engine", "emulated", "--pace", "0"), b"pace is 0"),
        (("compare", "--pace", "2"), b"only an emulated engine has a --pace"),
        (("compare", "--engine", "emulated", "--model-path", "x"), b"an emulated engine loads no model"),
        (("bench-memory", "--link", "fast"), b"no link 'fast'"),
        (("bench-memory", "--configs", "on"), b"no configuration 'on'"),
        (("bench-memory", "--told", "spatial"), b"independent has no 'spatial' to tell"),
        (
            ("bench-memory", "--scenario", "diffusion", "--option", "radius=4"),
            b"diffusion has no option 'radius'",
        ),
        (("bench-memory", "--wrong-adapter", "nobody"), b"'nobody' is none of"),
        (("calibrate-link", "--link", "a:0:0:0"), b"bandwidth is 0"),
        (("compare", "--configs", "stock,hicache"), b"hicache: `bench-memory` plays that"),
        (("compare", "--configs", "stock,fast"), b"no configuration 'fast'"),
    ],
)
async def test_a_play_that_is_impossible_is_a_usage_error_too(
    arguments: tuple[str, ...], words: bytes
) -> None:
    process = await workloads(*arguments)
    output, _ = await process.communicate()
    assert process.returncode == 2
    assert words in output


async def test_sigterm_stops_what_compare_has_started(tmp_path: Path) -> None:
    # An engine that counts tokens, and then never comes up.
    python = tmp_path / "engine" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f'#!/bin/sh\nif [ "$1" = -c ]; then echo 5000; exit; fi\necho $$ > {tmp_path}/pid.new\nmv {tmp_path}/pid.new {tmp_path}/pid\nexec sleep 600\n'
    )
    python.chmod(0o755)
    pid_file = tmp_path / "pid"
    places = (
        "--engine-env",
        str(tmp_path / "engine"),
        "--model-path",
        str(tmp_path),
        "--out-dir",
        str(tmp_path / "out"),
    )
    process = await workloads("compare", "--configs", "stock", *places)
    async with asyncio.timeout(300):
        while not pid_file.exists():
            assert process.returncode is None
            await asyncio.sleep(0.01)  # the file system does not tell when it appears
        process.send_signal(signal.SIGTERM)
        output, _ = await process.communicate()
    assert process.returncode == 1
    assert b"stopped after" in output
    assert gone(int(pid_file.read_text()))

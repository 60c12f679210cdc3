"""The command `replay`, in processes of their own: what a user gets, and that it is the same each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalesim.workloads.servers import ROOT

pytestmark = pytest.mark.slow

SMALL = ("--agents", "60", "--steps", "4", "--persona-tokens", "300")


def replay(*arguments: str, hashing: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workloads", "replay", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "PYTHONHASHSEED": hashing},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_same_command_gives_the_same_file_to_the_byte_in_another_process(tmp_path: Path) -> None:
    options = (*SMALL, "--engines", "2", "--adapter-rank", "64", "--slots", "8", "--host-gb", "4")
    files = [tmp_path / name for name in ("one.json", "other.json")]
    for number, file in enumerate(files):
        assert replay(*options, "--json", str(file), hashing=str(number)).returncode == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    assert json.loads(files[0].read_text())["moved"]["ahead"] > 0


def test_another_seed_is_another_play(tmp_path: Path) -> None:
    files = [tmp_path / "1.json", tmp_path / "2.json"]
    for seed, file in enumerate(files, 1):
        replay(*SMALL, "--seed", str(seed), "--json", str(file))
    one, other = (json.loads(file.read_text()) for file in files)
    assert one["steps"] != other["steps"]


def test_it_prints_times_shares_hits_and_bytes() -> None:
    printed = replay(*SMALL).stdout
    for word in ("step", "TTFT", "decode", "prefill", "load", "wait", "hits", "moved", "for nothing"):
        assert word in printed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--gpu", "h1000"), "no gpu 'h1000'"),
        (("--model", "qwen2.5-32b", "--gpu", "a10g"), "take all of"),
        (("--tensor-parallel", "3"), "has to divide"),
        (("--policy", "best"), "no policy 'best'"),
        (("--told", "path"), "no 'path' to tell"),
        (("--plan-every", "0"), "has to be above 0"),
    ],
)
def test_what_is_impossible_was_a_mistake_in_the_command(arguments: tuple[str, ...], says: str) -> None:
    done = replay(*SMALL, *arguments)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.replace("│", " ").split())


def test_a_trace_is_played_and_a_bad_one_refused_with_its_line(tmp_path: Path) -> None:
    trace = tmp_path / "town.jsonl"
    header = {"schema": "scalesim.trace", "version": 1, "block_size": 64}
    call = {"timestamp": 0, "session_id": "a", "input_length": 64, "output_length": 2, "hash_ids": [1]}
    trace.write_text("\n".join(map(json.dumps, (header, call))) + "\n")
    played = replay("--trace", str(trace))
    assert played.returncode == 0
    assert "1 calls" in played.stdout
    trace.write_text(trace.read_text() + '{"timestamp": -1, "input_length": 64, "output_length": 2}\n')
    refused = replay("--trace", str(trace))
    assert refused.returncode == 2
    assert "line 3" in refused.stderr

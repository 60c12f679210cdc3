"""`deploy/gpu_acceptance` on machines without a GPU: it must say so, and what it makes of what a GPU owner's run would tell."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "deploy" / "gpu_acceptance"
ENGINE_PYTHON = ROOT / ".engine" / "bin" / "python"
GOOD_LOOK: dict[str, Any] = {
    "packages": {"sglang": "0.5.23"},
    "cuda": {"available": True, "runtime": "13.0", "devices": [{"name": "a GPU"}]},
    "hooks": {"problems": {"CACHE_HOOKS": [], "CPU_HOOKS": []}, "broken_facts": []},
}
GOOD_BENCH: dict[str, Any] = {
    "configs": {
        "all": {
            "errors": 0,
            "prefetch": {
                "by_kind": {"kv_prefix": {"issued": 9, "used": 8}, "lora": {"issued": 5, "used": 5}}
            },
        }
    },
    "texts": {"compared": 100, "equal": 100},
    "text_differences_explained": True,
}


def program() -> ModuleType:
    spec = spec_from_file_location("gpu_acceptance", PROGRAM / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def interpreter(folder: Path, told: Mapping[str, Any]) -> Path:
    """One that tells this when it is asked to look, and makes adapters without a word."""
    (folder / "told.json").write_text(json.dumps(told))
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$1" in *look.py) echo noise; cat {folder}/told.json;; *) mkdir -p "$4/ad-0";; esac\n'
    )
    python.chmod(0o755)
    return python


def model(folder: Path) -> Path:
    (folder / "config.json").write_text("{}")
    return folder


def arguments(folder: Path, told: Mapping[str, Any]) -> list[str]:
    python = interpreter(folder, told)
    return ["--engine-python", str(python), "--model", str(model(folder)), "--out", str(folder / "out")]


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "gpu-acceptance.json").read_text())
    return found


class Bench:
    """In place of the benchmark: writes these results and this log."""

    def __init__(self, results: Mapping[str, Any] | None, log: str = "", status: int = 0) -> None:
        self.results, self.log, self.status = results, log, status
        self.command: list[str] = []

    def __call__(self, command: Sequence[str]) -> int:
        self.command = list(command)
        out = Path(command[command.index("--out-dir") + 1])
        (out / "engine-extended-host-0.log").write_text(self.log)
        if self.results is not None:
            Path(command[command.index("--json") + 1]).write_text(json.dumps(self.results))
        return self.status


def changed(good: Mapping[str, Any], path: str, value: object) -> dict[str, Any]:
    found = deepcopy(dict(good))
    *steps, last = path.split(".")
    inner = found
    for step in steps:
        inner = inner[step]
    inner[last] = value
    return found


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (
            changed(GOOD_LOOK, "cuda", {"available": False, "reason": "torch finds no GPU"}),
            "no GPU: torch finds",
        ),
        (changed(GOOD_LOOK, "hooks", {"error": "not installed: sglang"}), "not installed: sglang"),
        (changed(GOOD_LOOK, "hooks.problems.CACHE_HOOKS", ["f takes (), not (self)"]), "f takes ()"),
        (changed(GOOD_LOOK, "hooks.broken_facts", ["there are 2 event slots"]), "2 event slots"),
    ],
)
def test_what_a_machine_lacks_is_told_and_nothing_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], told: dict[str, Any], words: str
) -> None:
    bench = Bench(GOOD_BENCH)
    assert program().main(arguments(tmp_path, told), bench) == 2
    assert words in capsys.readouterr().err
    assert not bench.command
    assert not report(tmp_path)["works"]
    assert words in " ".join(report(tmp_path)["problems"])


def test_an_interpreter_that_is_none_and_a_model_that_is_none_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = tmp_path / "nothing"
    told = ["--engine-python", str(nothing), "--model", str(nothing), "--out", str(tmp_path / "out")]
    assert program().main(told, Bench(None)) == 2
    error = capsys.readouterr().err
    assert "nothing could not be asked" in error
    assert "nothing is not the folder of a model" in error


def test_hooks_that_sleep_where_there_is_a_gpu_stop_nothing(tmp_path: Path) -> None:
    told = changed(GOOD_LOOK, "hooks.problems.CPU_HOOKS", ["attention is missing"])
    assert program().main(arguments(tmp_path, told), Bench(GOOD_BENCH)) == 0


def test_one_file_holds_all_that_is_to_be_sent_back(tmp_path: Path) -> None:
    bench = Bench(GOOD_BENCH, log="noise\nScaleSim's meter is on\n")
    assert program().main([*arguments(tmp_path, GOOD_LOOK), "--agents", "12"], bench) == 0
    found = report(tmp_path)
    assert found["works"]
    assert found["engine"] == GOOD_LOOK
    assert found["bench"] == GOOD_BENCH
    assert found["logs"] == {"engine-extended-host-0.log": ["ScaleSim's meter is on"]}
    assert found["command"] == bench.command
    assert bench.command[bench.command.index("--device") + 1] == "cuda"
    assert bench.command[bench.command.index("--link") + 1] == "off"
    assert bench.command[bench.command.index("--agents") + 1] == "12"


@pytest.mark.parametrize(
    ("bench", "words"),
    [
        (Bench(None, status=1), "status 1 and wrote no results"),
        (Bench(GOOD_BENCH, status=1), "status 1"),
        (Bench(GOOD_BENCH, log="CUDA error: an illegal memory access"), "CUDA error"),
        (Bench(GOOD_BENCH, log="ScaleSim failed between two steps"), "failed between two steps"),
        (Bench(changed(GOOD_BENCH, "configs.all.errors", 2)), "all: 2 calls failed"),
        (Bench(changed(GOOD_BENCH, "text_differences_explained", False)), "answers differ"),
        (Bench(changed(GOOD_BENCH, "texts.compared", 0)), "no answers were compared"),
        (
            Bench(changed(GOOD_BENCH, "configs.all.prefetch.by_kind.lora.issued", 0)),
            "nothing of kind lora was loaded",
        ),
        (
            Bench(changed(GOOD_BENCH, "configs.all.prefetch.by_kind.kv_prefix.used", 0)),
            "kv_prefix that was loaded ahead was used",
        ),
    ],
)
def test_what_was_played_and_is_not_as_it_should_be_is_told(tmp_path: Path, bench: Bench, words: str) -> None:
    assert program().main(arguments(tmp_path, GOOD_LOOK), bench) == 1
    assert not report(tmp_path)["works"]
    assert any(words in problem for problem in report(tmp_path)["problems"])


def test_what_an_earlier_run_left_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    told = arguments(tmp_path, GOOD_LOOK)
    program().main(told, Bench(GOOD_BENCH))
    assert program().main(told, Bench(None, status=1)) == 1


@pytest.mark.slow
def test_without_a_gpu_the_program_ends_with_2_and_says_why(tmp_path: Path) -> None:
    # This interpreter has neither torch nor SGLang.
    told = ["--engine-python", sys.executable, "--model", str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *told], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 2, done.stderr
    assert "no GPU: torch cannot be imported" in done.stderr
    assert "not installed: sglang" in done.stderr


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="it would be played")
def test_a_real_engine_without_a_gpu_lacks_the_gpu_alone(tmp_path: Path) -> None:
    told = ["--engine-python", str(ENGINE_PYTHON), "--model", str(ROOT / ".models" / "random-256x8")]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *told, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 2, done.stderr
    found = report(tmp_path)
    assert len(found["problems"]) == 1
    assert found["problems"][0].startswith("no GPU: ")
    assert not any(found["engine"]["hooks"]["problems"].values())
    assert found["engine"]["hooks"]["wrapped"]["ADAPTER_HOOKS"]

"""`python deploy/gpu_acceptance`: does ScaleSim's memory control work on this GPU? One JSON file to send back.

Looks at the engine's environment first, then plays the memory benchmark on the GPU. Exit codes: 0 it works; 1 it was
played, and something is not as it should be; 2 it cannot be played here, and the message says why.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOOK = Path(__file__).resolve().parent / "look.py"
SCHEMA = 1
WORKS, PROBLEM, NOT_HERE = 0, 1, 2
CONFIGURATIONS = ("hicache", "stock", "best", "order", "prefetch", "all")
CPU_GROUPS = frozenset({"CPU_HOOKS", "LINK_HOOKS"})
"""Of hooks that sleep where there is a GPU: what is wrong with them is told, and stops nothing."""
LOOK_S, PROBE_S = 300.0, 300.0
MAX_LINES = 40
SIGNS = ("ScaleSim", "Traceback", "CUDA error", "AssertionError", "illegal memory access")
"""A line of an engine's log with one of them is kept."""
FAILURES = (
    "ScaleSim failed",
    "ScaleSim could not",
    "ScaleSim stays out",
    "Traceback",
    "CUDA error",
    "illegal memory access",
)
"""And with one of these it is a failure."""


@dataclass(frozen=True, slots=True)
class Wish:
    engine_python: Path
    model: Path
    agents: int
    steps: int
    seed: int
    out: Path


def wish(argv: Sequence[str] | None) -> Wish:
    parser = argparse.ArgumentParser(
        prog="gpu_acceptance", description="Plays the memory benchmark on a GPU; one JSON file to send back."
    )
    parser.add_argument("--engine-python", type=Path, required=True, help="where sglang is installed")
    parser.add_argument("--model", type=Path, required=True, help="folder of a chat model as Llama or Qwen")
    parser.add_argument("--agents", type=int, default=24, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=12, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "gpu-acceptance", help="a folder")
    return Wish(**vars(parser.parse_args(argv)))


def look(engine_python: Path) -> dict[str, Any]:
    """What the engine's environment says of itself; `error` where it cannot even be asked."""
    try:
        done = subprocess.run(
            [str(engine_python), str(LOOK)], capture_output=True, text=True, timeout=LOOK_S, check=True
        )
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as exc:
        words = (getattr(exc, "stderr", None) or "").strip()
        return {"error": f"{engine_python} could not be asked: {words or exc}"}
    return told


def refusals(told: Mapping[str, Any]) -> list[str]:
    """Why the benchmark cannot be played there, one sentence each."""
    if "error" in told:
        return [told["error"]]
    found = []
    if not told["cuda"]["available"]:
        found.append(f"no GPU: {told['cuda']['reason']}")
    hooks = told["hooks"]
    if "error" in hooks:
        return [*found, f"{hooks['error']}; docs/gpu.md says how to install both"]
    wrong = [
        one for group, problems in hooks["problems"].items() if group not in CPU_GROUPS for one in problems
    ]
    return [*found, *dict.fromkeys(wrong), *hooks["broken_facts"]]


def probe(asked: Wish) -> str | None:
    """Makes one adapter of the model. Why that failed, if it did."""
    command = [
        *(str(asked.engine_python), "-m", "scalesim_sglang.adapter_maker", str(asked.model)),
        *(str(asked.out / "probe"), "--count", "1"),
    ]
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=PROBE_S, check=True)
    except (OSError, subprocess.SubprocessError) as exc:
        return f"no adapter can be made for {asked.model}: {getattr(exc, 'stderr', None) or exc}".strip()
    return None


def bench_command(asked: Wish, out: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "workloads", "bench-memory", "--device", "cuda", "--link", "off"),
        *("--engine-env", str(asked.engine_python.absolute()), "--model-path", str(asked.model.absolute())),
        *("--agents", str(asked.agents), "--steps", str(asked.steps), "--seed", str(asked.seed)),
        # Two side by side is the least, and all of them share one GPU.
        *("--repeats", "1", "--max-engines", "2", "--configs", ",".join(CONFIGURATIONS)),
        *("--json", str(out / "bench-memory.json"), "--out-dir", str(out)),
    ]


def play(command: Sequence[str]) -> int:
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def lines_of_logs(folder: Path) -> dict[str, list[str]]:
    """The telling lines of each log, the last ones if there are many."""
    found = {}
    for log in sorted(folder.glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()
        found[log.name] = [line for line in lines if any(sign in line for sign in SIGNS)][-MAX_LINES:]
    return found


def shortcomings(
    status: int, bench: Mapping[str, Any] | None, logs: Mapping[str, Sequence[str]]
) -> list[str]:
    """What was played and is not as it should be, one sentence each."""
    if bench is None:
        return [f"the benchmark ended with status {status} and wrote no results"]
    found = []
    for name, result in bench["configs"].items():
        if result["errors"]:
            found.append(f"{name}: {result['errors']} calls failed")
    if bench["texts"]["compared"] == 0:
        found.append("no answers were compared")
    if not bench["text_differences_explained"]:
        found.append("answers differ for no reason that is known")
    for kind in ("kv_prefix", "lora"):
        moved = bench["configs"]["all"]["prefetch"]["by_kind"].get(kind, {})
        if not moved.get("issued"):
            found.append(f"nothing of kind {kind} was loaded ahead of its call")
        elif not moved.get("used"):
            found.append(f"nothing of kind {kind} that was loaded ahead was used by a call")
    for name, lines in logs.items():
        found += [f"{name}: {line}" for line in lines if any(failure in line for failure in FAILURES)]
    if status and not found:
        found.append(f"the benchmark ended with status {status}")
    return found


def main(argv: Sequence[str] | None = None, play: Callable[[Sequence[str]], int] = play) -> int:
    asked = wish(argv)
    asked.out.mkdir(parents=True, exist_ok=True)
    print(f"looking at {asked.engine_python} ...", flush=True)
    told = look(asked.engine_python)
    problems = refusals(told)
    if not (asked.model / "config.json").is_file():
        problems.append(f"{asked.model} is not the folder of a model: there is no config.json")
    if not problems and (problem := probe(asked)):
        problems.append(problem)
    if problems:
        _write(asked, {"engine": told, "problems": problems})
        print("The acceptance cannot be run here:", *problems, sep="\n  ", file=sys.stderr)
        return NOT_HERE
    # A folder of its own for each run: logs and results of an earlier one must not be taken for this one's.
    out = Path(mkdtemp(prefix=f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-", dir=asked.out.absolute()))
    command = bench_command(asked, out)
    status = play(command)
    results = out / "bench-memory.json"
    bench = json.loads(results.read_text()) if results.is_file() else None
    logs = lines_of_logs(out)
    found = shortcomings(status, bench, logs)
    _write(
        asked,
        {
            "engine": told,
            "command": command,
            "status": status,
            "problems": found,
            "bench": bench,
            "logs": logs,
        },
    )
    if found:
        print("Not as it should be:", *found, sep="\n  ", file=sys.stderr)
    return PROBLEM if found else WORKS


def _write(asked: Wish, report: Mapping[str, Any]) -> None:
    path = asked.out / "gpu-acceptance.json"
    path.write_text(
        json.dumps({"schema": SCHEMA, "works": not report["problems"], **report}, indent=2) + "\n"
    )
    print(f"to send back: {path}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

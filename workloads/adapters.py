"""LoRA adapters on disk, made for a measurement: seeded, each with other weights than all the others."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from .links import Sizes
from .program import Impossible, Program, adapter_name
from .servers import Installation, ServerFailed

MAKE_S = 600.0
WEIGHTS = "adapter_model.safetensors"


def make_adapters(installation: Installation, out: Path, *, count: int, rank: int, seed: int) -> list[Path]:
    """In the engine's environment. Raises `ServerFailed`."""
    command = [
        *(str(installation.engine_python), "-m", "scalesim_sglang.adapter_maker"),
        *(str(installation.model), str(out), "--count", str(count), "--rank", str(rank), "--seed", str(seed)),
    ]
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=MAKE_S, check=True)
    except (OSError, subprocess.SubprocessError) as exc:
        words = getattr(exc, "stderr", None) or exc
        raise ServerFailed(f"the adapters could not be made in {out}: {words}") from exc
    made = [out / adapter_name(index) for index in range(count)]
    if missing := [path for path in made if not path.is_dir()]:
        raise ServerFailed(f"{missing[0]} was to be made, and is not there")
    return made


def paths_by_name(made: list[Path], *, count: int) -> dict[str, str]:
    """Where the adapter of each agent lies; the last of those made serves all that are left."""
    return {adapter_name(index): str(made[min(index, len(made) - 1)].absolute()) for index in range(count)}


def swapped(program: Program) -> Program:
    """The same, but that the first two agents that call have each other's adapter: what must never happen.

    Raises `Impossible` for a program in which fewer call.
    """
    calling = [
        agent
        for agent in program.agents
        if any(activation.agent == agent for step in program.steps for activation in step.activations)
    ]
    if len(calling) < 2:
        raise Impossible("to swap adapters, two agents have to call")
    first, second, *_ = calling
    own = program.adapters
    return program.with_adapters({**own, first: own[second], second: own[first]})


def sizes(installation: Installation, adapter: Path) -> Sizes:
    """Bytes of a token in the cache and of an adapter, as 32-bit numbers. Raises `ServerFailed`."""
    try:
        config = json.loads((installation.model / "config.json").read_text())
        width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        per_token = 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * width * 4
        return Sizes(int(per_token), (adapter / WEIGHTS).stat().st_size)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ServerFailed(f"the sizes of {installation.model} and {adapter} are unknown: {exc!r}") from exc

"""What machines, models and engines are like, read from data files beside this; figures that cannot be are refused."""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import MISSING, dataclass, fields
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

from scalesim.workloads.program import Impossible

_SHARES = frozenset({"memory_share", "compute_share", "bandwidth_share"})
_MAY_BE_ZERO = frozenset(
    {
        *("step_overhead_s", "load_overhead_s", "peer_latency_s", "control_s"),
        *("prefill_overhead_s", "adapter_overhead_s"),
        *(
            "host_tokens",
            "slots",
            "front_s",
            "after_s",
            "prefill_step_s",
            "prefill_call_s",
            "attended_token_s",
        ),
        *("adapted_token_s", "decode_call_s", "context_token_s", "adapted_call_s", "adapter_load_s"),
    }
)
_RANGES = {
    "memory_bytes": (1e8, 1e13),
    "memory_bytes_per_s": (1e8, 1e15),
    "flops": (1e9, 1e17),
    "link_bytes_per_s": (1e6, 1e13),
    "peer_bytes_per_s": (1e6, 1e14),
    "parameters": (1e5, 1e14),
    "weight_bytes": (1e5, 1e14),
    "step_overhead_s": (0, 10),
    "prefill_overhead_s": (0, 10),
    "load_overhead_s": (0, 10),
    "adapter_overhead_s": (0, 10),
    "peer_latency_s": (0, 1),
    "control_s": (0, 10),
    "report_every_s": (0.01, 60),
    "layers": (1, 10_000),
    "heads": (1, 100_000),
    "kv_heads": (1, 100_000),
    "head_dim": (1, 100_000),
    "hidden": (1, 1e7),
    "intermediate": (1, 1e8),
    "bytes_per_value": (1, 8),
    "chunk_tokens": (1, 1e8),
    "max_running": (1, 1e7),
    "block_tokens": (1, 1e6),
    "front_s": (0, 60),
    "after_s": (0, 60),
    "prefill_step_s": (0, 60),
    "prefill_call_s": (0, 60),
    "prefill_token_s": (0, 1),
    "attended_token_s": (0, 1),
    "adapted_token_s": (0, 1),
    "decode_step_s": (0, 60),
    "decode_call_s": (0, 60),
    "context_token_s": (0, 1),
    "adapted_call_s": (0, 60),
    "load_token_s": (0, 1),
    "adapter_load_s": (0, 600),
}
"""What no machine of our time is outside of: a figure in another unit is."""


UNSEEN_S = 1e-7
"""Of a measured engine, what has to be above zero and was not seen to take anything."""
LEAST_WEIGHT_BYTES, MOST_WEIGHT_BYTES = 0.1, 8.5
"""Of a parameter: less than a bit, and more than double precision."""


@dataclass(frozen=True, slots=True)
class Gpu:
    name: str
    memory_bytes: float
    memory_bytes_per_s: float
    flops: float
    """In 16 bits, without sparsity."""
    link_bytes_per_s: float
    """From host memory, in one direction."""
    peer_bytes_per_s: float
    """To the other devices of an engine, in one direction."""


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    parameters: float
    weight_bytes: float
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    intermediate: int
    bytes_per_value: int

    @property
    def bytes_per_token(self) -> int:
        """Of a prefix: keys and values of all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.bytes_per_value

    def adapter_bytes(self, rank: int) -> int:
        """Of a LoRA adapter on all linear layers: two thin matrices for each."""
        attention = self.heads * self.head_dim
        keys = self.kv_heads * self.head_dim
        sides = (
            2 * (self.hidden + attention) + 2 * (self.hidden + keys) + 3 * (self.hidden + self.intermediate)
        )
        return rank * sides * self.layers * self.bytes_per_value


@dataclass(frozen=True, slots=True)
class Server:
    """How an engine goes about it, whatever the machine."""

    name: str
    memory_share: float
    chunk_tokens: int
    """Of prompts, computed in one step at most."""
    max_running: int
    block_tokens: int
    """Prefixes are shared in whole blocks."""
    compute_share: float
    bandwidth_share: float
    step_overhead_s: float
    load_overhead_s: float
    """Of each load over the link."""
    peer_latency_s: float
    report_every_s: float
    control_s: float
    prefill_overhead_s: float = 0.0
    """Of a step that computes prompts, beside that of every step: such steps run without CUDA graphs."""
    adapter_overhead_s: float = 0.0
    """Of each load of an adapter over the link, beside that of every load."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An engine as `calibrate` found it, whatever it is and runs on: in place of a device, a model and a server."""

    name: str
    source: str
    """Where the figures are from: command, commit, machine, engine."""
    capacity_tokens: int
    """Of its prefix cache."""
    host_tokens: int
    """Of the copies in host memory; 0: none."""
    slots: int
    """Of adapters; 0: none."""
    chunk_tokens: int
    max_running: int
    block_tokens: int
    front_s: float
    """From a call's leaving the client until it stands in the engine's queue, and the way back of its first token."""
    after_s: float
    """From its last token until its client knows that it has ended."""
    prefill_step_s: float
    prefill_call_s: float
    """Of each prompt in a step."""
    prefill_token_s: float
    attended_token_s: float
    """Of each pair of a token that is computed and one before it."""
    adapted_token_s: float
    """More, of each token that is computed with an adapter."""
    decode_step_s: float
    decode_call_s: float
    context_token_s: float
    """Of each token that the calls hold."""
    adapted_call_s: float
    """More, of each call with an adapter."""
    load_overhead_s: float
    """Of each prefix that comes back from host memory..."""
    load_token_s: float
    """... and of each token of it."""
    load_parts: int
    """In which it comes, layer by layer: each is computed with while the next ones are on their way."""
    adapter_load_s: float
    report_every_s: float
    control_s: float


Profile = TypeVar("Profile", Gpu, Model, Server, Measured)


def names(kind: str) -> list[str]:
    """Of profiles of that kind: `gpu`, `model` or `engine`."""
    found = (file.name for file in _folder().iterdir())
    return sorted(
        name.removeprefix(f"{kind}-").removesuffix(".toml")
        for name in found
        if name.startswith(f"{kind}-") and name.endswith(".toml")
    )


def gpu(name: str) -> Gpu:
    """Raises `Impossible`, as all of these do."""
    return _read(Gpu, "gpu", name)


def model(name: str) -> Model:
    return _read(Model, "model", name)


def server(name: str = "sglang") -> Server:
    return _read(Server, "engine", name)


def measured(path: str) -> Measured:
    """From a file, as `written` makes them."""
    try:
        return parsed(Measured, Path(path).read_text(), path)
    except (OSError, UnicodeDecodeError) as exc:
        raise Impossible(f"{path} cannot be read: {exc}") from exc


def written(profile: Measured) -> str:
    """As `measured` reads it."""
    lines = []
    for field in fields(profile):
        value = getattr(profile, field.name)
        # As TOML writes strings, which is as JSON does.
        lines.append(f"{field.name} = {json.dumps(value) if isinstance(value, str) else repr(value)}")
    return "\n".join(lines) + "\n"


def _read(kind: type[Profile], word: str, name: str) -> Profile:
    if name not in names(word):
        raise Impossible(f"there is no {word} {name!r}; there is {', '.join(names(word))}")
    return parsed(kind, (_folder() / f"{word}-{name}.toml").read_text(), f"{word} {name}")


def _folder() -> Traversable:
    return resources.files(__package__) / "profiles"


def parsed(kind: type[Profile], text: str, whose: str) -> Profile:
    """Raises `Impossible` that names the file and the figure."""
    try:
        figures = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise Impossible(f"{whose}: {exc}") from exc
    known = {field.name: str(field.type) for field in fields(kind)}
    usual = {field.name for field in fields(kind) if field.default is not MISSING}
    if unknown := sorted(figures.keys() - known.keys()):
        raise Impossible(f"{whose} has {', '.join(unknown)}, which nobody knows")
    if missing := sorted(known.keys() - figures.keys() - usual):
        raise Impossible(f"{whose} lacks {', '.join(missing)}")
    checked: dict[str, Any] = {
        name: _checked(whose, name, known[name], figures[name]) for name in known if name in figures
    }
    made = kind(**checked)
    if isinstance(made, Model):
        _check_model(made, whose)
    return made


def _check_model(model: Model, whose: str) -> None:
    """What no single figure shows."""
    if model.heads % model.kv_heads:
        raise Impossible(f"{whose}: kv_heads is {model.kv_heads}, and has to divide heads, {model.heads}")
    share = model.weight_bytes / model.parameters
    if not LEAST_WEIGHT_BYTES <= share <= MOST_WEIGHT_BYTES:
        raise Impossible(
            f"{whose}: weight_bytes is {model.weight_bytes:g}, {share:.2g} for each of the parameters; it has to be from"
            f" {LEAST_WEIGHT_BYTES:g} to {MOST_WEIGHT_BYTES:g}"
        )


def _checked(whose: str, name: str, type_name: str, value: object) -> str | float | int:
    if type_name == "str":
        if not isinstance(value, str) or not value:
            raise Impossible(f"{whose}: {name} is {value!r}, and has to be a name")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Impossible(f"{whose}: {name} is {value!r}, and has to be a number")
    if value < 0 or (value == 0 and name not in _MAY_BE_ZERO):
        raise Impossible(f"{whose}: {name} is {value!r}, and has to be above 0")
    if name in _SHARES and value > 1:
        raise Impossible(f"{whose}: {name} is {value!r}, and has to be at most 1: it is a share")
    least, most = _RANGES.get(name, (0, math.inf))
    if not least <= value <= most:
        raise Impossible(f"{whose}: {name} is {value!r}, and has to be from {least:g} to {most:g}")
    if type_name == "int":
        if value != int(value):
            raise Impossible(f"{whose}: {name} is {value!r}, and has to be a whole number")
        return int(value)
    return float(value)

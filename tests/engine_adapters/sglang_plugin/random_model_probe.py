"""How a random model answers; run by the engine's interpreter, prints JSON: `random_model_probe.py MODEL CASES TOKENS`.

Each case is a persona of so many tokens and the same question. Per case: the greedy answer, the gaps between its two
best candidates, and the answer when the cached keys and values of the persona are disturbed by 1e-5, far more than
another order of additions does.
"""

from __future__ import annotations

import json
import sys
from random import Random
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

ANSWER_TOKENS = 32
DISTURBANCE = 1e-5
WORDS = "the baker walked to market and met an old friend near bridge they talked about bread rain music work"


def extend(model: Any, cache: DynamicCache, tokens: list[int]) -> torch.Tensor:
    """The logits after these tokens."""
    with torch.no_grad():
        answer = model(
            input_ids=torch.tensor([tokens]), past_key_values=cache, use_cache=True, logits_to_keep=1
        )
    return torch.as_tensor(answer.logits[0, -1])


def greedy(model: Any, cache: DynamicCache, logits: torch.Tensor) -> tuple[list[int], list[float]]:
    tokens: list[int] = []
    gaps: list[float] = []
    for _ in range(ANSWER_TOKENS):
        best, second = logits.topk(2).values.tolist()
        gaps.append(best - second)
        tokens.append(int(logits.argmax()))
        logits = extend(model, cache, tokens[-1:])
    return tokens, gaps


def case(model: Any, tokenizer: Any, number: int, persona_tokens: int) -> dict[str, object]:
    words = WORDS.split()
    random, noise = Random(number), torch.Generator().manual_seed(number)
    text = " ".join(random.choice(words) for _ in range(2 * persona_tokens))
    persona = tokenizer.encode("<|im_start|>system\n" + text)[:persona_tokens]
    question = tokenizer.encode(
        "<|im_end|>\n<|im_start|>user\nWhat do you do next?<|im_end|>\n<|im_start|>assistant\n"
    )
    cache, disturbed = DynamicCache(), DynamicCache()
    extend(model, cache, persona)
    for index, layer in enumerate(cache.layers):
        keys, values = (
            kept + DISTURBANCE * torch.randn(kept.shape, generator=noise)
            for kept in (layer.keys, layer.values)
        )
        disturbed.update(keys, values, index)
    answer, gaps = greedy(model, cache, extend(model, cache, question))
    noisy, _ = greedy(model, disturbed, extend(model, disturbed, question))
    return {"answer": answer, "gaps": gaps, "disturbed": noisy, "text": tokenizer.decode(answer)}


def main() -> None:
    torch.set_num_threads(1)  # shared with the tests that run beside this
    path, cases, persona_tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32),
        AutoTokenizer.from_pretrained(path),
    )
    print(json.dumps([case(model, tokenizer, number, persona_tokens) for number in range(cases)]))


if __name__ == "__main__":
    main()

"""Makes of the random model one whose answers come to an end: FROM TO. Runs in the engine's environment.

Clients send no max_tokens, and the random model goes on for thousands of tokens: of 4,096 one ends an answer and one a string
in JSON. Here all tokens have one direction in common, along which the head puts those that end something before others.
"""

import math
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

SHARES = {"<|im_end|>": 0.04, '"': 0.08, "]": 0.04, "}": 0.04}
"""Of what is said when everything may be said."""
STRENGTH = 3.0
"""In the common direction; as much as all layers put into any other."""

source, target = Path(sys.argv[1]), Path(sys.argv[2])
shutil.copytree(source, target)
tokenizer = Tokenizer.from_file(str(target / "tokenizer.json"))
weights = load_file(target / "model.safetensors")
head, embedding = weights["lm_head.weight"], weights["model.embed_tokens.weight"]
embedding[:, 0] = STRENGTH
head[:, 0] = 0.0
save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
model = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32)
prompt = torch.tensor([tokenizer.encode("Who are you, and what do you do next?").ids])
with torch.no_grad():
    along = float(model.model(prompt).last_hidden_state[0, :, 0].mean())
for token, share in SHARES.items():
    head[tokenizer.token_to_id(token), 0] = math.log(share * head.shape[0]) / along
save_file(weights, target / "model.safetensors", metadata={"format": "pt"})

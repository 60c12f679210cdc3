"""A LoRA adapter with random weights for a model in GGUF, large enough that it answers differently.

Run by the interpreter of .engines/llama.cpp: `python llama_cpp_adapter.py MODEL.gguf OUT.gguf SEED`.
"""

import sys

import gguf
import numpy as np

RANK = 4
TARGETS = ("attn_q.weight", "attn_v.weight")


def main() -> None:
    model, out, seed = sys.argv[1:]
    draw = np.random.default_rng(int(seed))
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    for tensor in gguf.GGUFReader(model).tensors:
        if tensor.name.endswith(TARGETS):
            inward, outward = map(int, tensor.shape)  # GGUF says them the other way round
            a = draw.normal(0, 0.05, (RANK, inward)).astype(np.float32)
            b = draw.normal(0, 0.5, (outward, RANK)).astype(np.float32)
            writer.add_tensor(f"{tensor.name}.lora_a", a)
            writer.add_tensor(f"{tensor.name}.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()

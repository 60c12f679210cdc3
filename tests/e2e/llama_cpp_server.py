"""llama.cpp's own server out of the package `xllamacpp`, with the flags that docs/engines.md gives for `llama-server`.

Run by the interpreter of .engines/llama.cpp: `python llama_cpp_server.py MODEL.gguf PORT SLOTS FOLDER [ADAPTER.gguf ...]`.
"""

import sys
import threading

import xllamacpp

CONTEXT_TOKENS = 512


def main() -> None:
    model, port, slots, folder, *adapters = sys.argv[1:]
    flags = xllamacpp.CommonParams()
    flags.model.path = model
    flags.port = int(port)
    flags.n_parallel = int(slots)
    flags.n_ctx = int(slots) * CONTEXT_TOKENS
    flags.kv_unified = False
    flags.cache_ram_mib = 0
    flags.cache_idle_slots = False
    flags.slot_save_path = f"{folder}/"
    flags.endpoint_slots = True
    flags.endpoint_metrics = True
    flags.warmup = False
    flags.fit_params = False
    flags.cpuparams.n_threads = flags.cpuparams_batch.n_threads = 1
    flags.lora_init_without_apply = True
    flags.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in adapters]
    server = xllamacpp.Server(flags)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()

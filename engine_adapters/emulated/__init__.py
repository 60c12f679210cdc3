"""A small engine with real HTTP, the prefix cache of SGLang and the control routes of ScaleSim, and no model.

For tests and trials without a GPU: its answers are nonsense words, but they depend on every token of the prompt, its
cache hits and evicts as SGLang's does (page size 1, no host tier, no chunked prefill), and its delays are arguments.

    EmulatedEngine(capacity_tokens=20_000).app        a pure ASGI application
    python -m scalesim.engine_adapters.emulated       the same behind uvicorn

- `tokens`     text to ids and back, the chat template
- `cache`      the radix tree: matches, locks, owners, eviction
- `scheduler`  queue, prefill and decode steps; sync, with no clock of its own
- `asks`       what a request body asks for
- `answers`    the JSON of answers
- `engine`     the ASGI application
"""

from .engine import EmulatedEngine

__all__ = ["EmulatedEngine"]

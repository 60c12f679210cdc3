"""A small engine with real HTTP, the prefix cache of SGLang and the control routes of ScaleSim, and no model.

For tests and trials without a GPU: its answers are nonsense words, but they depend on every token of the prompt and on
the adapter, its cache hits and evicts as SGLang's does (page size 1, no chunked prefill), and its delays are arguments.
Host memory, adapter slots and a link that takes time are there if their sizes are given.

    EmulatedEngine(capacity_tokens=20_000).app        a pure ASGI application
    python -m scalesim.engine_adapters.emulated       the same behind uvicorn

- `tokens`     text to ids and back, the chat template
- `cache`      the radix tree: matches, locks, owners, eviction; `nodes` are its nodes, `host` what is left of evicted ones
- `objects`    memory that is used as a whole: adapters in slots, further kinds
- `pools`      device memory for which kinds compete
- `memory`     all of it together: what a call needs, and bringing that when it begins
- `scheduler`  queue, prefill and decode steps; sync, with no clock of its own
- `adapters`   the LoRA adapters that are known
- `link`, `loads`, `prefixes`, `ahead`, `counts`  loads ahead of calls: slice by slice, behind what calls wait for, and counted
- `asks`, `answers`, `info`, `control`   what bodies ask for, and the JSON of answers
- `machine`    puts the parts together; `engine` is the ASGI application
"""

from .engine import EmulatedEngine

__all__ = ["EmulatedEngine"]

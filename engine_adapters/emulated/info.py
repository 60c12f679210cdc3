"""What an engine tells of itself in SGLang's words: models, server info, metrics."""

from __future__ import annotations

from typing import Any

from .adapters import Adapter
from .scheduler import Scheduler

Json = dict[str, Any]

VERSION = "0.5.23+emulated"


def models(name: str, created: int, capacity_tokens: int, adapters: list[Adapter]) -> Json:
    card = {"object": "model", "created": created, "owned_by": "sglang"}
    base = {**card, "id": name, "root": name, "parent": None, "max_model_len": capacity_tokens}
    others = [
        {**card, "id": one.name, "root": one.path, "parent": name, "max_model_len": None} for one in adapters
    ]
    return {"object": "list", "data": [base, *others]}


def server_info(name: str, boot_id: str, capacity_tokens: int, *, lora: bool, host_tier: bool) -> Json:
    return {
        "version": VERSION,
        "served_model_name": name,
        "max_total_num_tokens": capacity_tokens,
        "page_size": 1,
        "enable_lora": lora,
        "enable_hierarchical_cache": host_tier,
        # What tells one start from the next on a stock engine: two engines never have the same pair.
        "random_seed": int(boot_id[:7], 16),
        "startup_time": {"scheduler_e2e": int(boot_id[8:16], 16) / 1e9},
        "internal_states": [{"memory_usage": {"token_capacity": capacity_tokens}}],
        "kv_events": None,
    }


def metrics(name: str, capacity_tokens: int, scheduler: Scheduler) -> str:
    cache = scheduler.cache
    in_use = capacity_tokens - cache.available - cache.evictable
    gauges = {
        "num_running_reqs": len(scheduler.running),
        "num_queue_reqs": len(scheduler.waiting),
        "token_usage": in_use / capacity_tokens,
        "max_total_num_tokens": capacity_tokens,
        "kv_available_tokens": cache.available,
        "kv_evictable_tokens": cache.evictable,
        "kv_used_tokens": in_use,
    }
    counters = {
        "prompt_tokens_total": scheduler.prompt_tokens,
        "cached_tokens_total": scheduler.cached_tokens,
        "generation_tokens_total": scheduler.output_tokens,
        "evicted_tokens_total": cache.evicted_tokens,
    }
    lines = ["# TYPE scalesim:step_seconds_total counter"]
    lines += [
        f'scalesim:step_seconds_total{{kind="{kind}"}} {seconds}'
        for kind, seconds in scheduler.step_seconds.items()
    ]
    for kind, samples in (("gauge", gauges), ("counter", counters)):
        for sample, value in samples.items():
            lines.append(f"# TYPE sglang:{sample} {kind}")
            lines.append(f'sglang:{sample}{{model_name="{name}"}} {value}')
    return "\n".join(lines) + "\n"

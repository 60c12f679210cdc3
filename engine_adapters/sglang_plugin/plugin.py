"""Entry point `scalesim`: registers the cache backend and the hooks, each in the process where it belongs.

On a release of SGLang that we do not know, or whose hooked names look different, nothing is hooked: the backend's
name then builds SGLang's own cache, a warning says so, and the capabilities route answers why.
"""

from __future__ import annotations

import logging
import multiprocessing
from typing import Any

from . import compat, wire

logger = logging.getLogger(__name__)


def register() -> None:
    from sglang.srt.mem_cache.registry import default_radix_cache_factory, register_radix_cache_backend

    in_http_process = multiprocessing.parent_process() is None
    problems = compat.problems(compat.SCHEDULER_HOOKS)
    if in_http_process:
        problems = list(dict.fromkeys(problems + compat.problems(compat.CONTROL_HOOKS)))
    problems = problems or compat.broken_facts()
    if problems:
        logger.warning(
            "ScaleSim stays out: SGLang runs with its own prefix cache and evicts by recency. %s",
            "; ".join(problems),
        )
        register_radix_cache_backend(wire.BACKEND, default_radix_cache_factory)
    else:
        from . import messages

        # In every process: one that only hands messages on (data-parallel controller) dies of a type it does not know.
        messages.teach_sglang()
        register_radix_cache_backend(wire.BACKEND, _build)
    if in_http_process:
        _hook_http(problems)
    elif not problems:
        _hook_scheduler()


def _build(ctx: Any) -> Any:
    from . import cache

    return cache.build(ctx)


def _hook_scheduler() -> None:
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    from . import adapters, scheduler, steps

    scheduler_hooks = {
        "init_request_dispatcher": (scheduler.after_init_request_dispatcher, HookType.AFTER),
        "get_next_batch_to_run": (steps.after_get_next_batch_to_run, HookType.AFTER),
        "_add_request_to_queue": (steps.after_add_request_to_queue, HookType.AFTER),
        "maybe_sleep_on_idle": (steps.around_maybe_sleep_on_idle, HookType.AROUND),
        "can_schedule_lora_req": (steps.around_can_schedule_lora_req, HookType.AROUND),
    }
    for name, (hook, when) in scheduler_hooks.items():
        HookRegistry.register(f"sglang.srt.managers.scheduler.Scheduler.{name}", hook, when)
    HookRegistry.register(
        "sglang.srt.managers.schedule_policy.SchedulePolicy.calc_priority",
        steps.after_calc_priority,
        HookType.AFTER,
    )
    HookRegistry.register(
        "sglang.srt.lora.lora_manager.LoRAManager.fetch_new_loras",
        adapters.around_fetch_new_loras,
        HookType.AROUND,
    )


def _hook_http(problems: list[str]) -> None:
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    def before_http_server(*_args: Any, **_kwargs: Any) -> None:
        from . import routes

        routes.add_routes(problems)

    def after_init_communicators(result: None, manager: Any) -> None:
        from . import routes

        routes.after_init_communicators(result, manager)

    HookRegistry.register(
        "sglang.srt.entrypoints.http_server._setup_and_run_http_server", before_http_server, HookType.BEFORE
    )
    if not problems:
        HookRegistry.register(
            "sglang.srt.managers.tokenizer_manager.TokenizerManager.init_communicators",
            after_init_communicators,
            HookType.AFTER,
        )

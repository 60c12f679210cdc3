"""The scheduler's side of the control routes: one handler, which answers everything and raises nothing."""

from __future__ import annotations

import logging
from typing import Any

from sglang.srt.mem_cache.base_prefix_cache import EvictParams
from sglang.srt.runtime_context import get_lora
from sglang.utils import TypeBasedDispatcher

from . import wire
from .compat import engine_version
from .messages import ScaleSimAnswer, ScaleSimRequest
from .steps import Steps, steps_of

logger = logging.getLogger(__name__)


def after_init_request_dispatcher(_result: None, scheduler: Any) -> None:
    """Hook AFTER `Scheduler.init_request_dispatcher`."""
    scheduler._request_dispatcher += TypeBasedDispatcher(
        [(ScaleSimRequest, lambda request: _answer(scheduler, request))]
    )


def _answer(scheduler: Any, request: ScaleSimRequest) -> ScaleSimAnswer | None:
    """None for what is answered later: a load, once its memory is usable."""
    try:
        answer = _handle(scheduler, request)
    except wire.FenceLost as exc:
        token, sequence = exc.highest
        answer = 409, _error("fence_lost", str(exc), token=token, sequence=sequence)
    except Exception as exc:
        logger.exception("ScaleSim control call %s failed", request.name)
        answer = 500, _error("internal", repr(exc))
    if answer is None:
        return None
    status, payload = answer
    return ScaleSimAnswer(rid=request.rid, status=status, payload=payload)


def _error(kind: str, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message, **more}}


def _handle(scheduler: Any, request: ScaleSimRequest) -> tuple[int, dict[str, Any]] | None:
    steps = steps_of(scheduler)
    if request.name == "capabilities":
        return 200, _capabilities(scheduler.tree_cache, steps)
    if steps is None:
        kind = type(scheduler.tree_cache).__name__
        return 503, _error("inactive", f"the prefix cache is {kind}, which takes no plan")
    cache = steps.cache
    match request.name:
        case "beat":
            return 200, {"in_force": cache.ledger.beat()}
        case "stats":
            return 200, {**cache.stats(), **steps.stats()}
        case "residency":
            return 200, cache.residency(request.payload.get("owner"))
    return _carry_out(steps, request)


def _capabilities(cache: Any, steps: Steps | None) -> dict[str, Any]:
    slots = None if steps is None else steps.slots
    return {
        "cache": {
            "class": type(cache).__name__,
            "active": steps is not None,
            "reason": ""
            if steps is not None
            else "SGLang's own cache is in use: the server was started without"
            " --radix-cache-backend scalesim, or with an option that rules it out (see its log)",
        },
        "engine": {"name": "sglang", "version": engine_version()},
        "features": ["abort"] if steps is None else steps.features(),
        "capacity_tokens": None if steps is None else steps.cache.capacity_tokens,
        "pin_budget_tokens": None if steps is None else steps.ledger.pin_budget,
        "adapter_slots": None if slots is None else slots.slots,
        "host_adapters": None if slots is None else get_lora().max_loaded_loras,
        "page_size": int(getattr(cache, "page_size", 1)),
    }


def _carry_out(steps: Steps, request: ScaleSimRequest) -> tuple[int, dict[str, Any]] | None:
    command = wire.Command.from_payload(request.payload)
    ledger, cache = steps.ledger, steps.cache
    ledger.admit(command.fence, ordered=command.name not in wire.UNORDERED)
    answer: dict[str, Any] = {"ok": True}
    match command.name:
        case "load":
            refused = steps.loads.ask(request, command.kind, command.key, command.distance)
            return (400, _error("bad_request", refused)) if refused else None
        case "stop":
            answer["was_loading"] = steps.loads.stop(command.kind, command.key)
        case "plan":
            ledger.set_plan(
                command.distances,
                command.adapters,
                command.pinned_adapters,
                command.no_host_copy,
                command.ready_first,
                command.by_recency,
            )
            answer["owners"] = len(command.distances)
        case "renew":
            ledger.renew()
        case "pin":
            ledger.pin(command.owners)
            answer["pins"] = len(ledger.pins)
        case "unpin":
            ledger.unpin(command.owners)
            answer["pins"] = len(ledger.pins)
        case "evict":
            if command.tokens:
                freed = cache.evict(EvictParams(num_tokens=command.tokens)).num_tokens_evicted
                answer["evicted_tokens"] = int(freed)
            else:
                answer["evicted_tokens"] = cache.evict_owners(frozenset(command.owners))
    answer["in_force"] = bool(ledger.plan_beats or ledger.pins)
    return 200, answer

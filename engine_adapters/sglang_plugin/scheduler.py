"""The scheduler's side of the control routes: one handler, which answers everything and raises nothing."""

from __future__ import annotations

import logging
from typing import Any

from sglang.srt.mem_cache.base_prefix_cache import EvictParams
from sglang.utils import TypeBasedDispatcher

from . import wire
from .cache import OwnedRadixCache
from .compat import engine_version
from .messages import ScaleSimAnswer, ScaleSimRequest

logger = logging.getLogger(__name__)


def after_init_request_dispatcher(_result: None, scheduler: Any) -> None:
    """Hook AFTER `Scheduler.init_request_dispatcher`."""
    scheduler._request_dispatcher += TypeBasedDispatcher(
        [(ScaleSimRequest, lambda request: _answer(scheduler, request))]
    )


def _answer(scheduler: Any, request: ScaleSimRequest) -> ScaleSimAnswer:
    try:
        status, payload = _handle(scheduler.tree_cache, request.name, request.payload)
    except wire.FenceLost as exc:
        token, sequence = exc.highest
        status, payload = 409, _error("fence_lost", str(exc), token=token, sequence=sequence)
    except Exception as exc:
        logger.exception("ScaleSim control call %s failed", request.name)
        status, payload = 500, _error("internal", repr(exc))
    return ScaleSimAnswer(rid=request.rid, status=status, payload=payload)


def _error(kind: str, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message, **more}}


def _handle(cache: Any, name: str, payload: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    owned = isinstance(cache, OwnedRadixCache)
    if name == "capabilities":
        return 200, {
            "cache": {
                "class": type(cache).__name__,
                "active": owned,
                "reason": ""
                if owned
                else "SGLang's own cache is in use: the server was started without"
                " --radix-cache-backend scalesim, or with an option that rules it out (see its log)",
            },
            "engine": {"name": "sglang", "version": engine_version()},
            "capacity_tokens": cache.capacity_tokens if owned else None,
            "pin_budget_tokens": cache.ledger.pin_budget if owned else None,
            "page_size": int(getattr(cache, "page_size", 1)),
        }
    if not owned:
        return 503, _error("inactive", f"the prefix cache is {type(cache).__name__}, which takes no plan")
    ledger = cache.ledger
    match name:
        case "beat":
            return 200, {"in_force": ledger.beat()}
        case "stats":
            return 200, cache.stats()
        case "residency":
            return 200, cache.residency(payload.get("owner"))
    command = wire.Command.from_payload(name, payload)
    ledger.admit(command.fence)
    answer: dict[str, Any] = {"ok": True}
    match command.name:
        case "plan":
            ledger.set_plan(command.distances)
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
                answer["evicted_tokens"] = int(
                    cache.evict(EvictParams(num_tokens=command.tokens)).num_tokens_evicted
                )
            else:
                answer["evicted_tokens"] = cache.evict_owners(frozenset(command.owners))
    answer["in_force"] = bool(ledger.plan_beats or ledger.pins)
    return 200, answer

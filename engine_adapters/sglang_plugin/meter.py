"""Entry point `scalesim_meter`: the scheduler's wall time by kind of step, and how often adapters are there, on /metrics.

`scalesim:step_seconds_total{kind="prefill"|"decode"|"load"|"other"}`: `load` is the time in which the scheduler fetched
adapters or prefixes from host memory, waited for them, or had calls that nothing but such a load kept from running; it is
taken out of the step it fell into. `scalesim:adapter_lookups_total{result="hit"|"loading"|"miss"}`: where the adapter of
each call was when the call came. Both need --enable-metrics. It changes nothing. With SGLang's overlap schedule, which a
GPU runs by default, a step's launch and the end of the step before it fall together, and waits happen on the GPU: the
kinds blur; without it, as on a CPU, they are exact.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any

from . import compat

logger = logging.getLogger(__name__)


def register() -> None:
    hooks = {**compat.METER_HOOKS, **compat.METER_LOAD_HOOKS, **compat.METER_QUEUE_HOOKS}
    problems = compat.problems(hooks)
    if problems:
        logger.warning("ScaleSim's meter stays off: %s", "; ".join(problems))
        return
    if multiprocessing.parent_process() is None:
        return
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    meter = _Meter()
    for name in compat.METER_HOOKS:
        HookRegistry.register(compat.hook_target(name), meter.timed, HookType.AROUND)
    for name in compat.METER_LOAD_HOOKS:
        HookRegistry.register(compat.hook_target(name), meter.loading, HookType.AROUND)
    planning, queueing = (compat.hook_target(name) for name in compat.METER_QUEUE_HOOKS)
    HookRegistry.register(planning, meter.planned, HookType.AROUND)
    HookRegistry.register(queueing, meter.came, HookType.AFTER)


class _Meter:
    def __init__(self) -> None:
        self._counters: dict[str, Any] = {}
        self._load_s = 0.0
        """In all; what grows meanwhile is taken out of a step."""
        self._in_load = False
        self._stalled_at: float | None = None

    def timed(
        self, original: Callable[..., Any], scheduler: Any, batch: Any, *args: Any, **kwargs: Any
    ) -> Any:
        mode = batch.forward_mode
        kind = "decode" if mode.is_decode() else "prefill" if mode.is_extend() else "other"
        began, load_s = time.perf_counter(), self._load_s
        try:
            return original(scheduler, batch, *args, **kwargs)
        finally:
            self._spent(kind, time.perf_counter() - began - (self._load_s - load_s))

    def loading(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._in_load:
            return original(*args, **kwargs)
        self._in_load = True
        began = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            self._in_load = False
            self._loaded(time.perf_counter() - began)

    def planned(self, original: Callable[..., Any], scheduler: Any, *args: Any, **kwargs: Any) -> Any:
        """With calls in the queue and none running, only an adapter on its way can keep them from running."""
        if self._stalled_at is not None:
            self._loaded(time.perf_counter() - self._stalled_at)
            self._stalled_at = None
        plan = original(scheduler, *args, **kwargs)
        if plan.batch_to_run is None and scheduler.waiting_queue and scheduler.enable_lora:
            self._stalled_at = time.perf_counter()
        return plan

    def came(self, _result: None, scheduler: Any, request: Any, *_args: Any, **_kwargs: Any) -> None:
        if not scheduler.enable_lora or request.lora_id is None:
            return
        if getattr(request, "scalesim_looked_up", False):
            return  # it was retracted and comes again
        request.scalesim_looked_up = True
        manager = scheduler.tp_worker.model_runner.lora_manager
        pending = manager.pending_lora_load_events.get(request.lora_id)
        there = request.lora_id in manager.memory_pool.uid_to_buffer_id
        result = "miss" if not there else "hit" if pending is None or pending.query() else "loading"
        self._count("adapter_lookups", "Where a call's adapter was when the call came", "result", result, 1)

    def _loaded(self, seconds: float) -> None:
        self._load_s += seconds
        self._spent("load", seconds)

    def _spent(self, kind: str, seconds: float) -> None:
        self._count("step_seconds", "Scheduler wall time by kind of step", "kind", kind, max(0.0, seconds))

    def _count(self, name: str, about: str, label: str, value: str, amount: float) -> None:
        if name not in self._counters:
            if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
                return  # the server runs without --enable-metrics
            # prometheus_client looks at the variable when it is imported, and SGLang sets it only after plugins load.
            from prometheus_client import Counter

            self._counters[name] = Counter(f"scalesim:{name}", about, [label])
        self._counters[name].labels(value).inc(amount)

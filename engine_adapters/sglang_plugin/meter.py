"""Entry point `scalesim_meter`: the scheduler's wall time by kind of step, as a Prometheus counter.

`scalesim:step_seconds_total{kind="prefill"|"decode"|"other"}` on SGLang's /metrics (needs --enable-metrics). It changes
nothing. With SGLang's overlap schedule, which a GPU runs by default, a step's launch and the end of the step before it
fall together, and the kinds blur; without it, as on a CPU, they are exact.
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
    problems = compat.problems(compat.METER_HOOKS)
    if problems:
        logger.warning("ScaleSim's meter stays off: %s", "; ".join(problems))
        return
    if multiprocessing.parent_process() is None:
        return
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    meter = _Meter()
    for name in compat.METER_HOOKS:
        HookRegistry.register(compat.hook_target(name), meter.timed, HookType.AROUND)


class _Meter:
    def __init__(self) -> None:
        self._counter: Any = None

    def timed(
        self, original: Callable[..., Any], scheduler: Any, batch: Any, *args: Any, **kwargs: Any
    ) -> Any:
        mode = batch.forward_mode
        kind = "decode" if mode.is_decode() else "prefill" if mode.is_extend() else "other"
        began = time.perf_counter()
        try:
            return original(scheduler, batch, *args, **kwargs)
        finally:
            self._count(kind, time.perf_counter() - began)

    def _count(self, kind: str, seconds: float) -> None:
        if self._counter is None:
            if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
                return  # the server runs without --enable-metrics
            # prometheus_client looks at the variable when it is imported, and SGLang sets it only after plugins load.
            from prometheus_client import Counter

            self._counter = Counter("scalesim:step_seconds", "Scheduler wall time by kind of step", ["kind"])
        self._counter.labels(kind).inc(seconds)

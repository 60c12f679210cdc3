"""Hooks into the scheduler's loop: what ScaleSim does between two of its steps. One `Steps` per scheduler.

Nothing in here may raise into the loop: that would end the server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from . import adapters, prefixes, wire
from .adapters import AdapterSlots
from .cache import OwnedRadixCache
from .loads import Loads, Mover
from .messages import ScaleSimAnswer

logger = logging.getLogger(__name__)

MOST_OVERTAKEN = 8
"""A waiting call may be overtaken so often by calls whose memory is ready; then its turn has come."""
_STEPS = "scalesim_steps"


class Steps:
    """What is done ahead of calls on one scheduler. `slots` is None without LoRA."""

    def __init__(self, scheduler: Any, cache: OwnedRadixCache) -> None:
        self._scheduler = scheduler
        self.cache = cache
        self.ledger = cache.ledger
        self.slots = AdapterSlots(scheduler, cache.ledger) if scheduler.enable_lora else None
        cache.prefixes.reserved = self._reserved_tokens
        movers: dict[str, Mover] = {}
        if cache.prefixes.has_host_tier:
            movers[prefixes.KIND] = cache.prefixes
        if self.slots is not None and self._can_load_adapters:
            movers[adapters.KIND] = self.slots
        self.loads = Loads(movers, self._answer)
        self.error = ""
        """What failed last between two steps; empty if nothing did."""

    def _answer(self, message: Any, status: int, payload: dict[str, Any]) -> None:
        answer = ScaleSimAnswer(rid=message.rid, status=status, payload=payload)
        self._scheduler.send_control_output(answer, message)

    @property
    def _can_load_adapters(self) -> bool:
        """Only on one rank: where a copy of an adapter has ended is seen by each rank for itself, at different times."""
        return bool(self._scheduler.tp_size == 1)

    def _reserved_tokens(self) -> int:
        running = sum(
            request.sampling_params.max_new_tokens - len(request.output_ids)
            for request in self._scheduler.running_batch.reqs
            if not request.finished()
        )
        waiting = sum(
            len(request.origin_input_ids) - request.prefix_len + request.sampling_params.max_new_tokens
            for request in self._scheduler.waiting_queue
        )
        return max(0, int(running + waiting))

    def after_planning(self, batch: Any) -> None:
        """A step was chosen, and what it has to load itself is on its way."""
        if batch is not None and batch.forward_mode.is_extend():
            self._batch_begins(batch)
        if self.slots is not None:
            self.slots.planned = batch
        self.loads.pump()

    def _batch_begins(self, batch: Any) -> None:
        for waiting in self._scheduler.waiting_queue:
            if getattr(waiting, "scalesim_held", False):
                waiting.scalesim_overtaken = getattr(waiting, "scalesim_overtaken", 0) + 1
                waiting.scalesim_held = False
        for request in batch.reqs:
            if request.session_id and not getattr(request, "scalesim_ran", False):
                request.scalesim_ran = True
                self.cache.prefixes.call_runs(request.session_id, request.host_loaded_length)
        if batch.hicache_consumer_index < 0:
            # Copies follow each other on one stream: a batch that waits for one of its own waits for ours as well.
            batch.hicache_consumer_index = self.cache.prefixes.consumer_of(batch.reqs)

    def call_came(self, request: Any) -> None:
        if self.slots is not None and not getattr(request, "scalesim_came", False):
            request.scalesim_came = True
            self.slots.call_came(request.lora_id)

    # --- calls whose memory is ready go first --------------------------------------------------------------------

    def _is_ready(self, request: Any) -> bool:
        if self.slots is not None and not self.slots.is_ready(request.lora_id):
            return False
        return not request.session_id or self.cache.prefixes.is_ready(request.session_id)

    def put_ready_first(self, waiting: list[Any]) -> None:
        """Keeps the order among the ready and among the others."""
        if not self.ledger.ready_first or len(waiting) < 2 or self._scheduler.tp_size > 1:
            return
        ready = [self._may_go(request) for request in waiting]
        if all(ready) or not any(ready):
            return
        last_ready = max(place for place, is_ready in enumerate(ready) if is_ready)
        for request, is_ready in zip(waiting[:last_ready], ready, strict=False):
            if not is_ready:
                request.scalesim_overtaken = getattr(request, "scalesim_overtaken", 0) + 1
        first = [request for request, is_ready in zip(waiting, ready, strict=True) if is_ready]
        waiting[:] = first + [
            request for request, is_ready in zip(waiting, ready, strict=True) if not is_ready
        ]

    def _may_go(self, request: Any) -> bool:
        return getattr(request, "scalesim_overtaken", 0) >= MOST_OVERTAKEN or self._is_ready(request)

    def holds_back(self, request: Any, in_batch: set[Any]) -> bool:
        """Whether the call waits for a later round, because its adapter would hold up a batch of calls that are ready.

        It is brought beside their steps meanwhile. Only where adapters load in the step that needs them: overlapped
        loading has its own way to wait. And only on one rank: several could see the end of a copy at different times.
        """
        if not self.ledger.ready_first or self.slots is None or self._scheduler.enable_lora_overlap_loading:
            return False
        if self._scheduler.tp_size > 1 or not in_batch - {None} or self.slots.is_ready(request.lora_id):
            return False
        if getattr(request, "scalesim_overtaken", 0) >= MOST_OVERTAKEN:
            return False
        request.scalesim_held = True
        return self.slots.fetch_beside(request.lora_id)

    # --- what the control routes ask -----------------------------------------------------------------------------

    def features(self) -> list[str]:
        known = [
            *wire.FEATURES,
            *(wire.HOST_TIER_FEATURES if self.cache.prefixes.has_host_tier else ()),
            *(wire.ADAPTER_FEATURES if self.slots is not None else ()),
        ]
        left_out = set() if self._can_load_adapters else {"load_lora", "ready_first"}
        return [feature for feature in known if feature not in left_out]

    def stats(self) -> dict[str, Any]:
        slots, prefix_loads = self.slots, self.cache.prefixes
        return {
            "pools": [prefix_loads.pool_report(), *([] if slots is None else [slots.pool_report()])],
            "memories": {
                prefixes.KIND: prefix_loads.memories(),
                **({} if slots is None else {adapters.KIND: slots.memories()}),
            },
            "loading": self.loads.loading(),
            "running_adapters": [] if slots is None else slots.running(),
            "loads": {kind: asdict(mover.counts) for kind, mover in self.loads.movers.items()},
            "step_error": self.error,
        }

    @contextmanager
    def surviving(self) -> Iterator[None]:
        """The server goes on without what failed in here."""
        try:
            yield
        except Exception as exc:
            if not self.error:
                logger.exception("ScaleSim failed between two steps; what it meant to do there is left out")
            self.error = repr(exc)


def steps_of(scheduler: Any) -> Steps | None:
    """None where SGLang's own cache is in use."""
    found: Steps | None = getattr(scheduler, _STEPS, None)
    if found is None and isinstance(scheduler.tree_cache, OwnedRadixCache):
        found = Steps(scheduler, scheduler.tree_cache)
        scheduler.tree_cache.steps = found
        setattr(scheduler, _STEPS, found)
    return found


def after_get_next_batch_to_run(plan: Any, scheduler: Any, *_args: Any, **_options: Any) -> None:
    """Hook AFTER `Scheduler.get_next_batch_to_run`."""
    steps = steps_of(scheduler)
    if steps is not None:
        with steps.surviving():
            steps.after_planning(plan.batch_to_run)


def after_add_request_to_queue(_result: None, scheduler: Any, request: Any, *_args: Any, **_kw: Any) -> None:
    """Hook AFTER `Scheduler._add_request_to_queue`."""
    steps = steps_of(scheduler)
    if steps is not None:
        with steps.surviving():
            steps.call_came(request)


def around_is_fully_idle(
    original: Callable[..., bool],
    scheduler: Any,
    for_health_check: bool = False,
    ignore_waiting: bool = False,
) -> bool:
    """Hook AROUND `Scheduler.is_fully_idle`: with a load to bring, the scheduler must not go to sleep.

    A health check asks whether running calls prove that the engine lives; loads do not.
    """
    idle = original(scheduler, for_health_check, ignore_waiting)
    if for_health_check or not idle:
        return idle
    steps = steps_of(scheduler)
    return steps is None or not steps.loads.in_progress


def around_can_schedule_lora_req(
    original: Callable[..., bool], scheduler: Any, request: Any, running_loras: set[Any]
) -> bool:
    """Hook AROUND `Scheduler.can_schedule_lora_req`."""
    steps = steps_of(scheduler)
    if steps is not None:
        with steps.surviving():
            if steps.holds_back(request, running_loras):
                return False
    return original(scheduler, request, running_loras)


def after_calc_priority(
    _result: None, policy: Any, waiting_queue: list[Any], *_args: Any, **_kw: Any
) -> None:
    """Hook AFTER `SchedulePolicy.calc_priority`."""
    steps: Steps | None = getattr(policy.tree_cache, "steps", None)
    if steps is not None:
        with steps.surviving():
            steps.put_ready_first(waiting_queue)

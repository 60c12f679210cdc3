"""Hooks into the scheduler's loop: what ScaleSim does between two of its steps. One `Steps` per scheduler.

Nothing in here may raise into the loop: that would end the server.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from sglang.srt.managers.schedule_policy import CLIP_MAX_NEW_TOKENS

from . import adapters, prefixes, wire
from .adapters import AdapterSlots
from .cache import OwnedRadixCache
from .loads import Loads, Mover
from .messages import ScaleSimAnswer

logger = logging.getLogger(__name__)

MOST_OVERTAKEN = 8
"""A waiting call may be overtaken so often by calls whose memory is ready; then its turn has come."""
LOOK_AGAIN_S = 0.001
"""How long an idle scheduler sleeps while a load is on its way."""


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
        self._planned: Any = None
        """The batch that runs next."""
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
        """As SGLang does, no call is taken to write more than a certain number of tokens."""
        scheduler = self._scheduler
        planned = [] if self._planned is None else self._planned.reqs
        running = {id(request): request for request in (*scheduler.running_batch.reqs, *planned)}
        tokens = sum(
            min(request.sampling_params.max_new_tokens - len(request.output_ids), CLIP_MAX_NEW_TOKENS)
            for request in running.values()
            if not request.finished()
        )
        tokens += sum(
            len(request.origin_input_ids)
            - request.prefix_len
            + min(request.sampling_params.max_new_tokens, CLIP_MAX_NEW_TOKENS)
            for request in scheduler.waiting_queue
        )
        chunked = scheduler.chunked_req
        if chunked is not None:
            tokens += max(0, len(chunked.origin_input_ids) - chunked.extend_end)
        return max(0, int(tokens))

    def after_planning(self, batch: Any) -> None:
        """A step was chosen, and what it has to load itself is on its way."""
        self._planned = batch
        if self.slots is not None:
            self.slots.planned = batch
        if batch is not None and batch.forward_mode.is_extend():
            self._batch_begins(batch)
        elif batch is not None:
            # SGLang leaves the index of a prefill's copy on the batch that then decodes. Its prefill has waited for it; by
            # now the slot may serve a load ahead, for which no step should wait.
            batch.hicache_consumer_index = -1
        self.loads.pump()

    def _batch_begins(self, batch: Any) -> None:
        if batch.hicache_consumer_index < 0:
            # Copies follow each other on one stream: a batch that waits for one of its own waits for ours as well.
            batch.hicache_consumer_index = self.cache.prefixes.consumer_of(batch.reqs)
        for waiting in self._scheduler.waiting_queue:
            if getattr(waiting, "scalesim_held", False):
                waiting.scalesim_overtaken = _overtaken(waiting) + 1
                waiting.scalesim_held = False
        for request in batch.reqs:
            # What generates nothing warms a prefix up and is no call.
            if not request.session_id or not request.sampling_params.max_new_tokens:
                continue
            if not getattr(request, "scalesim_ran", False):
                request.scalesim_ran = True
                self.cache.prefixes.call_runs(request.session_id, request.host_loaded_length)

    def call_came(self, request: Any) -> None:
        self._hear_whose(request)
        if self.slots is not None and not getattr(request, "scalesim_came", False):
            request.scalesim_came = True
            self.slots.call_came(request.lora_id)

    def _hear_whose(self, request: Any) -> None:
        """sglang-router drops `session_id`, but passes on the header by which it keeps calls together: SGLang's routing key. Where
        sessions have a memory of their own in SGLang, one that was never opened there is not made up."""
        if (
            request.session_id is None
            and getattr(request, "session", None) is None
            and not self._has_sessions
        ):
            key = getattr(request, "routing_key", None)
            request.session_id = None if key is None else wire.owner_of_key(key)

    @property
    def _has_sessions(self) -> bool:
        return bool(getattr(self._scheduler, "enable_session_radix_cache", False))

    # --- calls whose memory is ready go first --------------------------------------------------------------------

    def _is_ready(self, request: Any) -> bool:
        if self.slots is not None and not self.slots.is_ready(request.lora_id):
            return False
        return not request.session_id or self.cache.prefixes.is_ready(request.session_id)

    def put_ready_first(self, waiting: list[Any]) -> None:
        """Keeps the order among the ready and among the others. Priorities that clients gave are not touched."""
        scheduler = self._scheduler
        if not self.ledger.ready_first or scheduler.tp_size > 1 or scheduler.enable_priority_scheduling:
            return
        ready = [self._may_go(request) for request in waiting]
        if all(ready) or not any(ready):
            return
        last_ready = max(place for place, is_ready in enumerate(ready) if is_ready)
        for request, is_ready in zip(waiting[:last_ready], ready, strict=False):
            if not is_ready:
                request.scalesim_overtaken = _overtaken(request) + 1
        first = [request for request, is_ready in zip(waiting, ready, strict=True) if is_ready]
        waiting[:] = first + [
            request for request, is_ready in zip(waiting, ready, strict=True) if not is_ready
        ]

    def _may_go(self, request: Any) -> bool:
        return _overtaken(request) >= MOST_OVERTAKEN or self._is_ready(request)

    def holds_back(self, request: Any, in_batch: set[Any]) -> bool:
        """Whether the call waits for a later round, because its adapter would hold up a batch of calls that are ready.

        It is brought beside their steps meanwhile. Only where adapters load in the step that needs them: overlapped
        loading has its own way to wait. And only on one rank: several could see the end of a copy at different times.
        """
        if not self.ledger.ready_first or self.slots is None or self._scheduler.enable_lora_overlap_loading:
            return False
        if self._scheduler.tp_size > 1 or not in_batch - {None} or self.slots.is_ready(request.lora_id):
            return False
        if _overtaken(request) >= MOST_OVERTAKEN:
            return False
        request.scalesim_held = self.slots.fetch_beside(request.lora_id, in_batch)
        return bool(request.scalesim_held)

    # --- what the control routes ask -----------------------------------------------------------------------------

    def features(self) -> list[str]:
        known = [
            *wire.FEATURES,
            *(wire.HOST_TIER_FEATURES if self.cache.prefixes.has_host_tier else ()),
            *(wire.ADAPTER_FEATURES if self.slots is not None else ()),
        ]
        left_out = set() if self._can_load_adapters else {"load_lora", "ready_first"}
        if self.cache.is_write_back:
            left_out.add("host_copy")  # every prefix that leaves the device is copied there
        if self._has_sessions:
            left_out.add("routing_keys")
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


def _overtaken(request: Any) -> int:
    """How often others went before it because their memory was ready."""
    return int(getattr(request, "scalesim_overtaken", 0))


def steps_of(scheduler: Any) -> Steps | None:
    """None where SGLang's own cache is in use, and where ours could not be set up."""
    cache = scheduler.tree_cache
    if not isinstance(cache, OwnedRadixCache):
        return None
    if cache.steps is None:
        try:
            cache.steps = Steps(scheduler, cache)
        except Exception:
            logger.exception(
                "ScaleSim could not be set up in the scheduler; it takes no plan and loads nothing"
            )
            cache.steps = False
    return cache.steps or None


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


def around_maybe_sleep_on_idle(original: Callable[..., None], scheduler: Any) -> None:
    """Hook AROUND `Scheduler.maybe_sleep_on_idle`: a message would wake it, but not the end of a copy."""
    steps = steps_of(scheduler)
    if steps is not None and steps.loads.in_progress:
        time.sleep(LOOK_AGAIN_S)
    else:
        original(scheduler)


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
    if steps:
        with steps.surviving():
            steps.put_ready_first(waiting_queue)

"""LoRA adapters: the order in which they leave their slots, and slots filled ahead of calls.

An adapter is never unloaded to move it: that would mint a new id, which is part of the cache's key, and orphan all that
is cached under the old one. Only slots change hands. SGLang's own loader for overlapped loading is used where it is on;
where it is not, a stream and events of ours do the same, and a step that needs an adapter on its way waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from sglang.srt.lora.eviction_policy import EvictionPolicy
from sglang.srt.lora.mem_pool import EMPTY_SLOT
from sglang.srt.runtime_context import get_lora

from .ledger import Ledger
from .loads import Counts, Load, State

KIND = "lora"
_AHEAD = "scalesim_ahead"
"""On a manager: whether the fetch under way is one of ours."""


def size_bytes(adapter: Any) -> int:
    """Of an adapter's weights, as they move from host memory to a slot."""
    weights = [weight for layer in adapter.layers for weight in layer.weights.values()]
    weights += adapter.embedding_layers.values()
    return sum(weight.numel() * weight.element_size() for weight in weights)


class SlotOrder(EvictionPolicy):
    """The plan first; among equals, and without a plan, the policy that the server was started with."""

    def __init__(
        self,
        ledger: Ledger,
        own: Any,
        name_of: Callable[[str], str],
        left: Callable[[str], None],
    ) -> None:
        """`left` is told of each adapter that leaves its slot."""
        self._ledger = ledger
        self._own = own
        self._name_of = name_of
        self._left = left

    def mark_used(self, uid: str | None) -> None:
        self._own.mark_used(uid)

    def remove(self, uid: str | None) -> None:
        self._own.remove(uid)
        if uid is not None:
            self._left(uid)

    def select_victim(self, candidates: set[str | None]) -> str | None:
        adapters = [uid for uid in candidates if uid is not None]
        if not adapters or not self._ledger.plan_in_force:
            victim: str | None = self._own.select_victim(candidates)
            return victim
        return min(adapters, key=self.ranks(adapters).__getitem__)

    def ranks(self, adapters: Iterable[str]) -> dict[str, tuple[int, float, Any]]:
        own = getattr(self._own, "access_order", None) or getattr(self._own, "insertion_order", {})
        age = {uid: place for place, uid in enumerate(own)}
        # The id last, so that all ranks choose alike whatever the order of a set.
        return {
            uid: self._ledger.rank_adapter(self._name_of(uid), (age.get(uid, -1), uid)) for uid in adapters
        }


class AdapterSlots:
    """The mover of adapters, and what the control routes ask of them. One per scheduler with LoRA."""

    def __init__(self, scheduler: Any, ledger: Ledger) -> None:
        import torch

        self.counts = Counts()
        self.planned: Any = None
        """The batch that runs next: its calls have left the queue, and do not run yet."""
        self._scheduler = scheduler
        self._ledger = ledger
        self.manager = scheduler.tp_worker.model_runner.lora_manager
        self.pool = self.manager.memory_pool
        self._device = torch.get_device_module(self.manager.device)
        self.load_stream = self._device.Stream()
        self._sizes: dict[str, int] = {}
        self._locked: set[str] = set()
        self._ahead: dict[str, int] = {}
        """Loaded ahead and not used yet, by id: the bytes moved."""
        self.order = SlotOrder(ledger, self.pool.eviction_policy, self._name_of, self._left)
        self.pool.eviction_policy = self.order

    # --- what there is ---------------------------------------------------------------------------------------------

    @property
    def slots(self) -> int:
        return int(self.pool.max_loras_per_batch)

    def _name_of(self, uid: str) -> str:
        ref = self.manager.lora_refs.get(uid)
        return uid if ref is None else str(ref.lora_name)

    def _is_pinned(self, uid: str) -> bool:
        """By whoever loaded it into the server: such an adapter never leaves its slot."""
        ref = self.manager.lora_refs.get(uid)
        return ref is not None and bool(ref.pinned)

    def _id_of(self, name: str) -> str | None:
        for uid, ref in self.manager.lora_refs.items():
            if ref.lora_name == name:
                return str(uid)
        return None

    def _size(self, uid: str) -> int:
        if uid not in self._sizes:
            self._sizes = {known: self._sizes[known] for known in self._sizes if known in self.manager.loras}
            self._sizes[uid] = size_bytes(self.manager.loras[uid])
        return self._sizes[uid]

    @cached_property
    def slot_bytes(self) -> int:
        """What one slot holds on the device, whatever the rank of the adapter in it."""
        buffers = (self.pool.A_buffer, self.pool.B_buffer)
        layers = [layer for buffer in buffers for target in buffer.values() for layer in target]
        return int(sum(layer.numel() * layer.element_size() for layer in layers) // self.slots)

    def _pending(self) -> dict[str, Any]:
        """Ids on their way to a slot, with the event that ends it; of SGLang's overlapped loading and of ours."""
        pending: dict[str, Any] = self.manager.pending_lora_load_events
        for uid in [uid for uid, event in pending.items() if event.query()]:
            self._device.current_stream().wait_event(pending.pop(uid))
        return pending

    def _wanted_now(self) -> set[str | None]:
        """Ids of the calls that run or wait: their slots are not taken for anything ahead."""
        scheduler = self._scheduler
        requests = [*scheduler.running_batch.reqs, *scheduler.waiting_queue]
        # With overlapped steps, a call that ends by its length has left its batch while its last step still runs.
        launched = [batch for batch, _ in getattr(scheduler, "result_queue", ())]
        for batch in (scheduler.last_batch, self.planned, *launched):
            requests += [] if batch is None else batch.reqs
        if scheduler.chunked_req is not None:
            requests.append(scheduler.chunked_req)
        return {request.lora_id for request in requests if not request.finished()} | {
            request.lora_id for batch in launched for request in batch.reqs
        }

    def is_ready(self, uid: str | None) -> bool:
        return uid is None or (uid in self.pool.uid_to_buffer_id and uid not in self._pending())

    def running(self) -> list[str]:
        return sorted(
            {
                self._name_of(request.lora_id)
                for request in self._scheduler.running_batch.reqs
                if request.lora_id is not None and not request.finished()
            }
        )

    def memories(self) -> dict[str, list[int]]:
        """Each as large as a slot: that is what it takes there."""
        size = self.slot_bytes
        return {
            str(ref.lora_name): [size, 0] if self.is_ready(uid) else [0, size]
            for uid, ref in self.manager.lora_refs.items()
        }

    def pool_report(self) -> dict[str, Any]:
        """The slot in which the base model runs is no room: it holds no adapter, and no adapter gets it."""
        size = self.slot_bytes
        free = sum(uid == EMPTY_SLOT for uid in self.pool.buffer_id_to_uid)
        return {
            "name": "lora",
            "kinds": [KIND],
            "capacity_bytes": (self.slots - (None in self.pool.uid_to_buffer_id)) * size,
            "free_bytes": free * size,
        }

    # --- moving ----------------------------------------------------------------------------------------------------

    def is_moving(self, key: str) -> bool:
        uid = self._id_of(key)
        return uid is not None and uid in self._pending()

    def is_busy(self) -> bool:
        return bool(self._pending())

    def next_slice(self, load: Load) -> int | State:
        """An adapter is one slice."""
        uid = self._id_of(load.key)
        if uid is None:
            return State.ABSENT
        if uid in self.pool.uid_to_buffer_id:
            return State.LOADED if load.moved_bytes else State.RESIDENT
        wanted = self._wanted_now()
        if uid in wanted:
            return State.STOPPED  # its call is here and loads it itself
        # By the plan's own distance: that of the load may be newer than those of the others, and so of another scale.
        distance = self._ledger.adapters.get(load.key, load.distance)
        if not self._has_room(distance, wanted):
            return State.NO_ROOM
        self._fetch(uid, wanted)
        self._ahead[uid] = self._size(uid)
        return self._size(uid)

    def fetch_beside(self, uid: str, in_batch: set[str | None]) -> bool:
        """Brings the adapter of a waiting call to a slot beside the steps of others. Whether it is on its way."""
        if uid in self._pending():
            return True
        wanted = (self._wanted_now() | in_batch) - {uid}
        if not self._has_room(0.0, wanted):
            return False
        self._fetch(uid, wanted)
        return True

    def _fetch(self, uid: str, wanted: set[str | None]) -> None:
        """Into a slot that holds nothing of `wanted`."""
        self._pin_in_host_memory(uid)
        # What was queued on the slots before, an unload's zeroing among it, comes first.
        self.load_stream.wait_stream(self._device.current_stream())
        with self._device.stream(self.load_stream):
            setattr(self.manager, _AHEAD, True)
            try:
                self.manager.fetch_new_loras({uid}, {one for one in wanted if self._is_in_slot(one)})
            finally:
                setattr(self.manager, _AHEAD, False)
            event = self._device.Event()
            event.record(self.load_stream)
        self.manager.pending_lora_load_events[uid] = event

    def _pin_in_host_memory(self, uid: str) -> None:
        """Copies run beside computing only out of page-locked memory, and SGLang, where it does not overlap loads, locks
        each tensor anew for each load: once is enough. At most the adapters that host memory may hold are locked."""
        adapter = self.manager.loras[uid]
        if self.pool.pin_memory_available and uid not in self._locked:
            self._locked = {known for known in self._locked if known in self.manager.loras} | {uid}
            adapter.pin_weights_in_cpu()

    def _is_in_slot(self, uid: str | None) -> bool:
        return uid in self.pool.uid_to_buffer_id

    def _has_room(self, distance: float, wanted: set[str | None]) -> bool:
        """A free slot, or one that holds a farther adapter which no call wants."""
        if len(wanted) >= self.slots:
            return False
        if any(uid == EMPTY_SLOT for uid in self.pool.buffer_id_to_uid):
            return True
        held = [
            uid
            for uid in self.pool.uid_to_buffer_id
            if uid is not None and uid not in wanted and not self._is_pinned(uid)
        ]
        if not held:
            return False
        class_, nearness, _ = min(self.order.ranks(held).values())
        return (class_, nearness) < (1, -distance)

    # --- what happens to them --------------------------------------------------------------------------------------

    def call_came(self, uid: str | None) -> None:
        """A request is new in the queue."""
        if uid is None:
            return
        ahead = self._ahead.pop(uid, None)
        if uid in self._pending():
            self.counts.late += ahead is not None
        elif uid in self.pool.uid_to_buffer_id:
            self.counts.used += ahead is not None
        else:
            self.counts.missed += 1

    def _left(self, uid: str) -> None:
        unused = self._ahead.pop(uid, 0)
        self.counts.wasted += unused > 0
        self.counts.wasted_bytes += unused


def around_fetch_new_loras(
    original: Callable[..., None], manager: Any, new_loras: set[Any], running_loras: Any = frozenset()
) -> None:
    """Hook AROUND `LoRAManager.fetch_new_loras`, for servers that load adapters in the step that needs them.

    SGLang knows nothing there of adapters on their way: the step waits for those it uses, and before a slot is taken for
    another one nothing may be on its way into it.
    """
    pending = manager.pending_lora_load_events
    if pending and not getattr(manager, _AHEAD, False) and not get_lora().enable_lora_overlap_loading:
        wanted = {*new_loras, *running_loras}
        takes_a_slot = any(uid not in manager.memory_pool.uid_to_buffer_id for uid in wanted)
        if takes_a_slot or not wanted.isdisjoint(pending):
            import torch

            stream = torch.get_device_module(manager.device).current_stream()
            for uid in list(pending):
                stream.wait_event(pending.pop(uid))
    original(manager, new_loras, set(running_loras))

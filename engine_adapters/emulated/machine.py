"""What an engine is made of, put together from its sizes: device and host memory, link, scheduler, loads."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..sglang_plugin.ledger import Ledger, Rank
from .adapters import Adapter, Adapters
from .cache import KV_PREFIX, RadixCache
from .counts import MemoryKey, Tally
from .link import Link
from .loads import Loads, Store
from .memory import LORA, Memory, Whole
from .objects import Objects
from .pools import Pool
from .prefixes import Prefixes
from .scheduler import Scheduler

PIN_SHARE = 0.5


class Machine:
    """Without HTTP and without tasks, but for those that loads need. See `EmulatedEngine` for what the sizes mean."""

    def __init__(
        self,
        *,
        capacity_tokens: int,
        prefill_s_per_token: float,
        decode_s_per_token: float,
        max_running: int,
        extended: bool,
        pin_budget_tokens: int | None,
        bytes_per_token: int,
        host_tokens: int,
        adapter_slots: int | None,
        adapter_bytes: int,
        host_adapters: int | None,
        link: Link,
        device_bytes: int | None,
        kinds: Mapping[str, int],
    ) -> None:
        check_above(0, max_running=max_running, bytes_per_token=bytes_per_token, adapter_bytes=adapter_bytes)
        check_above(0, adapter_slots=adapter_slots, host_adapters=host_adapters, **kinds)
        check_above(-1, host_tokens=host_tokens)
        budget = int(capacity_tokens * PIN_SHARE) if pin_budget_tokens is None else pin_budget_tokens
        self.ledger = Ledger(budget) if extended else None
        ticks = itertools.count(1)
        shared: Pool | None = None
        if device_bytes is not None:
            # Whatever one call can need must fit, or it would wait for ever.
            adapter = adapter_bytes if adapter_slots is not None else 0
            least = capacity_tokens * bytes_per_token + adapter + sum(kinds.values())
            check_above(least - 1, device_bytes=device_bytes)
            shared = Pool("device", device_bytes)
        self.cache = RadixCache(
            capacity_tokens,
            self.ledger,
            host_tokens=host_tokens,
            bytes_per_token=bytes_per_token,
            pool=shared,
            ticks=ticks,
        )
        self.adapters: Adapters | None = None
        slots = None
        if adapter_slots is not None:
            self.adapters = Adapters(host_adapters, rank=self._rank_adapter, forget=self._forget)
            pool = Pool(LORA, adapter_slots * adapter_bytes) if shared is None else shared
            slots = Objects(
                LORA, pool, adapter_bytes, rank=self._rank_adapter, ticks=ticks, most=adapter_slots
            )
        private = self._private(kinds, shared, ticks)
        self.memory = Memory(self.cache, slots=slots, private=private)
        self.link = link
        self.tally = Tally(self.memory.kinds)
        self.scheduler = Scheduler(
            self.cache,
            max_running=max_running,
            prefill_s_per_token=prefill_s_per_token,
            decode_s_per_token=decode_s_per_token,
            memory=self.memory,
            link=link,
            tally=self.tally,
        )
        self.loads = Loads(self._stores(), link, self.tally, time.monotonic, self._planned)

    def _private(
        self, kinds: Mapping[str, int], shared: Pool | None, ticks: Iterator[int]
    ) -> dict[str, Objects]:
        if not kinds:
            return {}
        if shared is None:
            raise ValueError("kinds are held in the shared pool: device_bytes must be given with them")
        return {
            kind: Objects(kind, shared, size_bytes, rank=self._rank_private, ticks=ticks)
            for kind, size_bytes in kinds.items()
        }

    def _stores(self) -> dict[str, Store]:
        stores: dict[str, Store] = {}
        if self.ledger is not None and self.cache.host_capacity:
            stores[KV_PREFIX] = Prefixes(self.cache, self.ledger, self.scheduler.reserved_tokens)
        if self.memory.slots is not None and self.adapters is not None:
            stores[LORA] = Whole(self.memory.slots, self.adapters.registered)
        return stores | {kind: Whole(objects, None) for kind, objects in self.memory.private.items()}

    def _planned(self, memory: MemoryKey) -> float | None:
        if self.ledger is None:
            return None
        kind, key = memory
        return (self.ledger.adapters if kind == LORA else self.ledger.distances).get(key)

    def _rank_adapter(self, name: str, own: Any) -> Rank:
        return (0, 0.0, own) if self.ledger is None else self.ledger.rank_adapter(name, own)

    def _rank_private(self, owner: str, own: Any) -> Rank:
        return (0, 0.0, own) if self.ledger is None else self.ledger.rank_private(owner, own)

    def _forget(self, adapter: Adapter) -> None:
        self.cache.forget_adapter(adapter.id)
        if self.memory.slots is not None and adapter.name in self.memory.slots.held:
            self.memory.slots.drop(adapter.name)


def check_above(least: int, **sizes: int | None) -> None:
    for name, value in sizes.items():
        if value is not None and value <= least:
            raise ValueError(f"{name} {value} must be above {least}")

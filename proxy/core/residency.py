"""What the device of one engine holds: its last report, corrected at once by what happened since.

Evictions are learned from the next report only: a memory believed resident that is not costs a load by the call itself.

An engine that evicts by recency and reports nothing is taken to hold the prefixes that were used last, as many as fit.
That is wrong where prompts share a prefix, or calls come from nobody who is known or not through this proxy; it costs a
warm-up that finds everything in the cache, or one that does not come.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .kinds import EngineView
from .model import KV_PREFIX, LORA, AdapterName, EngineReport, MemoryId, MemoryReport, Pool

MEMORY_LIMIT = 65_536
"""Memories known of one engine. Reports are bounded by the plans they answer; this bounds what is added in between."""
_NOTHING = MemoryReport(0, 0)


@dataclass(slots=True)
class Residency:
    pools: tuple[Pool, ...] = ()
    """Empty until the engine told of them: nothing is loaded ahead there."""
    memories: dict[MemoryId, MemoryReport] = field(default_factory=dict)
    loading: frozenset[MemoryId] = frozenset()
    """By the last report."""
    running_adapters: frozenset[AdapterName] = frozenset()
    """By the last report."""
    adapters: tuple[MemoryId, ...] = ()
    """Wherever they are, by the last report."""
    view: EngineView = field(default_factory=EngineView)
    _by_recency: OrderedDict[MemoryId, MemoryReport] | None = None
    """The same as `memories` where the engine does not tell of them: what was used last stands last."""
    _computed: dict[MemoryId, int | None] = field(default_factory=dict)
    """What was computed ahead, as a whole: the bytes that the first report after it showed of it."""

    @property
    def reports(self) -> bool:
        """The engine says itself what it holds, and has."""
        return bool(self.pools) and self._by_recency is None

    def assume(self, capacity_tokens: int) -> None:
        """The engine tells how many tokens it has room for, and nothing else: a token counts as a byte."""
        self.forget()
        self.memories = self._by_recency = OrderedDict()
        self.pools = (Pool("kv", frozenset({KV_PREFIX}), capacity_tokens, capacity_tokens),)
        self.view = EngineView(bytes_per_token=1)

    def learn(self, report: EngineReport) -> bool:
        """True if something is not as it was believed to be."""
        self._by_recency = None
        memories = dict(report.memories)
        changed = (
            self.pools != report.pools
            or self.memories != memories
            or self.loading != report.loading
            or self.running_adapters != report.running_adapters
        )
        self.pools, self.memories = report.pools, memories
        self.loading, self.running_adapters = report.loading, report.running_adapters
        # The only pass of our own over what may be thousands.
        self.adapters = tuple([memory for memory in memories if memory[0] == LORA])
        self.view = _view(report, self.adapters)
        computed: dict[MemoryId, int | None] = {
            memory: memories[memory].device_bytes if seen is None else seen
            for memory, seen in self._computed.items()
            if memory in memories
        }
        # One that went before any report showed it is missing again, though the reports are all alike.
        changed = changed or len(computed) < len(self._computed)
        self._computed = computed
        return changed

    def settle(self, memory: MemoryId, size_bytes: int | None) -> None:
        """All of it is on the device: a call used it, or a load brought it. None: it is not known how much that is."""
        known = self.memories.get(memory, _NOTHING)
        whole = max(known.device_bytes + known.missing_bytes, size_bytes or 0)
        if self._by_recency is not None:
            self._take_turn(self._by_recency, memory, size_bytes or known.device_bytes)
            return
        if not self.pools or not whole or (memory not in self.memories and self._is_full):
            return
        if whole > known.device_bytes or known.missing_bytes:
            self.memories[memory] = MemoryReport(whole, 0)
        if whole > known.device_bytes:
            self._take(memory.kind, whole - known.device_bytes)

    def use(self, memory: MemoryId, size_bytes: int | None) -> None:
        """A call that used it ended."""
        self._computed.pop(memory, None)
        self.settle(memory, size_bytes)

    def compute(self, memory: MemoryId, size_bytes: int) -> None:
        """It was computed ahead as far as it can be, however much that is; `size_bytes` were expected to be missing."""
        if self._by_recency is not None:
            self.settle(memory, self._held(memory) + size_bytes)
        elif self.pools and len(self._computed) < MEMORY_LIMIT:
            self._computed[memory] = None

    def missing_when_computed(self, memory: MemoryId, size_bytes: int) -> int:
        """What is gone of memory that has no copy. Up to a half may be: sizes are guesses, and an answer's tokens cannot
        be computed ahead."""
        if memory in self._computed:
            seen = self._computed[memory]
            if seen is None:
                return 0
            size_bytes = seen
        held = self._held(memory)
        return size_bytes - held if held * 2 < size_bytes else 0

    def reported(self, memory: MemoryId) -> MemoryReport | None:
        """None as well where it is only assumed."""
        return None if self._by_recency is not None else self.memories.get(memory)

    def host(self, memory: MemoryId, size_bytes: int | None) -> None:
        """It is in host memory now, and not on the device."""
        if self.pools and size_bytes and memory not in self.memories and not self._is_full:
            self.memories[memory] = MemoryReport(0, size_bytes)

    def drop(self, memory: MemoryId) -> None:
        self.memories.pop(memory, None)

    def forget(self) -> None:
        self.pools, self.memories, self._computed = (), {}, {}
        self._by_recency = None
        self.loading, self.running_adapters = frozenset(), frozenset()
        self.adapters, self.view = (), EngineView()

    def sizes(self) -> dict[str, int]:
        """How full its tables are, by their names."""
        return {"reported_memories": len(self.memories), "computed_memories": len(self._computed)}

    @property
    def _is_full(self) -> bool:
        return len(self.memories) >= MEMORY_LIMIT

    def _held(self, memory: MemoryId) -> int:
        known = self.memories.get(memory)
        return 0 if known is None else known.device_bytes

    def _take_turn(
        self, by_recency: OrderedDict[MemoryId, MemoryReport], memory: MemoryId, size_bytes: int
    ) -> None:
        """It is what was used last; those that then do not fit any more are the ones used longest ago."""
        if not any(memory.kind in pool.kinds for pool in self.pools):
            return
        before = by_recency.pop(memory, MemoryReport(0, 0))
        by_recency[memory] = MemoryReport(size_bytes, 0)
        (pool,) = self.pools
        free_bytes = pool.free_bytes + before.device_bytes - size_bytes
        while free_bytes < 0 or len(by_recency) > MEMORY_LIMIT:
            free_bytes += by_recency.popitem(last=False)[1].device_bytes
        self.pools = (replace(pool, free_bytes=free_bytes),)

    def _take(self, kind: str, size_bytes: int) -> None:
        # Most devices are full: then there is nothing to take.
        if any(pool.free_bytes and kind in pool.kinds for pool in self.pools):
            self.pools = tuple(
                replace(pool, free_bytes=max(0, pool.free_bytes - size_bytes)) if kind in pool.kinds else pool
                for pool in self.pools
            )


def _view(report: EngineReport, adapters: Iterable[MemoryId]) -> EngineView:
    sizes = [sum(report.memories[adapter]) for adapter in adapters]
    return EngineView(bytes_per_token=report.bytes_per_token, adapter_bytes=max(sizes, default=None))

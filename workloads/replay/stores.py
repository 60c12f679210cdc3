"""Memory that can be loaded ahead of calls, as `ahead` sees it: prefixes piece by piece, adapters whole."""

from __future__ import annotations

from collections.abc import Iterable

from scalesim.engine_adapters.sglang_plugin.ledger import Ledger
from scalesim.proxy.core.model import KV_PREFIX, MemoryId, MemoryReport

from .cache import Cache, Entry
from .owners import Owners
from .slots import Slots


class Prefixes:
    def __init__(self, cache: Cache, owners: Owners, bytes_per_token: int) -> None:
        self._cache = cache
        self._owners = owners
        self._bytes_per_token = bytes_per_token
        self._moving: dict[str, list[Entry]] = {}
        self._next: dict[str, int] = {}
        self._reported: dict[str, tuple[MemoryId, MemoryReport]] = {}
        """The last report, by owner."""

    def report(self, owners: Iterable[str]) -> dict[MemoryId, MemoryReport]:
        """Of those of whom anything is here, or could be brought. What is as it was is the same object: whoever compares two reports
        has less to do."""
        before, self._reported = self._reported, {}
        for owner in owners:
            sizes = self.sizes(owner)
            if any(sizes):
                known = before.get(owner)
                if known is None or known[1] != sizes:
                    known = MemoryId(KV_PREFIX, owner), MemoryReport(*sizes)
                self._reported[owner] = known
        return dict(self._reported.values())

    def sizes(self, owner: str) -> tuple[int, int]:
        """Bytes on the device, and bytes that a load would move."""
        path, size, cache = self._owners.memory(owner), self._bytes_per_token, self._cache
        if not cache.host_capacity:
            return cache.device_tokens(path) * size, 0
        absent = sum([entry.tokens for entry in cache.absent(path)])
        return cache.device_tokens(path) * size, absent * size

    def tokens(self, owner: str) -> int:
        return self._cache.device_tokens(self._owners.memory(owner))

    def is_here(self, key: str) -> bool:
        device, missing = self.sizes(key)
        return device > 0 and not missing

    def reserve(self, key: str, distance: float) -> list[int] | None:
        absent = self._cache.absent(self._owners.memory(key))
        if not absent:
            return []
        if not self._cache.could_free(sum(entry.tokens for entry in absent), distance):
            return None
        if not self._cache.reserve(absent, distance):
            return None
        self._moving[key], self._next[key] = absent, 0
        return [entry.tokens * self._bytes_per_token for entry in absent]

    def moved(self, key: str) -> None:
        self._cache.moved(self._moving[key][self._next[key]])
        self._next[key] += 1

    def release(self, key: str) -> None:
        del self._next[key]
        self._cache.release(self._moving.pop(key))


class Adapters:
    def __init__(self, slots: Slots, ledger: Ledger, adapter_bytes: int) -> None:
        self._slots = slots
        self._ledger = ledger
        self._bytes = adapter_bytes
        self._moving: set[str] = set()

    def sizes(self, adapter: str) -> tuple[int, int]:
        return (self._bytes, 0) if self._slots.has(adapter) else (0, self._bytes)

    def is_here(self, key: str) -> bool:
        return self._slots.has(key)

    def reserve(self, key: str, distance: float) -> list[int] | None:
        planned = self._ledger.adapters.get(key, distance)
        if key in self._slots.held or not self._slots.reserve(key, (1.0, -planned)):
            return None
        self._moving.add(key)
        return [self._bytes]

    def moved(self, key: str) -> None:
        self._moving.discard(key)
        self._slots.moved(key)

    def release(self, key: str) -> None:
        if key in self._moving:
            self._moving.discard(key)
            self._slots.release(key)

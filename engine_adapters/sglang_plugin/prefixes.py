"""Prefixes brought back from host memory ahead of calls: the mover of kind `kv_prefix`.

SGLang's own load-back does the moving, on its own stream and with its own locks. Its nodes count as on the device before
the copy has ended, so a batch that uses one on its way must wait for that copy (`consumer_of`). The controller has three
event slots for such copies; we use one, and only while none is in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from sglang.srt.mem_cache.unified_cache.components import ComponentType

from .ledger import MISSED_TOKENS, Ledger, Tags
from .loads import Counts, Load, State

FULL = ComponentType.FULL
KIND = "kv_prefix"
SLICE_TOKENS = 4096
"""Moved at a time: a call's own load waits for at most so much."""
MAX_REPORTED = 512
"""Owners whose residency is told with every report."""
MAX_AHEAD = 4096
"""Owners loaded ahead that were not used yet, remembered for the counts."""


class PrefixLoads:
    """`split(node, tokens)` makes the first tokens of a node one of their own."""

    counts: Counts

    def __init__(
        self,
        cache: Any,
        ledger: Ledger,
        tags_of: Callable[[Any], Tags | None],
        split: Callable[[Any, int], None],
    ) -> None:
        self.counts = Counts()
        self._cache = cache
        self._ledger = ledger
        self._tags_of = tags_of
        self._split = split
        self.reserved: Callable[[], int] = lambda: 0
        """Tokens that the running and the waiting calls will still need: no load takes them, or it would be evicted
        before its call comes."""
        self._bytes_per_token = 0
        self._moving: tuple[str, int, int, int] | None = None
        """The slice on its way: owner, its last node, the node above its first, and the producer index. A split leaves
        the ids of both nodes as they are."""
        self._ahead: dict[str, dict[int, int]] = {}
        """Loaded ahead and not used yet: the tokens of each node, by owner and id."""

    @property
    def has_host_tier(self) -> bool:
        """Of a kind that this can load from: nodes have to be cut into slices, which state of other kinds forbids."""
        return (
            self._cache.cache_controller is not None and self._cache.linker is None and self._cache.may_split
        )

    @property
    def bytes_per_token(self) -> int:
        if not self._bytes_per_token:
            pool = self._cache.token_to_kv_pool_allocator.get_kvcache()
            told = pool.get_kv_size_bytes()  # a number, or keys and values apart
            total = sum(told) if isinstance(told, tuple) else told
            self._bytes_per_token = max(1, int(total // (pool.size + self._cache.page_size)))
        return self._bytes_per_token

    # --- what there is ---------------------------------------------------------------------------------------------

    def _live(self, owner: str) -> list[Any]:
        """The nodes that the owner's next prompt is expected to pass, parents first."""
        noted = self._ledger.nodes_of(owner)
        nodes = []
        for node_id in list(noted):
            node = self._cache.tree_core._node_arena.get(node_id)
            tags = None if node is None else self._tags_of(node)
            if tags is None or owner not in tags.owners:
                del noted[node_id]
            elif self._ledger.is_live(owner, tags.owners[owner], tags.start):
                nodes.append((tags.start, node_id, node))
        return [node for _, _, node in sorted(nodes, key=lambda one: one[:2])]

    def _missing(self, owner: str) -> list[Any]:
        """Those of them that only host memory has."""
        return [node for node in self._live(owner) if _on_host_only(node)]

    def is_ready(self, owner: str) -> bool:
        return not self._missing(owner) and not self.is_moving(owner)

    def memories(self) -> dict[str, list[int]]:
        """Bytes on the device and bytes that a load would move, of the nearest owners in the plan; where it orders none,
        of those that called last."""
        size = self.bytes_per_token
        report = {}
        distances = self._ledger.distances
        nearest = sorted(distances, key=distances.__getitem__) or list(self._ledger.owners)[::-1]
        for owner in islice(nearest, MAX_REPORTED):
            live = self._live(owner)
            there = sum(len(node.key) for node in live if node.component_data[FULL].value is not None)
            missing = sum(len(node.key) for node in live if _on_host_only(node))
            if there or missing:
                report[owner] = [there * size, missing * size]
        return report

    def pool_report(self) -> dict[str, Any]:
        allocator, size = self._cache.token_to_kv_pool_allocator, self.bytes_per_token
        return {
            "name": "kv",
            "kinds": [KIND],
            "capacity_bytes": int(allocator.size) * size,
            "free_bytes": int(allocator.available_size()) * size,
        }

    # --- moving ----------------------------------------------------------------------------------------------------

    def is_moving(self, key: str) -> bool:
        if self._moving is not None and self._moving[1] not in self._cache.ongoing_load_back:
            self._moving = None
        return self._moving is not None and self._moving[0] == key

    def is_busy(self) -> bool:
        """Also with what calls load: SGLang reaps both alike on all ranks, so all of them see the same."""
        return self.has_host_tier and bool(
            self._cache.ongoing_load_back or self._cache.cache_controller.ack_load_queue
        )

    def next_slice(self, load: Load) -> int | State:
        if not self.has_host_tier:
            return State.ABSENT
        missing = self._missing(load.key)
        if not missing:
            return self._nothing_to_move(load)
        chain = self._slice_of(missing)
        tokens = sum(len(node.key) for node in chain)
        if not self._has_room(tokens, load):
            return State.NO_ROOM
        target, above = chain[-1], chain[0].parent
        if not self._cache.load_back(target.id):
            # Too short to be worth a copy (the call computes it), or no room after all.
            return self._nothing_to_move(load) if tokens < self._cache.load_back_threshold else State.NO_ROOM
        self._moving = load.key, target.id, above.id, self._cache.start_load_ahead()
        self._note_ahead(load.key, chain)
        return tokens * self.bytes_per_token

    def _nothing_to_move(self, load: Load) -> State:
        if load.moved_bytes:
            return State.LOADED
        return State.RESIDENT if self._live(load.key) else State.ABSENT

    def _slice_of(self, missing: list[Any]) -> list[Any]:
        """The first of them, with what has to come before it, and what follows on its path up to the size of a slice."""
        first = missing[0]
        while _on_host_only(first.parent):
            first = first.parent  # of so many owners that this one is not kept by name there
        page, least = self._cache.page_size, self._cache.load_back_threshold
        if len(first.key) > SLICE_TOKENS:
            self._split(first, SLICE_TOKENS - SLICE_TOKENS % page)
            return [first.parent]
        path = [first]
        for node in missing:
            if node.parent is path[-1]:
                path.append(node)
        chain, tokens = [first], len(first.key)
        for node in path[1:]:
            room = SLICE_TOKENS - tokens
            if len(node.key) > room:
                # A first piece too small to be copied must not keep what follows it from coming.
                if tokens < least <= room - room % page:
                    self._split(node, room - room % page)
                    chain.append(node.parent)
                break
            chain.append(node)
            tokens += len(node.key)
        return chain

    def _has_room(self, tokens: int, load: Load) -> bool:
        """Free tokens, or such of farther memory that nobody uses."""
        allocator = self._cache.token_to_kv_pool_allocator
        left = tokens + self.reserved() - int(allocator.available_size())
        if left <= 0:
            return True
        self._cache.settle_pins()
        strategy = self._cache.tree_core.eviction_strategy
        # By the plan's own distance: that of the load may be newer than those of the others, and so of another scale.
        distance = self._ledger.distances.get(load.key, load.distance)
        for node in self._cache.nodes():
            data = node.component_data[FULL]
            if data.value is None or data.lock_ref > 0:
                continue
            class_, nearness, _ = strategy.get_priority(node)
            if (class_, nearness) < (1, -distance):
                left -= len(node.key)
                if left <= 0:
                    return True
        return False

    def consumer_of(self, requests: Iterable[Any]) -> int:
        """The producer index that a batch of these requests must wait for, -1 if none of them uses a slice on its way."""
        if self._moving is None or self._moving[1] not in self._cache.ongoing_load_back:
            return -1
        _, last, above, index = self._moving
        core = self._cache.tree_core
        on_way = set()
        node = core.node_by_id(last)
        while node is not core.root_node and node.id != above:
            on_way.add(node.id)
            node = node.parent
        for request in requests:
            node = core._node_arena.get(request.last_node)
            while node is not None and node is not core.root_node:
                if node.id in on_way:
                    return index
                node = node.parent
        return -1

    # --- what happens to them --------------------------------------------------------------------------------------

    def _note_ahead(self, owner: str, nodes: list[Any]) -> None:
        ahead = self._ahead.setdefault(owner, {})
        ahead.update((node.id, len(node.key)) for node in nodes)
        if len(self._ahead) > MAX_AHEAD:
            del self._ahead[next(iter(self._ahead))]

    def call_runs(self, owner: str, loaded_by_itself: int) -> None:
        """A call of the owner is in a batch for the first time, and had to bring back so many tokens itself.

        A few are not missed: what comes back of a prompt is known in blocks only.
        """
        ahead = self._ahead.pop(owner, None)
        if self.is_moving(owner):
            self.counts.late += 1
        elif loaded_by_itself >= MISSED_TOKENS:
            self.counts.missed += 1
        elif ahead:
            self.counts.used += 1

    def node_split(self, owners: Iterable[str], upper: Any, lower: Any) -> None:
        """`upper` is new, and was the beginning of `lower`."""
        for owner in owners:
            ahead = self._ahead.get(owner)
            if ahead is not None and lower.id in ahead:
                ahead[upper.id], ahead[lower.id] = len(upper.key), len(lower.key)

    def evicted(self, node: Any) -> None:
        """A node is about to leave the device."""
        if not self._ahead:
            return
        tags = self._tags_of(node)
        for owner in () if tags is None else tags.owners:
            ahead = self._ahead.get(owner)
            tokens = None if ahead is None else ahead.pop(node.id, None)
            if tokens is not None:
                self.counts.wasted_bytes += min(tokens, len(node.key)) * self.bytes_per_token
                if not ahead:
                    self.counts.wasted += 1
                    del self._ahead[owner]

    def forget(self) -> None:
        self._ahead.clear()
        self._moving = None


def _on_host_only(node: Any) -> bool:
    data = node.component_data[FULL]
    return data.value is None and data.host_value is not None

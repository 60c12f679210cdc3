"""The prefixes of owners as memory that can be loaded: which nodes they are in, and the next slice of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..sglang_plugin.ledger import Ledger
from .cache import RadixCache
from .nodes import Node, depth_of, path_up
from .pools import Limit


class Prefixes:
    """What an owner's next prompt is expected to begin with, as the ledger sees it.

    `reserved` tells the tokens that running and waiting calls will still need: no load takes them, or what it brought
    would be evicted before its call comes.
    """

    def __init__(self, cache: RadixCache, ledger: Ledger, reserved: Callable[[], int] = lambda: 0) -> None:
        self._reserved = reserved
        self._cache = cache
        self._ledger = ledger
        self._moving: dict[str, Node] = {}

    def sizes_of(self, nearest: Collection[str]) -> dict[str, tuple[int, int]]:
        """Bytes on the device and in host memory, of those owners that have any."""
        owners = frozenset(nearest)
        found: dict[str, list[int]] = {}
        for place, nodes in enumerate((self._cache.nodes, self._cache.host.nodes)):
            for node in nodes:
                if node.tags is None:
                    continue
                for owner, ordinal in node.tags.owners.items():
                    if owner in owners and self._ledger.is_live(owner, ordinal, node.tags.start):
                        size = len(node.key) * self._cache.bytes_per_token
                        found.setdefault(owner, [0, 0])[place] += size
        return {owner: (device, missing) for owner, (device, missing) in found.items()}

    def report(self, owner: str) -> tuple[int, int]:
        return self.sizes_of([owner]).get(owner, (0, 0))

    def can_place(self, owner: str, below: Limit) -> bool:
        """Whether there is room for all that is missing, or could be made."""
        return self._has_room(self.report(owner)[1] // self._cache.bytes_per_token, below)

    def _has_room(self, tokens: int, below: Limit) -> bool:
        cache = self._cache
        tokens += self._reserved()
        free = cache.capacity - cache.used
        if tokens > free and tokens > free + cache.loose(below):
            return False
        size = tokens * cache.bytes_per_token
        return size <= cache.pool.free_bytes or size <= cache.pool.obtainable_bytes(below)

    def begin_slice(self, owner: str, below: Limit, most_bytes: int) -> int | None:
        """Starts to move the next bytes and returns how many; 0: nothing is missing. None: there is no room for them."""
        node = self._next_missing(owner)
        if node is None:
            return 0
        most = max(1, most_bytes // self._cache.bytes_per_token)
        # Looked at with each slice: calls may have come since the last.
        if not self._has_room(min(len(node.key), most), below):
            return None
        moving = self._cache.load_ahead(node, owner, below, most)
        if moving is None:
            return None
        moving.moving = True
        self._cache.lock(moving)
        self._moving[owner] = moving
        return len(moving.key) * self._cache.bytes_per_token

    def end_slice(self, owner: str) -> None:
        node = self._moving.pop(owner)
        self._cache.unlock(node)
        for one in path_up(node):  # a call may have split it meanwhile
            one.moving = False

    def _next_missing(self, owner: str) -> Node | None:
        """The uppermost node of host memory on the way to what is the owner's."""
        nodes = [
            node
            for node in self._cache.host.nodes
            if node.tags is not None
            and owner in node.tags.owners
            and self._ledger.is_live(owner, node.tags.owners[owner], node.tags.start)
        ]
        if not nodes:
            return None
        # Of a node of many owners not all are known by name: what is above is needed whosoever it is.
        above = min(nodes, key=depth_of)
        return [one for one in path_up(above) if one.on_host][-1]

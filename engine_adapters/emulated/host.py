"""Host memory for evicted prefixes: what it takes, and what it gives up for it. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from ..sglang_plugin.ledger import Ledger, Rank
from .nodes import Node, belongs_to, path_up

RankOf = Callable[[Node], Rank]


class HostTier:
    """The nodes that are in host memory; with a capacity of 0 there is none."""

    def __init__(self, capacity_tokens: int, ledger: Ledger | None) -> None:
        self.capacity = capacity_tokens
        self.nodes: set[Node] = set()
        self.used = 0
        self.kept: frozenset[Node] = frozenset()
        """About to be brought back: not to be given up for what has to make room."""
        self._ledger = ledger
        self._queue: list[tuple[Rank, int, Node]] | None = None
        """The ends of paths by rank, while one eviction lasts."""

    def add(self, node: Node, rank_of: RankOf) -> None:
        node.on_host = True
        self.nodes.add(node)
        self.used += len(node.key)
        if self._queue is not None and not node.children:
            heapq.heappush(self._queue, (rank_of(node), id(node), node))

    def remove(self, node: Node) -> None:
        node.on_host = False
        self.nodes.discard(node)
        self.used -= len(node.key)

    def settle(self) -> None:
        """An eviction is over: ranks may change until the next."""
        self._queue = None

    def make_room(self, leaf: Node, rank_of: RankOf, drop: Callable[[Node], None]) -> bool:
        """Whether it takes the leaf: farther copies are given up for it with `drop`, nearer ones are not."""
        size = len(leaf.key)
        if size > self.capacity or self._wants_no_copy(leaf):
            return False
        if self.used + size <= self.capacity:
            return True
        if self._queue is None:
            ends = [node for node in self.nodes if not node.children]
            self._queue = [(rank_of(node), id(node), node) for node in ends]
            heapq.heapify(self._queue)
        queue, rank, passed = self._queue, rank_of(leaf), []
        while self.used + size > self.capacity and queue:
            entry = heapq.heappop(queue)
            victim = entry[2]
            if victim not in self.nodes or victim.children:
                continue
            if victim in self.kept or (entry[0] >= rank and leaf not in path_up(victim)):
                passed.append(entry)
                continue
            parent = victim.parent
            assert parent is not None
            drop(victim)
            if parent.on_host and not parent.children:
                heapq.heappush(queue, (rank_of(parent), id(parent), parent))
        for entry in passed:
            heapq.heappush(queue, entry)
        return self.used + size <= self.capacity

    def _wants_no_copy(self, node: Node) -> bool:
        owners = frozenset() if self._ledger is None else self._ledger.no_host_copy
        return bool(owners) and belongs_to(node, owners)

"""A radix tree over token ids with the semantics of SGLang's, and the owners and trims of our plugin.

Pure. Tokens are in the tree (locked by running requests, or evictable), held privately by a request, or available;
their sum is always the capacity. What a real cache keeps as keys and values of attention is here one checksum of all
tokens up to the end of the node (`state`): a request goes on from the state it found, so a prefix that was matched
wrongly shows in the answer.
"""

from __future__ import annotations

import heapq
import itertools
import zlib
from collections.abc import Collection, Iterator

from ..sglang_plugin.ledger import BLOCK_TOKENS, WHOLE, Ledger, Rank, Tags
from .tokens import Tokens

TRIM_TOKENS = 128
"""As in the plugin: while a plan is in force the last victim loses its tail in pieces of this size."""


class Node:
    __slots__ = ("children", "key", "last_access", "locks", "parent", "state", "tags")

    def __init__(self, parent: Node | None, key: Tokens, state: int, last_access: float) -> None:
        self.parent = parent
        self.children: dict[int, Node] = {}
        self.key = key
        self.state = state
        self.locks = 0
        self.last_access = last_access
        self.tags: Tags | None = None


class RadixCache:
    """Without a ledger it is a stock cache: whole nodes leave, the longest unused first."""

    def __init__(self, capacity_tokens: int, ledger: Ledger | None) -> None:
        self.capacity = capacity_tokens
        self.ledger = ledger
        self.evicted_tokens = 0
        self._ticks = itertools.count(1)
        self._clear()

    def _clear(self) -> None:
        self.root = Node(None, Tokens("q"), 0, 0)
        self.nodes: set[Node] = set()
        self.leaves: set[Node] = set()
        """Those that may be evicted: no children, no locks."""
        self.available = self.capacity
        self.evictable = 0

    def flush(self) -> None:
        """Only while no request runs."""
        self._clear()
        if self.ledger is not None:
            self.ledger.forget()

    # --- what requests do ------------------------------------------------------------------------------------------

    def match(self, tokens: Tokens, limit: int) -> tuple[Node, int]:
        """The deepest node on the path of `tokens[:limit]` and its depth. Splits the node where the paths part."""
        node, depth = self.root, 0
        while depth < limit and (child := node.children.get(tokens[depth])) is not None:
            same = _common(child.key, tokens, depth, limit)
            depth += same
            if same < len(child.key):
                node = self._split(child, same)
                break
            node = child
        self._touch_path(node)
        return node, depth

    def _touch_path(self, node: Node) -> None:
        now: float = next(self._ticks)
        for one in self._path_up(node):
            one.last_access = now
            now -= 0.00001  # a parent never leaves before its child

    def lock(self, node: Node) -> None:
        for one in self._path_up(node):
            if not one.locks:
                self.evictable -= len(one.key)
                self.leaves.discard(one)
            one.locks += 1

    def unlock(self, node: Node) -> None:
        for one in self._path_up(node):
            one.locks -= 1
            if not one.locks:
                self.evictable += len(one.key)
                if not one.children:
                    self.leaves.add(one)

    def take(self, tokens: int) -> None:
        """Makes room for `tokens` that the caller from now on holds."""
        if tokens > self.available:
            self.evict(tokens - self.available)
        if tokens > self.available:
            raise RuntimeError(f"{tokens} tokens wanted, {self.available} to be had: admission miscounted")
        self.available -= tokens

    def insert(self, tokens: Tokens, state: int, held: int) -> Node:
        """Puts a path into the tree and returns its end. The last `held` tokens were the caller's and are no more.

        `state` is that of all of `tokens`, as the caller computed it.
        """
        node, depth = self.root, 0
        while depth < len(tokens) and (child := node.children.get(tokens[depth])) is not None:
            child.last_access = next(self._ticks)
            same = _common(child.key, tokens, depth, len(tokens))
            depth += same
            node = self._split(child, same) if same < len(child.key) else child
        new = len(tokens) - depth
        if new:
            leaf = Node(node, tokens[depth:], state, next(self._ticks))
            node.children[tokens[depth]] = leaf
            self.nodes.add(leaf)
            self.leaves.discard(node)
            self.leaves.add(leaf)
            self.evictable += new
            node = leaf
        self.available += held - new
        return node

    def tag_path(self, node: Node, owner: str, ordinal: int) -> None:
        """The owner's request number `ordinal` went through all nodes down to this one."""
        ledger = self.ledger
        if ledger is None:
            return
        depth = ledger.reusable_depth(owner)
        start = 0
        for one in reversed(list(self._path_up(node))):
            length = len(one.key)
            if one.tags is None:
                one.tags = Tags(start)
            ledger.tag(one.tags, owner, ordinal)
            if depth < WHOLE and start < depth < start + length:
                upper = depth - start
                # What is not expected back becomes a node of its own and can leave alone.
                if upper >= BLOCK_TOKENS and length - upper >= BLOCK_TOKENS:
                    self._split_unseen(one, upper)
            start += length

    # --- eviction --------------------------------------------------------------------------------------------------

    def evict(self, tokens: int) -> int:
        """Frees at least `tokens` if as many are evictable, whole leaves first; returns how many."""
        ledger = self.ledger
        if ledger is not None:
            ledger.settle_pins(lambda: self.tokens_of_owners(ledger.pins))
        heap = [(self._rank(leaf), id(leaf), leaf) for leaf in self.leaves]
        heapq.heapify(heap)
        freed = 0
        while freed < tokens and heap:
            victim = heapq.heappop(heap)[2]
            if ledger is not None and ledger.plan_in_force:
                pieces = -(-(tokens - freed) // TRIM_TOKENS)
                keep = len(victim.key) - pieces * TRIM_TOKENS
                if keep >= TRIM_TOKENS:
                    self._split_unseen(victim, keep)
            freed += len(victim.key)
            parent = self._remove(victim)
            if parent in self.leaves:
                heapq.heappush(heap, (self._rank(parent), id(parent), parent))
        return freed

    def evict_owners(self, owners: frozenset[str]) -> int:
        """Frees what belongs to these owners alone and is not in use."""
        freed = 0
        while leaves := [leaf for leaf in self.leaves if _belongs_to(leaf, owners)]:
            for leaf in leaves:
                freed += len(leaf.key)
                self._remove(leaf)
        return freed

    def _rank(self, node: Node) -> Rank:
        if self.ledger is None:
            return (0, 0.0, node.last_access)
        return self.ledger.rank(node.tags, node.last_access)

    def _remove(self, leaf: Node) -> Node:
        parent = leaf.parent
        assert parent is not None
        del parent.children[leaf.key[0]]
        self.nodes.discard(leaf)
        self.leaves.discard(leaf)
        size = len(leaf.key)
        self.evictable -= size
        self.available += size
        self.evicted_tokens += size
        if parent is not self.root and not parent.children and not parent.locks:
            self.leaves.add(parent)
        return parent

    # --- what can be seen ------------------------------------------------------------------------------------------

    def tokens_of_owners(self, wanted: Collection[str]) -> dict[str, int]:
        """A node with several owners counts for each."""
        tokens: dict[str, int] = {}
        for node in self.nodes:
            for owner in node.tags.owners if node.tags is not None else ():
                if owner in wanted:
                    tokens[owner] = tokens.get(owner, 0) + len(node.key)
        return tokens

    def unowned_tokens(self) -> int:
        return sum(len(node.key) for node in self.nodes if node.tags is None or not node.tags.owners)

    def owners(self) -> set[str]:
        return {owner for node in self.nodes if node.tags is not None for owner in node.tags.owners}

    # --- the tree --------------------------------------------------------------------------------------------------

    def _path_up(self, node: Node) -> Iterator[Node]:
        while node.parent is not None:
            yield node
            node = node.parent

    def _split(self, node: Node, tokens: int) -> Node:
        """Returns the new upper part, `tokens` long; the lower part stays the same object. Both count as just used."""
        parent = node.parent
        assert parent is not None
        head = node.key[:tokens]
        upper = Node(parent, head, extend_state(parent.state, head), next(self._ticks))
        upper.locks = node.locks
        upper.children[node.key[tokens]] = node
        if node.tags is not None:
            upper.tags = node.tags.split_at(tokens)
        parent.children[head[0]] = upper
        node.parent = upper
        node.key = node.key[tokens:]
        node.last_access = next(self._ticks)
        self.nodes.add(upper)
        return upper

    def _split_unseen(self, node: Node, tokens: int) -> None:
        """Nobody asked for the node: both parts stay as old as it was."""
        stamp = node.last_access
        upper = self._split(node, tokens)
        node.last_access = stamp
        upper.last_access = stamp - 0.00001


def extend_state(state: int, tokens: Tokens) -> int:
    return zlib.crc32(memoryview(tokens).cast("B"), state) if tokens else state


def _belongs_to(node: Node, owners: frozenset[str]) -> bool:
    tags = node.tags
    if tags is None or not tags.owners or tags.count > len(tags.owners):
        return False
    return owners.issuperset(tags.owners)


def _common(key: Tokens, tokens: Tokens, start: int, limit: int) -> int:
    """How many tokens of `key` and `tokens[start:limit]` are the same; bisects, because slices compare in C."""
    longest = min(len(key), limit - start)
    if key[:longest] == tokens[start : start + longest]:
        return longest
    low, high = 0, longest  # the first `low` are the same, the first `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        if key[low:middle] == tokens[start + low : start + middle]:
            low = middle
        else:
            high = middle
    return low

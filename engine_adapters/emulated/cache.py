"""A radix tree over token ids with the semantics of SGLang's, and the owners and trims of our plugin.

Pure. Tokens are in the tree (locked by running requests, or evictable), held privately by a request, or available;
their sum is always the capacity. What a real cache keeps as keys and values of attention is here one checksum of all
tokens up to the end of the node (`state`): a request goes on from the state it found, so a prefix that was matched
wrongly shows in the answer.

With a host tier, what is evicted moves to host memory and stays in the tree below what is on the device. It is in one
of the two at a time. Each adapter has a tree of its own, as its prefixes are of use to nobody else.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterator, Sequence

from ..sglang_plugin.ledger import SLIVER_TOKENS, WHOLE, Ledger, Rank, Tags
from .ahead import Ahead
from .host import HostTier
from .nodes import Node, belongs_to, common_length, depth_of, extend_state, path_up, tokens_of
from .pools import Limit, Pool, is_below
from .tokens import Tokens

KV_PREFIX = "kv_prefix"
TRIM_TOKENS = 128
"""As in the plugin: while a plan is in force the last victim loses its tail in pieces of this size."""


class RadixCache:
    """Without a ledger it is a stock cache: whole nodes leave, the longest unused first.

    `pool` is the device memory it shares with other kinds, if it does; `ticks` the clock of recency they share.
    """

    def __init__(
        self,
        capacity_tokens: int,
        ledger: Ledger | None,
        *,
        host_tokens: int = 0,
        bytes_per_token: int = 1,
        pool: Pool | None = None,
        ticks: Iterator[int] | None = None,
    ) -> None:
        self.capacity = capacity_tokens
        self.host_capacity = host_tokens
        self.ledger = ledger
        self.bytes_per_token = bytes_per_token
        self.evicted_tokens = 0
        self.ahead = Ahead()
        self.pool = Pool("kv", capacity_tokens * bytes_per_token) if pool is None else pool
        self.pool.holders[KV_PREFIX] = self
        self._ticks = itertools.count(1) if ticks is None else ticks
        self._clear()

    def _clear(self) -> None:
        self.root = Node(None, Tokens("q"), 0, 0)
        self.nodes: set[Node] = set()
        """On the device."""
        self.leaves: set[Node] = set()
        """Those that may be evicted: no children on the device, no locks."""
        self.used = 0
        """On the device, in the tree or held by requests."""
        self.evictable = 0
        self.host = HostTier(self.host_capacity, self.ledger)
        self._roots: dict[str, Node] = {}
        self.ahead.forget()

    @property
    def available(self) -> int:
        return min(self.capacity - self.used, self.pool.free_bytes // self.bytes_per_token)

    def root_of(self, adapter: str, state: int) -> Node:
        """The root of the prefixes of one adapter; `state` is what its answers start from."""
        if adapter not in self._roots:
            self._roots[adapter] = Node(None, Tokens("q"), state, 0)
        return self._roots[adapter]

    def forget_adapter(self, adapter: str) -> None:
        """Its prefixes can be found by nobody any more. What a load is moving right now is left to recency."""
        root = self._roots.pop(adapter, None)
        below = [] if root is None else list(root.children.values())
        for node in below:
            below += node.children.values()
        for node in reversed(below):
            node.tags = None
            if not node.children and not node.locks:
                self._drop(node)

    def flush(self) -> None:
        """Only while no request runs."""
        self._clear()
        if self.ledger is not None:
            self.ledger.forget()

    # --- what requests do ------------------------------------------------------------------------------------------

    def match(self, tokens: Tokens, limit: int, root: Node | None = None) -> tuple[Node, int]:
        """The deepest node of the device on the path of `tokens[:limit]` and its depth.

        Splits the node where the paths part."""
        node, depth = root or self.root, 0
        while depth < limit and (child := node.children.get(tokens[depth])) is not None and not child.on_host:
            same = common_length(child.key, tokens, depth, limit)
            depth += same
            if same < len(child.key):
                node = self._split(child, same)
                break
            node = child
        self._touch_path(node)
        return node, depth

    def match_host(self, tokens: Tokens, limit: int, node: Node, depth: int) -> list[Node]:
        """How the path goes on in host memory from where `match` ended, upper nodes first."""
        found = []
        while depth < limit and (child := node.children.get(tokens[depth])) is not None:
            same = common_length(child.key, tokens, depth, limit)
            depth += same
            node = self._split(child, same) if same < len(child.key) else child
            found.append(node)
        return found

    def extent_of(self, tokens: Tokens, limit: int, root: Node | None = None) -> tuple[int, int]:
        """How much of the path is on the device, and how much in host memory. Changes nothing, and counts as no use."""
        node, depth, on_host = root or self.root, 0, 0
        while depth < limit and (child := node.children.get(tokens[depth])) is not None:
            same = common_length(child.key, tokens, depth, limit)
            depth += same
            on_host += same if child.on_host else 0
            if same < len(child.key):
                break
            node = child
        return depth - on_host, on_host

    def bring_back(self, node: Node, found: Sequence[Node]) -> tuple[Node, int]:
        """Brings nodes of host memory to the device, from below `node` on, which is locked, and as far as there is room.

        Moves the lock to the lowest that came; returns it and how many tokens came.
        """
        self.host.kept, brought = frozenset(found), 0
        for one in found:
            if not self._make_room(len(one.key)):
                break
            self.load(one)
            self.lock(one)
            self.unlock(node)
            node, brought = one, brought + len(one.key)
        self.host.kept = frozenset()
        return node, brought

    def obtainable(self, promised_bytes: int = 0) -> int:
        """Tokens that requests may have, once so many bytes of the pool have gone to other kinds."""
        pooled = (self.pool.obtainable_bytes() - promised_bytes) // self.bytes_per_token
        return min(self.capacity - self.used + self.evictable, pooled)

    def is_moving(self, node: Node) -> bool:
        return any(one.moving for one in path_up(node))

    def load(self, node: Node) -> None:
        """From host memory to the device, where its parent is and room has been made."""
        parent = node.parent
        assert parent is not None
        assert not parent.on_host
        size = len(node.key)
        self.host.remove(node)
        self.used += size
        self.evictable += size
        self._grow(parent, node)

    def load_ahead(self, node: Node, owner: str, below: Limit, most: int) -> Node | None:
        """Brings the first `most` tokens of a node back for a call of the owner that will come. None: there is no room."""
        if len(node.key) > most:
            node = self._split_unseen(node, most)
        parent = node.parent
        assert parent is not None
        self.host.kept = frozenset((node,))
        self.lock(parent)
        made = self._make_room(len(node.key), below)
        self.unlock(parent)
        self.host.kept = frozenset()
        if not made:
            return None
        self.load(node)
        self.ahead.note(node, owner)
        return node

    def _grow(self, parent: Node, child: Node) -> None:
        """The child has come to the device, and nobody holds it."""
        parent.on_device += 1
        self.nodes.add(child)
        self.leaves.discard(parent)
        self.leaves.add(child)

    def _touch_path(self, node: Node) -> None:
        now: float = next(self._ticks)
        for one in path_up(node):
            one.last_access = now
            now -= 0.00001  # a parent never leaves before its child

    def lock(self, node: Node) -> None:
        for one in path_up(node):
            if not one.locks:
                self.evictable -= len(one.key)
                self.leaves.discard(one)
            one.locks += 1

    def unlock(self, node: Node) -> None:
        for one in path_up(node):
            one.locks -= 1
            if not one.locks:
                self.evictable += len(one.key)
                if not one.on_device:
                    self.leaves.add(one)

    def take(self, tokens: int) -> None:
        """Makes room for `tokens` that the caller from now on holds."""
        if not self._make_room(tokens):
            raise RuntimeError(f"{tokens} tokens wanted, {self.available} to be had: admission miscounted")
        self.used += tokens

    def _make_room(self, tokens: int, below: Limit | None = None) -> bool:
        over = self.used + tokens - self.capacity
        if over > 0 and (over > self.loose(below) or self.evict(over, below) < over):
            return False
        return self.pool.make_room(tokens * self.bytes_per_token, below)

    def insert(self, tokens: Tokens, state: int, held: int, root: Node | None = None) -> Node:
        """Puts a path into the tree and returns its end. The last `held` tokens were the caller's and are no more.

        `state` is that of all of `tokens`, as the caller computed it. What was in host memory has been computed anew.
        """
        self.used -= held
        node, depth = root or self.root, 0
        while depth < len(tokens) and (child := node.children.get(tokens[depth])) is not None:
            child.last_access = next(self._ticks)
            same = common_length(child.key, tokens, depth, len(tokens))
            depth += same
            node = self._split(child, same) if same < len(child.key) else child
            if node.on_host:
                self.load(node)
        new = len(tokens) - depth
        if new:
            leaf = Node(node, tokens[depth:], state, next(self._ticks))
            node.children[tokens[depth]] = leaf
            self.used += new
            self.evictable += new
            self._grow(node, leaf)
            node = leaf
        return node

    def tag_path(self, node: Node, owner: str, ordinal: int) -> None:
        """The owner's request number `ordinal` went through all nodes down to this one."""
        ledger = self.ledger
        if ledger is None:
            return
        depth = ledger.reusable_depth(owner)
        start = 0
        for one in reversed(list(path_up(node))):
            length = len(one.key)
            if one.tags is None:
                one.tags = Tags(start)
            ledger.tag(one.tags, owner, ordinal)
            if depth < WHOLE and start < depth < start + length:
                upper = depth - start
                # What is not expected back becomes a node of its own and can leave alone.
                if upper >= SLIVER_TOKENS and length - upper >= SLIVER_TOKENS:
                    self._split_unseen(one, upper)
            start += length

    # --- eviction --------------------------------------------------------------------------------------------------

    def evict(self, tokens: int, below: Limit | None = None) -> int:
        """Frees at least `tokens` if as many are evictable, whole leaves first; returns how many."""
        ledger = self.ledger
        self._settle_pins()
        heap = [(self._rank(leaf), id(leaf), leaf) for leaf in self.leaves]
        heapq.heapify(heap)
        freed = 0
        while freed < tokens and heap and is_below(heap[0][0], below):
            victim = heapq.heappop(heap)[2]
            if ledger is not None and ledger.plan_in_force:
                pieces = -(-(tokens - freed) // TRIM_TOKENS)
                keep = len(victim.key) - pieces * TRIM_TOKENS
                if keep >= TRIM_TOKENS:
                    self._split_unseen(victim, keep)
            freed += len(victim.key)
            parent = self._leave(victim)
            if parent in self.leaves:
                heapq.heappush(heap, (self._rank(parent), id(parent), parent))
        self.host.settle()
        return freed

    def evict_owners(self, owners: frozenset[str]) -> int:
        """Frees what belongs to these owners alone and is not in use, copies in host memory as well."""
        freed = 0
        while found := [
            node for node in self.leaves | self.host.nodes if not node.children and belongs_to(node, owners)
        ]:
            for node in found:
                freed += 0 if node.on_host else len(node.key)
                self._drop(node)
        return freed

    def loose(self, below: Limit | None = None) -> int:
        """Tokens that could be evicted."""
        if below is None:
            return self.evictable
        self._settle_pins()
        stuck: set[Node] = set()
        freed = 0
        # A node can only leave after all below it.
        for node in sorted(self.nodes, key=depth_of, reverse=True):
            if node.locks or node in stuck or not is_below(self._rank(node), below):
                stuck.update(path_up(node))
            else:
                freed += len(node.key)
        return freed

    def _settle_pins(self) -> None:
        ledger = self.ledger
        if ledger is not None:
            ledger.settle_pins(lambda: self.tokens_of_owners(ledger.pins))

    def _rank(self, node: Node) -> Rank:
        if self.ledger is None:
            return (0, 0.0, node.last_access)
        return self.ledger.rank(node.tags, node.last_access)

    def _leave(self, leaf: Node) -> Node:
        """The leaf gives up its room on the device, with a copy in host memory if it is worth one."""
        parent = leaf.parent
        assert parent is not None
        if self.host.make_room(leaf, self._rank, self._drop):
            self._off_device(leaf)
            self.host.add(leaf, self._rank)
        else:
            self._drop(leaf)
        return parent

    def _off_device(self, leaf: Node) -> None:
        parent = leaf.parent
        assert parent is not None
        size = len(leaf.key)
        self.nodes.discard(leaf)
        self.leaves.discard(leaf)
        self.evictable -= size
        self.used -= size
        self.evicted_tokens += size
        self.ahead.left(leaf)
        parent.on_device -= 1
        if parent.parent is not None and not parent.on_device and not parent.locks:
            self.leaves.add(parent)

    def _drop(self, node: Node) -> None:
        """Nothing is left of the node, nor of what is below it, which is in host memory if anywhere."""
        for child in list(node.children.values()):
            self._drop(child)
        parent = node.parent
        assert parent is not None
        del parent.children[node.key[0]]
        if node.on_host:
            self.host.remove(node)
        else:
            self._off_device(node)

    # --- as a holder of the pool -----------------------------------------------------------------------------------

    @property
    def used_bytes(self) -> int:
        return self.used * self.bytes_per_token

    def loose_bytes(self, below: Limit | None) -> int:
        return self.loose(below) * self.bytes_per_token

    def first_to_leave(self, below: Limit | None) -> Rank | None:
        self._settle_pins()
        ranks = (self._rank(leaf) for leaf in self.leaves)
        return min((rank for rank in ranks if is_below(rank, below)), default=None)

    def give_up(self, size_bytes: int, below: Limit | None) -> int:
        return self.evict(-(-size_bytes // self.bytes_per_token), below) * self.bytes_per_token

    # --- what can be seen ------------------------------------------------------------------------------------------

    def tokens_of_owners(self, wanted: Collection[str]) -> dict[str, int]:
        """On the device. A node with several owners counts for each."""
        return tokens_of(self.nodes, wanted)

    def host_tokens_of_owners(self, wanted: Collection[str]) -> dict[str, int]:
        return tokens_of(self.host.nodes, wanted)

    def unowned_tokens(self) -> int:
        return sum(len(node.key) for node in self.nodes if node.tags is None or not node.tags.owners)

    def owners(self) -> set[str]:
        everywhere = itertools.chain(self.nodes, self.host.nodes)
        return {owner for node in everywhere if node.tags is not None for owner in node.tags.owners}

    # --- the tree --------------------------------------------------------------------------------------------------

    def _split(self, node: Node, tokens: int) -> Node:
        """Returns the new upper part, `tokens` long; the lower part stays the same object. Both count as just used."""
        parent = node.parent
        assert parent is not None
        head = node.key[:tokens]
        upper = Node(parent, head, extend_state(parent.state, head), next(self._ticks))
        upper.locks = node.locks
        upper.on_host, upper.moving = node.on_host, node.moving
        if node.ahead is not None:
            self.ahead.note(upper, node.ahead)
        upper.on_device = 0 if node.on_host else 1
        upper.children[node.key[tokens]] = node
        if node.tags is not None:
            upper.tags = node.tags.split_at(tokens)
        parent.children[head[0]] = upper
        node.parent = upper
        node.key = node.key[tokens:]
        node.last_access = next(self._ticks)
        (self.host.nodes if node.on_host else self.nodes).add(upper)
        return upper

    def _split_unseen(self, node: Node, tokens: int) -> Node:
        """Nobody asked for the node: both parts stay as old as it was. Returns the upper one."""
        stamp = node.last_access
        upper = self._split(node, tokens)
        node.last_access = stamp
        upper.last_access = stamp - 0.00001
        return upper

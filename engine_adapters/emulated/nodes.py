"""The nodes of the radix tree, and what can be asked of them alone."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator

from ..sglang_plugin.ledger import Tags
from .tokens import Tokens


class Node:
    __slots__ = (
        "ahead", "children", "key", "last_access", "locks", "moving", "on_device", "on_host", "parent", "state", "tags",
    )  # fmt: skip

    def __init__(self, parent: Node | None, key: Tokens, state: int, last_access: float) -> None:
        self.parent = parent
        self.children: dict[int, Node] = {}
        self.key = key
        self.state = state
        self.locks = 0
        self.last_access = last_access
        self.tags: Tags | None = None
        self.on_host = False
        """Evicted, with a copy in host memory: only others like it are below it."""
        self.on_device = 0
        """How many of its children are on the device."""
        self.ahead: str | None = None
        """The owner for a call of which it was brought back, and which has not called yet."""
        self.moving = False
        """On the link right now."""


def path_up(node: Node) -> Iterator[Node]:
    """The node and all above it but the root."""
    while node.parent is not None:
        yield node
        node = node.parent


def extend_state(state: int, tokens: Tokens) -> int:
    return zlib.crc32(memoryview(tokens).cast("B"), state) if tokens else state


def belongs_to(node: Node, owners: frozenset[str]) -> bool:
    tags = node.tags
    if tags is None or not tags.owners or tags.count > len(tags.owners):
        return False
    return owners.issuperset(tags.owners)


def tokens_of(nodes: Collection[Node], wanted: Collection[str]) -> dict[str, int]:
    tokens: dict[str, int] = {}
    for node in nodes:
        for owner in node.tags.owners if node.tags is not None else ():
            if owner in wanted:
                tokens[owner] = tokens.get(owner, 0) + len(node.key)
    return tokens


def depth_of(node: Node) -> int:
    depth = 0
    while node.parent is not None:
        node, depth = node.parent, depth + 1
    return depth


def common_length(key: Tokens, tokens: Tokens, start: int, limit: int) -> int:
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

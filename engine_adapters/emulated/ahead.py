"""Prefixes that were brought back ahead of calls, and what has become of them. Pure."""

from __future__ import annotations

from .nodes import Node, path_up


class Ahead:
    """Which nodes were brought back for which owner, and not used by it yet.

    A prefix is wasted as a whole: once all that was brought of it has left unused. One that lost a part, and whose rest
    is used, was of use.
    """

    def __init__(self) -> None:
        self.wasted = 0
        """Prefixes."""
        self.wasted_tokens = 0
        """Parts of prefixes included."""
        self._nodes: dict[str, set[Node]] = {}

    def note(self, node: Node, owner: str) -> None:
        node.ahead = owner
        self._nodes.setdefault(owner, set()).add(node)

    def use(self, node: Node, owner: str) -> bool:
        """A call of the owner goes on from this node. Whether anything up from there was brought back for it."""
        if all(one.ahead != owner for one in path_up(node)):
            return False
        for one in self._nodes.pop(owner):
            one.ahead = None
        return True

    def left(self, node: Node) -> None:
        """The node is on the device no longer."""
        owner, node.ahead = node.ahead, None
        if owner is None:
            return
        self.wasted_tokens += len(node.key)
        self._nodes[owner].discard(node)
        if not self._nodes[owner]:
            del self._nodes[owner]
            self.wasted += 1

    def forget(self) -> None:
        """The cache was flushed: that is nobody's waste."""
        self._nodes.clear()

    def nodes(self) -> dict[str, set[Node]]:
        return {owner: set(nodes) for owner, nodes in self._nodes.items()}

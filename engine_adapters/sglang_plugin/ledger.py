"""What an engine knows of owners: the plan, pins, their ageing, and which part of each owner's prompt comes back.

Pure, and a function of the messages and requests alone: no clock, no randomness, so that all tensor-parallel ranks,
which see the same ones in the same order, agree. `cache` asks it for the rank of each node; the emulated engine uses
the same class, so that both evict alike.

How long a plan lives is counted in *beats*. Beats are messages too (sent by the engine's HTTP process while something
is in force), and a renewal by the proxy starts the count anew: a proxy that dies takes its plan along.
"""

from __future__ import annotations

import zlib
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .wire import FenceLost

PLAN_BEATS = 10
"""Beats (seconds) that a plan or a pin lives without a renewal."""
BLOCK_TOKENS = 16
"""Grain at which two prompts of one owner are compared."""
SLIVER_TOKENS = 16
"""Pieces smaller than this are not worth a node of their own."""
MISSED_TOKENS = 64
"""A call that had to bring back fewer than this itself did not miss its prefix: the next prompt is known in blocks only."""
LIVE_CALLS = 4
"""A node that an owner's last so many requests did not pass is no longer that owner's."""
MAX_NODE_OWNERS = 8
"""Kept by name per node; of a node with more owners only these and their number are known."""
MAX_PINS = 16_384
MAX_OWNER_NODES = 256
"""Nodes remembered per owner, to find its memory without a walk over the cache."""
MAX_OWNERS = 65_536
"""Owners remembered; the one longest without a request goes first."""
WHOLE = 1 << 62
"""The reusable depth of an owner that has called once: nothing is known, so all of it may come back."""

Rank = tuple[int, float, Any]
"""Smaller leaves earlier: (class, -distance, the engine's own rank). Class 2 pinned, 1 in the plan, 0 anything else."""


class Tags:
    """Whose a cache node is: a few owners by name (with the ordinal of their last request through it) and a count."""

    __slots__ = ("count", "owners", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        """Tokens between the root and this node."""
        self.owners: dict[str, int] = {}
        self.count = 0
        """Exact up to MAX_NODE_OWNERS; beyond, those not kept by name are counted at each pass: an upper bound."""

    def split_at(self, tokens: int) -> Tags:
        """The tags of the new upper part, `tokens` long; these become the lower part's."""
        upper = Tags(self.start)
        upper.owners = dict(self.owners)
        upper.count = self.count
        self.start += tokens
        return upper


class _Owner:
    __slots__ = ("blocks", "calls", "depths", "nodes")

    def __init__(self) -> None:
        self.calls = 0
        self.blocks = array("L")
        self.depths: deque[int] = deque(maxlen=LIVE_CALLS)
        self.nodes: dict[int, None] = {}
        """Ids, the one noted longest ago first; some may be gone from the cache."""

    def reusable_depth(self) -> int:
        """A history that grew from one prompt to the next grows by as much again: what the last prompt had of it is
        shared for the first time by the prompt that comes."""
        if not self.depths:
            return WHOLE
        growth = self.depths[-1] - self.depths[-2] if len(self.depths) > 1 else 0
        return max(self.depths) + max(0, growth)


class Ledger:
    """State behind the control routes. `pin_budget` in tokens; pins beyond it rank as unpinned."""

    def __init__(self, pin_budget: int) -> None:
        self.pin_budget = pin_budget
        self.fence = (0, 0)
        self.distances: dict[str, float] = {}
        self.adapters: dict[str, float] = {}
        """Distances of adapters, by name."""
        self.pinned_adapters: frozenset[str] = frozenset()
        self.no_host_copy: frozenset[str] = frozenset()
        """Owners whose prefixes are not copied to host memory."""
        self.ready_first = False
        self.plan_beats = 0
        self.pins: dict[str, int] = {}
        self.owners: OrderedDict[str, _Owner] = OrderedDict()
        self.plans_taken = 0
        self._pinned_within_budget: frozenset[str] = frozenset()
        self._settled = True

    # --- control ---------------------------------------------------------------------------------------------------

    def admit(self, fence: tuple[int, int], *, ordered: bool = True) -> None:
        """Takes the fence of a call, or raises `FenceLost`. An equal one is a repetition: every call is idempotent.

        Of a call that is not `ordered` only the token counts: it may overtake others of the same proxy, which must not
        find their own fence gone by then.
        """
        if fence < self.fence and (ordered or fence[0] < self.fence[0]):
            raise FenceLost(self.fence)
        self.fence = max(self.fence, fence if ordered else (fence[0], 0))

    def set_plan(
        self,
        distances: dict[str, float],
        adapters: dict[str, float] | None = None,
        pinned_adapters: Iterable[str] = (),
        no_host_copy: Iterable[str] = (),
        ready_first: bool = False,
    ) -> None:
        """Replaces the plan as a whole; an empty one gives the memory back to recency."""
        self.distances = distances
        self.adapters = adapters or {}
        self.pinned_adapters = frozenset(pinned_adapters)
        self.no_host_copy = frozenset(no_host_copy)
        self.ready_first = ready_first
        self.plan_beats = PLAN_BEATS if self._has_plan() else 0
        self.plans_taken += 1
        self._settled = False

    def _has_plan(self) -> bool:
        return bool(
            self.distances or self.adapters or self.pinned_adapters or self.no_host_copy or self.ready_first
        )

    def renew(self) -> None:
        if self._has_plan():
            self.plan_beats = PLAN_BEATS
        for owner in self.pins:
            self.pins[owner] = PLAN_BEATS

    def pin(self, owners: Iterable[str]) -> None:
        """Beyond MAX_PINS the pin longest in force goes."""
        for owner in owners:
            self.pins.pop(owner, None)
            self.pins[owner] = PLAN_BEATS
            if len(self.pins) > MAX_PINS:
                del self.pins[next(iter(self.pins))]
        self._settled = False

    def unpin(self, owners: Iterable[str]) -> None:
        for owner in owners:
            self.pins.pop(owner, None)
        self._settled = False

    def beat(self) -> bool:
        """One beat passes. Returns whether anything is still in force and needs further beats."""
        if self.plan_beats:
            self.plan_beats -= 1
            if not self.plan_beats:
                self.set_plan({})
        for owner in [owner for owner, left in self.pins.items() if left <= 1]:
            del self.pins[owner]
        for owner in self.pins:
            self.pins[owner] -= 1
        self._settled = False
        return bool(self.plan_beats or self.pins)

    def forget(self) -> None:
        """The cache was flushed: what was learned of prompts goes with it, the commands stay."""
        self.owners.clear()

    @property
    def plan_in_force(self) -> bool:
        return self.plan_beats > 0

    # --- requests --------------------------------------------------------------------------------------------------

    def note_prompt(self, owner: str, prompt: Sequence[int]) -> int:
        """A request of `owner` entered the cache for the first time. Returns its ordinal, for `tag`.

        Learns how much of the owner's prompts comes back: the common prefix of this prompt and the one before it.
        """
        known = self.owners.get(owner)
        if known is None:
            known = self.owners[owner] = _Owner()
            if len(self.owners) > MAX_OWNERS:
                self.owners.popitem(last=False)
        else:
            self.owners.move_to_end(owner)
        blocks = _block_sums(prompt)
        if known.calls:
            same = 0
            for before, now in zip(known.blocks, blocks, strict=False):
                if before != now:
                    break
                same += 1
            known.depths.append(same * BLOCK_TOKENS)
        known.blocks = blocks
        known.calls += 1
        return known.calls

    def calls_of(self, owner: str) -> int:
        """The ordinal of the owner's last request; 0 if none is known."""
        known = self.owners.get(owner)
        return 0 if known is None else known.calls

    def reusable_depth(self, owner: str) -> int:
        """Tokens from the root that the owner's next prompt is expected to share with its last ones."""
        known = self.owners.get(owner)
        return WHOLE if known is None else known.reusable_depth()

    def note_node(self, owner: str, node: int) -> None:
        """The owner's memory is in this node, too. Of too many, the one noted longest ago is forgotten."""
        known = self.owners.get(owner)
        if known is not None:
            known.nodes.pop(node, None)
            known.nodes[node] = None
            if len(known.nodes) > MAX_OWNER_NODES:
                del known.nodes[next(iter(known.nodes))]

    def nodes_of(self, owner: str) -> dict[int, None]:
        """Ids of the nodes noted for the owner; whoever finds one gone may delete it here."""
        known = self.owners.get(owner)
        return {} if known is None else known.nodes

    def tag(self, tags: Tags, owner: str, ordinal: int) -> None:
        """The owner's request number `ordinal` passed the node."""
        if owner in tags.owners or len(tags.owners) < MAX_NODE_OWNERS:
            if owner not in tags.owners:
                tags.count += 1
            tags.owners[owner] = ordinal
            return
        tags.count += 1
        farthest = max(tags.owners, key=self._distance)
        if self._distance(owner) < self._distance(farthest):
            del tags.owners[farthest]
            tags.owners[owner] = ordinal

    # --- ranking ---------------------------------------------------------------------------------------------------

    def settle_pins(self, tokens_of: Callable[[], dict[str, int]]) -> None:
        """Grants pins, nearest owner first, to all that the budget has room for. To be called before each eviction.

        `tokens_of` counts the resident tokens of each pinned owner, which is a walk over the cache: it is asked only when
        the plan or the pins changed, and once a beat.
        """
        if self._settled:
            return
        self._settled = True
        granted = []
        left = self.pin_budget
        tokens = tokens_of() if self.pins else {}
        for owner in sorted(self.pins, key=lambda owner: (self._distance(owner), owner)):
            if tokens.get(owner, 0) <= left:
                left -= tokens.get(owner, 0)
                granted.append(owner)
        self._pinned_within_budget = frozenset(granted)

    def rank(self, tags: Tags | None, own: Any) -> Rank:
        """The place of a node in the order of eviction; `own` is what the engine itself would rank it by.

        Without plan and pins, and for nodes that are nobody's any more, that alone counts: what lies beyond an owner's
        reusable depth, or off the path of its last requests, is worth nothing to it.
        """
        if tags is None or not tags.owners or not (self.plan_beats or self.pins):
            return (0, 0.0, own)
        nearest = None
        for owner, ordinal in tags.owners.items():
            if not self.is_live(owner, ordinal, tags.start):
                continue
            if owner in self._pinned_within_budget and owner in self.pins:
                return (2, 0.0, own)
            distance = self.distances.get(owner)
            if distance is not None and (nearest is None or distance < nearest):
                nearest = distance
        if nearest is None:
            return (0, 0.0, own)
        return (1, -nearest, own)

    def rank_adapter(self, name: str, own: Any) -> Rank:
        """The place of an adapter in the order of leaving; `own` is what the engine itself would rank it by."""
        if name in self.pinned_adapters:
            return (2, 0.0, own)
        distance = self.adapters.get(name)
        return (0, 0.0, own) if distance is None else (1, -distance, own)

    def is_live(self, owner: str, ordinal: int, start: int) -> bool:
        """Whether the owner's next prompt is expected to pass a node that begins at `start` and that its request
        number `ordinal` was the last to pass."""
        known = self.owners.get(owner)
        if known is None or known.calls - ordinal >= LIVE_CALLS:
            return False
        return start < known.reusable_depth()

    def _distance(self, owner: str) -> float:
        return self.distances.get(owner, float("inf"))

    def sizes(self) -> dict[str, int]:
        return {
            "plan": len(self.distances),
            "pins": len(self.pins),
            "owners": len(self.owners),
            "adapters": len(self.adapters),
        }


def _block_sums(prompt: Sequence[int]) -> array[int]:
    """One checksum per whole block of the prompt. A collision costs a wrong guess of depth, nothing else."""
    tokens = prompt if isinstance(prompt, array) else array("q", prompt)
    raw = memoryview(tokens).cast("B")
    step = BLOCK_TOKENS * tokens.itemsize
    return array("L", (zlib.crc32(raw[at : at + step]) for at in range(0, len(raw) - step + 1, step)))

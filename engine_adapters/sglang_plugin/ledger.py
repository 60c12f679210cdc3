"""What an engine knows of owners: the plan, pins, their ageing, and which part of each owner's prompt comes back.

Pure, and a function of the messages and requests alone: no clock, no randomness, so that all tensor-parallel ranks,
which see the same ones in the same order, agree. `cache` asks it for the rank of each node; the emulated engine uses
the same class, so that both evict alike.

How long a plan lives is counted in *beats*. Beats are messages too (sent by the engine's HTTP process while something
is in force), and a renewal by the proxy starts the count anew: a proxy that dies takes its plan along.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from .wire import FenceLost

PLAN_BEATS = 10
"""Beats (seconds) that a plan or a pin lives without a renewal."""
SLIVER_TOKENS = 4
"""Pieces smaller than this are not worth a node of their own, nor to keep a long one for."""
MISSED_TOKENS = 64
"""A call that had to bring back fewer than this itself did not miss its prefix: how far the next prompt goes is a guess."""
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
"""Smaller leaves earlier: (class, -distance, the engine's own rank). Class 2 pinned, 1 may be of use again, 0 is not."""


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
    __slots__ = ("calls", "depths", "marks", "nodes")

    def __init__(self) -> None:
        self.calls = 0
        self.marks = b""
        """Of its last prompt."""
        self.depths: deque[int] = deque(maxlen=LIVE_CALLS)
        self.nodes: dict[int, None] = {}
        """Ids, the one noted longest ago first; some may be gone from the cache."""

    def reusable_depth(self, usual_growth: int) -> int:
        """A history that grew from one prompt to the next grows by as much again: what the last prompt had of it is
        shared for the first time by the prompt that comes. Two prompts do not show whether it grows: as others do, then."""
        if not self.depths:
            return WHOLE
        growth = self.depths[-1] - self.depths[-2] if len(self.depths) > 1 else usual_growth
        return max(self.depths) + max(0, growth)

    def live_depth(self, ordinal: int, usual_growth: int) -> int:
        """How much of what its request of that number was the last to pass is expected to come back. Once a later one has
        taken another way, only what was shared by then: the rest was that request's alone, however far prompts share now."""
        later = self.calls - ordinal
        if later <= 0:
            return self.reusable_depth(usual_growth)
        return max(islice(self.depths, max(0, len(self.depths) - later)), default=0)


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
        self.by_recency = False
        """All are equally far."""
        self.plan_beats = 0
        self.pins: dict[str, int] = {}
        self.owners: OrderedDict[str, _Owner] = OrderedDict()
        self.plans_taken = 0
        self._growth = 0
        """Of the last history that was seen to grow, whoever's."""
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
        by_recency: bool = False,
    ) -> None:
        """Replaces the plan as a whole; an empty one gives the memory back to the engine. With `by_recency` and no distances
        what was used longest ago leaves first as well, but only after what is of no use to anybody."""
        self.distances = distances
        self.adapters = adapters or {}
        self.pinned_adapters = frozenset(pinned_adapters)
        self.no_host_copy = frozenset(no_host_copy)
        self.ready_first = ready_first
        self.by_recency = by_recency
        self.plan_beats = PLAN_BEATS if self._has_plan() else 0
        self.plans_taken += 1
        self._settled = False

    def _has_plan(self) -> bool:
        memory = self.distances or self.by_recency or self.no_host_copy
        return bool(memory or self.adapters or self.pinned_adapters or self.ready_first)

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
    def _orders(self) -> bool:
        """Whether anything is in force that says how prefixes leave."""
        return bool(self.distances) or self.by_recency

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
        marks = _marks(prompt)
        if known.calls:
            known.depths.append(_common_length(known.marks, marks))
            if len(known.depths) > 1 and known.depths[-1] > known.depths[-2]:
                self._growth = known.depths[-1] - known.depths[-2]
        known.marks = marks
        known.calls += 1
        return known.calls

    def calls_of(self, owner: str) -> int:
        """The ordinal of the owner's last request; 0 if none is known."""
        known = self.owners.get(owner)
        return 0 if known is None else known.calls

    def reusable_depth(self, owner: str) -> int:
        """Tokens from the root that the owner's next prompt is expected to share with its last ones."""
        known = self.owners.get(owner)
        return WHOLE if known is None else known.reusable_depth(self._growth)

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

        Without an order and pins that alone counts. Else what is nobody's any more leaves first: what lies beyond an owner's
        reusable depth, or off the path of its last requests, is worth nothing to it. Then what the order does not name, of
        which anything may be true.
        """
        if tags is None or not tags.owners or not (self._orders or self.pins):
            return self._rank_at(math.inf, own)
        nearest = None
        for owner, ordinal in tags.owners.items():
            if not self.is_live(owner, ordinal, tags.start):
                continue
            if owner in self._pinned_within_budget and owner in self.pins:
                return (2, 0.0, own)
            distance = self._distance(owner)
            if nearest is None or distance < nearest:
                nearest = distance
        return (0, 0.0, own) if nearest is None else self._rank_at(nearest, own)

    def rank_adapter(self, name: str, own: Any) -> Rank:
        """The place of an adapter in the order of leaving; `own` is what the engine itself would rank it by."""
        if name in self.pinned_adapters:
            return (2, 0.0, own)
        return self._rank_at(self.adapters.get(name, math.inf), own)

    def rank_private(self, owner: str, own: Any) -> Rank:
        """The same for memory that only one owner uses, and whole."""
        return self._rank_at(self._distance(owner), own)

    def _rank_at(self, distance: float, own: Any) -> Rank:
        """Of what may be of use again."""
        return (1, -distance, own) if distance < math.inf or self._orders else (0, 0.0, own)

    def is_live(self, owner: str, ordinal: int, start: int) -> bool:
        """Whether the owner's next prompt is expected to pass a node that begins at `start` and that its request
        number `ordinal` was the last to pass: more than a sliver of it."""
        known = self.owners.get(owner)
        return known is not None and start + SLIVER_TOKENS <= known.live_depth(ordinal, self._growth)

    def _distance(self, owner: str) -> float:
        return self.distances.get(owner, math.inf)

    def sizes(self) -> dict[str, int]:
        return {
            "plan": len(self.distances),
            "pins": len(self.pins),
            "owners": len(self.owners),
            "adapters": len(self.adapters),
        }


def _marks(prompt: Sequence[int]) -> bytes:
    """The lowest byte of each token. Two tokens that share it cost a wrong guess of depth, nothing else."""
    tokens = prompt if isinstance(prompt, array) else array("q", prompt)
    lowest = 0 if sys.byteorder == "little" else tokens.itemsize - 1
    return bytes(memoryview(tokens).cast("B")[lowest :: tokens.itemsize])


def _common_length(one: bytes, other: bytes) -> int:
    """Slices compare at the speed of C."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low

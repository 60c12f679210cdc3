"""SGLang's unified radix cache, with owners: whose a node is, and an order of eviction that follows the plan.

Runs in the scheduler process. All decisions are the ledger's; here are the hooks into the tree. Nothing in here may
raise into the scheduler's loop, and no lock is ever held for a pin: hard pins deadlocked upstream (sglang #18941,
#21884, #27024), so a pin is only a rank.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from sglang.srt.mem_cache.evict_policy import EvictionStrategy
from sglang.srt.mem_cache.registry import create_unified_radix_cache, default_radix_cache_factory
from sglang.srt.mem_cache.unified_cache.cache_action import BackupKV
from sglang.srt.mem_cache.unified_cache.components import ComponentType, FullComponent
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache
from sglang.srt.runtime_context import get_memory

from .ledger import SLIVER_TOKENS, WHOLE, Ledger, Rank, Tags
from .prefixes import PrefixLoads
from .wire import MAX_OWNER_CHARS

logger = logging.getLogger(__name__)

FULL = ComponentType.FULL
_TAGS = "scalesim"
_BEFORE = 0.00001
"""By which SGLang stamps a parent earlier than its child."""
PIN_SHARE = 0.5
"""Of the cache's capacity: what pins may hold at most."""
TRIM_TOKENS = 128
"""The last victim of an eviction loses its tail in pieces of at least this size, so that victims are not chopped up."""


def build(ctx: Any) -> Any:
    """The factory behind `--radix-cache-backend scalesim`; SGLang's own choice where that is another kind of cache."""
    memory = get_memory()
    if (
        ctx.disable_radix_cache
        or memory.enable_lmcache
        or memory.enable_flexkv
        or memory.enable_unified_cache_external_linker
        or (ctx.is_hybrid_swa and ctx.full_tokens_per_layer == 0)
    ):
        logger.warning("ScaleSim stays out: this server's options ask for another kind of prefix cache")
        return default_radix_cache_factory(ctx)
    ctx.params.component_registry_override = {
        **(ctx.params.component_registry_override or {}),
        FULL: OwnedFull,
    }
    # Only the Python tree takes a foreign order of eviction and foreign components.
    ctx.params.tree_core_backend = "python"
    cache = create_unified_radix_cache(ctx, cache_class=OwnedRadixCache)
    cache.tree_core.eviction_strategy = ByLedger(cache.ledger, cache.tree_core.eviction_strategy)
    return cache


def _tags_of(node: Any) -> Tags | None:
    tags: Tags | None = node.component_data[FULL].metadata.get(_TAGS)
    return tags


def _split_unseen(tree_core: Any, node: Any, tokens: int) -> list[Any]:
    """Splits a node after `tokens`, and answers what the cache has to do for it. Recency stays as it was.

    SGLang's split counts as an access; here nobody asked for the node, and the rest of the oldest one must not look newest.
    """
    stamp = node.last_access_time
    upper, action = tree_core._split_node(node.key, node, tokens)
    node.last_access_time = stamp
    upper.last_access_time = stamp - _BEFORE
    return [] if action is None else [action]


class ByLedger(EvictionStrategy):
    """The plan first; among equals, and without a plan, the policy that the server was started with."""

    def __init__(self, ledger: Ledger, own: EvictionStrategy) -> None:
        self._ledger = ledger
        self._own = own

    def get_priority(self, node: Any) -> Rank:
        return self._ledger.rank(_tags_of(node), self._own.get_priority(node))


class OwnedFull(FullComponent):
    """Keeps tags over node splits, settles pins before an eviction, and trims the last victim."""

    def redistribute_on_node_split(self, new_parent: Any, child: Any) -> None:
        super().redistribute_on_node_split(new_parent, child)
        tags = _tags_of(child)
        if tags is not None:
            upper = new_parent.component_data[FULL].metadata[_TAGS] = tags.split_at(len(new_parent.key))
            for owner in upper.owners:
                self.cache.ledger.note_node(owner, new_parent.id)
            self.cache.prefixes.node_split(upper.owners, new_parent, child)

    def _evict_device_start(self, request_cnt: int) -> None:
        self.cache.settle_pins()
        super()._evict_device_start(request_cnt)

    def _evict_device_next_node(
        self, tracker: Any, device_frees: Any, host_frees: Any, cache_actions: list[Any]
    ) -> int | None:
        victim_id: int | None = super()._evict_device_next_node(
            tracker, device_frees, host_frees, cache_actions
        )
        if victim_id is None:
            return None
        self._make_smaller(victim_id, tracker, cache_actions)
        self.cache.prefixes.evicted(self.tree_core.node_by_id(victim_id))
        return victim_id

    def _make_smaller(self, victim_id: int, tracker: Any, cache_actions: list[Any]) -> None:
        if not self.cache.may_split or not self.cache.ledger.plan_in_force:
            return
        # SGLang evicts whole nodes: asked for 300 tokens it would drop an agent's whole prefix of 2,000. The part
        # that nobody asked for stays. The victim keeps its id, the part that stays becomes its parent.
        victim = self.tree_core.node_by_id(victim_id)
        missing = max(self.cache.shortfall - tracker[FULL], 1)
        grain = max(TRIM_TOKENS, self.cache.page_size)
        keep = len(victim.key) - -(-missing // grain) * grain
        keep -= keep % self.cache.page_size
        if keep >= grain:
            cache_actions.extend(_split_unseen(self.tree_core, victim, keep))


class OwnedRadixCache(UnifiedRadixCache):
    """`shortfall` is how many tokens the eviction under way was asked for."""

    steps: Any = None
    """What is done between two steps of the scheduler. None: not set up yet; False: that failed."""

    def __init__(self, params: Any) -> None:
        self.capacity_tokens = int(params.token_to_kv_pool_allocator.size)
        self.ledger = Ledger(pin_budget=int(self.capacity_tokens * PIN_SHARE))
        self.shortfall = 0
        self.tagging_error = ""
        self.prefixes = PrefixLoads(self, self.ledger, _tags_of, self._split)
        super().__init__(params)
        # State of other kinds (Mamba, sliding windows) cannot be cut anywhere; SGLang's own splits make the same exception.
        self.may_split = len(self._components_tuple) == 1

    def reset(self) -> None:
        super().reset()
        self.ledger.forget()
        self.prefixes.forget()
        if self.steps:
            self.steps.loads.forget()

    def settle_pins(self) -> None:
        self.ledger.settle_pins(lambda: self.tokens_of_owners(self.ledger.pins))

    def start_load_ahead(self) -> int:
        """Starts the copies that `load_back` queued; their producer index."""
        return int(super().ready_to_load_host_cache())

    def _apply_cache_action(self, action: Any) -> None:
        # The copy of a prefix to host memory, where its owner is to have none: it is computed anew instead.
        if isinstance(action, BackupKV) and self.insert_session_id in self.ledger.no_host_copy:
            return
        super()._apply_cache_action(action)

    def _evict(
        self, params: Any, available_size_targets: Any = None, *, allocation_reclaim_satisfied: Any = None
    ) -> Any:
        self.shortfall = params.num_tokens
        return super()._evict(
            params, available_size_targets, allocation_reclaim_satisfied=allocation_reclaim_satisfied
        )

    def checkpoint_into_tree(self, req: Any, *, up_to: int, **kwargs: Any) -> None:
        super().checkpoint_into_tree(req, up_to=up_to, **kwargs)
        if self.disable or req.session_id is None or req.last_node is None:
            return
        if len(req.session_id) > MAX_OWNER_CHARS:
            return
        try:
            self._tag_path(req)
        except Exception as exc:
            if not self.tagging_error:
                logger.exception("ScaleSim could not tag a request's path; eviction goes on without")
            self.tagging_error = repr(exc)

    def _tag_path(self, req: Any) -> None:
        owner: str = req.session_id
        ordinal = getattr(req, "scalesim_ordinal", None)
        if ordinal is None:
            # A request that generates nothing warms a prefix up: it says nothing of what the owner's calls look like.
            is_warm_up = req.sampling_params.max_new_tokens == 0 and self.ledger.calls_of(owner)
            ordinal = req.scalesim_ordinal = is_warm_up or self.ledger.note_prompt(
                owner, req.origin_input_ids
            )
        path = []
        node = self.tree_core.node_by_id(req.last_node)
        while node is not self.tree_core.root_node:
            path.append(node)
            node = node.parent
        depth = self.ledger.reusable_depth(owner)
        start = 0
        for node in reversed(path):
            end = start + len(node.key)
            tags = _tags_of(node)
            if tags is None:
                tags = node.component_data[FULL].metadata[_TAGS] = Tags(start)
            self.ledger.tag(tags, owner, ordinal)
            self.ledger.note_node(owner, node.id)
            if depth < WHOLE and start < depth < end:
                self._split_at_depth(node, depth - start)
            start = end

    def _split_at_depth(self, node: Any, tokens: int) -> None:
        """Makes what is not expected back a node of its own, so that it can leave alone. Slivers are not worth it."""
        tokens -= tokens % self.page_size
        if not self.may_split or tokens < SLIVER_TOKENS or len(node.key) - tokens < SLIVER_TOKENS:
            return
        self._split(node, tokens)

    def _split(self, node: Any, tokens: int) -> None:
        self._apply_cache_actions(_split_unseen(self.tree_core, node, tokens))

    # --- what the control routes ask -------------------------------------------------------------------------------

    def nodes(self) -> Iterator[Any]:
        root = self.tree_core.root_node
        return (node for node in self.tree_core._node_arena.values() if node is not root)

    def tokens_of_owners(self, wanted: Any) -> dict[str, int]:
        """Device tokens per owner out of `wanted`; a node with several owners counts for each."""
        tokens: dict[str, int] = {}
        for node in self.nodes():
            tags = _tags_of(node)
            if tags is not None and node.component_data[FULL].value is not None:
                for owner in tags.owners:
                    if owner in wanted:
                        tokens[owner] = tokens.get(owner, 0) + len(node.key)
        return tokens

    def residency(self, only: str | None) -> dict[str, Any]:
        """Tokens per owner on the device and on the host, and those on the device that nobody owns."""
        owners: dict[str, dict[str, Any]] = {}
        unowned = 0
        for node in self.nodes():
            data = node.component_data[FULL]
            on_device = len(node.key) if data.value is not None else 0
            on_host = len(node.key) if data.host_value is not None else 0
            tags = _tags_of(node)
            if tags is None or not tags.owners:
                unowned += on_device
                continue
            for owner in tags.owners:
                if only is None or owner == only:
                    entry = owners.setdefault(
                        owner, {"device_tokens": 0, "host_tokens": 0, "pinned": owner in self.ledger.pins}
                    )
                    entry["device_tokens"] += on_device
                    entry["host_tokens"] += on_host
        return {"owners": owners, "unowned_tokens": unowned}

    def evict_owners(self, owners: frozenset[str]) -> int:
        """Gives up what belongs to these owners alone and is not in use. Returns the tokens freed."""
        tracker = dict.fromkeys(self.tree_core.component_types, 0)

        def leaves_of(nodes: Iterable[Any]) -> list[Any]:
            theirs = [
                leaf
                for leaf in nodes
                if leaf in self.tree_core.evictable_device_leaves
                and (tags := _tags_of(leaf)) is not None
                and tags.owners
                and tags.count == len(tags.owners)
                and owners.issuperset(tags.owners)
            ]
            # All ranks must free in the same order, and a set has none.
            return sorted(theirs, key=lambda leaf: leaf.id)

        leaves = leaves_of(self.tree_core.evictable_device_leaves)
        while leaves:
            parents = {leaf.parent.id: leaf.parent for leaf in leaves}
            for leaf in leaves:
                # Write-back wants a copy on the host first: such a leaf is left to the ordinary eviction.
                if self._evict_device_leaf(leaf.id, tracker) is None:
                    self.prefixes.evicted(leaf)
            leaves = leaves_of(parents.values())
        return int(tracker[FULL])

    def stats(self) -> dict[str, Any]:
        ledger = self.ledger
        pinned = self.tokens_of_owners(ledger.pins) if ledger.pins else {}
        return {
            "plan_in_force": ledger.plan_in_force,
            "plan_owners": len(ledger.distances),
            "pins": sorted(ledger.pins),
            "pinned_tokens": sum(pinned.values()),
            "pin_budget_tokens": ledger.pin_budget,
            "capacity_tokens": self.capacity_tokens,
            "available_tokens": int(self.token_to_kv_pool_allocator.available_size()),
            "evictable_tokens": int(self.evictable_size()),
            "fence": list(ledger.fence),
            "tables": {**ledger.sizes(), "nodes": len(self.tree_core._node_arena)},
            "tagging_error": self.tagging_error,
        }

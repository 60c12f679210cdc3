"""Whether a call found its agent's memory on the device, and if not, why: a judgement, from what was known when it started.

What nothing tells is `UNKNOWN`. Residency is believed (`residency.py`): an eviction since the last report is not known.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from .model import AdapterName, EngineId, Usage


class Cause(StrEnum):
    NEVER_SEEN = "never_seen"
    """The agent's first call on that engine, as far as is known."""
    ENGINE_RESTARTED = "engine_restarted"
    """Since its last call."""
    PREFIX_CHANGED = "prefix_changed"
    """Its memory was there and the prompt began otherwise, or ran on another adapter than its last one."""
    PREFETCH_LATE = "prefetch_late"
    """Its memory was on its way, or waited for its turn."""
    PREFETCH_REFUSED = "prefetch_refused"
    """There was no copy or no room, or the load failed."""
    EVICTED_NEAR = "evicted_near"
    """By its distance it would have stayed: recency was in charge, sizes were wrong, or others took the room."""
    EVICTED_FAR = "evicted_far"
    """By its distance it had to leave, for all that was nearer."""
    ADAPTER_MISSING = "adapter_missing"
    """Its prefix was there, and its adapter in no slot."""
    UNKNOWN = "unknown"


class Place(StrEnum):
    """Where most of a prefix is, by the engine's last report."""

    DEVICE = "device"
    HOST = "host"
    """A call has to wait for a copy of it, though it counts as cached."""


class LastCall(NamedTuple):
    """What the last call of an agent that was answered whole has left behind."""

    engine: EngineId
    boot_id: str | None
    adapter: AdapterName | None
    reusable_tokens: int | None
    """About the most that its calls found in the cache lately; None: none found anything."""


class Found(NamedTuple):
    """What was known of an agent's memory on its engine when a call of it started."""

    last: LastCall | None
    seen: bool
    """That last call went to this engine."""
    adapter: AdapterName | None
    """On which the call runs."""
    size_tokens: int | None
    rank: int | None
    """In the engine's order, 0 the nearest; None: not in it."""
    prefix: Place | None
    """None: the engine did not say."""
    adapter_missing: bool
    """It runs on one that is in no slot, by the engine's last report."""
    coming: bool
    refused: bool
    kept_by_distance: bool | None
    """Its memory would be there if distance alone had decided; None: that is not played."""

    def expected_tokens(self, prompt_tokens: int) -> int:
        """What of the prompt should be cached: as much as calls of the agent found lately, or else all that its earlier
        calls left behind."""
        known = None if self.last is None else self.last.reusable_tokens
        known = self.size_tokens if known is None else known
        return prompt_tokens if known is None else min(prompt_tokens, known)

    def is_short(self, usage: Usage | None) -> bool:
        """Less than half of what was expected was cached: prompts differ, and what an answer left may not come back."""
        if usage is None or usage.cached is None:
            return False
        return usage.cached * 2 < self.expected_tokens(usage.prompt)

    def cause(self, usage: Usage | None, boot_id: str | None) -> Cause | None:
        """Of the miss, if the call was one. `boot_id` is the engine's by the time the call ended."""
        if not self.is_short(usage) and self.prefix is not Place.HOST:
            return Cause.ADAPTER_MISSING if self.adapter_missing else None
        if self.last is None or not self.seen:
            return Cause.NEVER_SEEN
        if self.last.boot_id != boot_id:
            return Cause.ENGINE_RESTARTED
        if self.last.adapter != self.adapter or self.prefix is Place.DEVICE:
            return Cause.PREFIX_CHANGED
        if self.coming:
            return Cause.PREFETCH_LATE
        if self.refused:
            return Cause.PREFETCH_REFUSED
        if self.kept_by_distance is None:
            return Cause.UNKNOWN
        return Cause.EVICTED_NEAR if self.kept_by_distance else Cause.EVICTED_FAR

    def left(
        self, engine: EngineId, boot_id: str | None, usage: Usage | None, cause: Cause | None
    ) -> LastCall:
        """What the next call of the agent may expect."""
        known = None if self.last is None else self.last.reusable_tokens
        if usage is not None and usage.cached is not None:
            if cause is Cause.PREFIX_CHANGED:
                known = usage.cached or None
            elif not self.is_short(usage):
                # As with sizes: a short call between long ones says nothing of what these find.
                known = max(usage.cached, (known or 0) - (known or 0) // 8) or None
        return LastCall(engine, boot_id, self.adapter, known)

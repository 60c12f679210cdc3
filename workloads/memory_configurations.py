"""The configurations of the memory benchmark. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .builds import Flavour
from .configurations import ALL_PARTS, CONFIGURATIONS, Configuration
from .program import Impossible, Told

REFERENCE = "hicache"
STOCK = "stock"


def _ours(about: str, *parts: str, host_tier: bool = True) -> Configuration:
    """With only these parts of memory control, and distances."""
    return Configuration(
        about, Flavour.EXTENDED, mode="on", told=Told.EXACT, host_tier=host_tier, parts=parts
    )


def _stock(
    about: str, *, host_tier: bool = False, overlap: bool = False, settings: tuple[str, ...] = ()
) -> Configuration:
    return Configuration(
        about, Flavour.STOCK, mode=None, host_tier=host_tier, overlap=overlap, settings=settings
    )


WITH_HOST_TIER: Mapping[str, Configuration] = {
    STOCK: _stock("SGLang, prefixes on the device only"),
    REFERENCE: _stock(
        "SGLang with a copy of prefixes in host memory, loaded when a call asks", host_tier=True
    ),
    "best": _stock(
        "hicache, and adapters move beside computing; SGLang then holds at most two per slot in host memory, and reads"
        " the others from disk again",
        host_tier=True,
        overlap=True,
    ),
    "order": _ours("the farthest leaves first, nothing else", "order"),
    "prefixes": _ours("prefixes come before the call", "prefixes"),
    "adapters": _ours("adapters come before the call", "adapters"),
    "pin": _ours("who is in an activation is pinned", "pin"),
    "prefetch": _ours("prefixes and adapters come before the call", "prefixes", "adapters"),
    "preempt": _ours("prefetch, and nearer loads interrupt farther", "prefixes", "adapters", "preempt"),
    "ready": _ours("whose memory is ready goes first", "ready_first"),
    "all": _ours("every part", *ALL_PARTS),
}

STOCK_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "lpm": ("--schedule-policy", "lpm"),
    "dfs-weight": ("--schedule-policy", "dfs-weight"),
    "lfu": ("--radix-eviction-policy", "lfu"),
    "slru": ("--radix-eviction-policy", "slru"),
    "mixed-chunk": ("--enable-mixed-chunk",),
    "lora-fifo": ("--lora-eviction-policy", "fifo"),
}
"""What SGLang offers to be set that has to do with whose memory stays and who goes first."""

SEARCHED: Mapping[str, Configuration] = {
    prefix + name: _stock(f"{base} with {' '.join(flags)}", host_tier=True, overlap=overlap, settings=flags)
    for prefix, base, overlap in (("", REFERENCE, False), ("overlap-", "best", True))
    for name, flags in STOCK_SETTINGS.items()
}
"""Candidates for `best`, played only when asked for."""

WITHOUT_HOST_TIER: Mapping[str, Configuration] = {
    STOCK: _stock("SGLang, prefixes on the device only"),
    "order": _ours("the farthest leaves first, nothing else", "order", host_tier=False),
    "warm-up": _ours(
        "order, and prefixes are prefilled again before the call", "order", "warm_up", host_tier=False
    ),
    "all-no-host": _ours("every part", *ALL_PARTS, host_tier=False),
}


PART_BY_PART = "independent"
"""The scenario on which each part of memory control is measured by itself; on others, all parts together."""
TOGETHER = (STOCK, REFERENCE, "best", "all")


def configurations(host_tier: bool, told: Told = Told.EXACT) -> Mapping[str, Configuration]:
    """`told` is what the simulation tells wherever it tells anything."""
    known = {**WITH_HOST_TIER, **SEARCHED} if host_tier else WITHOUT_HOST_TIER
    return {name: one if one.told is None else replace(one, told=told) for name, one in known.items()}


def usual(host_tier: bool, scenario: str) -> tuple[str, ...]:
    """Those that are played when nobody names any."""
    if not host_tier:
        return tuple(WITHOUT_HOST_TIER)
    return tuple(WITH_HOST_TIER) if scenario == PART_BY_PART else TOGETHER


def refuse_those_of_memory(names: tuple[str, ...]) -> None:
    """For a comparison without adapters. Raises `Impossible` that says where they are played."""
    of_memory = {**configurations(True), **configurations(False)}
    if found := [name for name in names if name in of_memory and name not in CONFIGURATIONS]:
        raise Impossible(
            f"{', '.join(found)}: `bench-memory` plays that, where every agent has an adapter and a turn is a whole play"
        )


def reference_first(names: tuple[str, ...]) -> tuple[str, ...]:
    """As they are played: the reference is `hicache`, or else the first."""
    if REFERENCE not in names:
        return names
    return (REFERENCE, *(name for name in names if name != REFERENCE))

"""How one device's memory is shared between adapters and prefixes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .variant import Study, Variant, loaded

SLOTS = (20, 30, 40, 50, 60)
BOTH = "all for both"


def _variants(seed: int) -> Iterator[Variant]:
    for policy in ("stock", "nearest_first"):
        ground = loaded(seed, policy=policy)
        sizes, token_bytes = ground.setting.sizes, ground.setting.costs.bytes_per_token
        together = sizes.capacity_tokens * token_bytes + sizes.slots * sizes.adapter_bytes
        for slots in SLOTS:
            left = (together - slots * sizes.adapter_bytes) // token_bytes
            split = replace(sizes, slots=slots, capacity_tokens=left)
            yield ground.but({"policy": policy, "slots": slots}, sizes=split)
        everything = replace(
            sizes, slots=together // sizes.adapter_bytes, capacity_tokens=together // token_bytes
        )
        yield ground.but({"policy": policy, "slots": BOTH}, sizes=everything)


STUDY = Study(
    "Adapters and prefixes share one device",
    "Independent agents with an adapter of rank 64 each. Slots and prefixes share the bytes of 50 slots and a quarter of the prefixes;"
    " host memory has copies of both; 0.1 s for each load. All for both: each kind has all of it for itself, which"
    " is better than any way to share it, also than one budget.",
    lambda seed: list(_variants(seed)),
    ("step_s", "ttft_s", "adapters", "on_device", "load", "demand_gb", "ahead_gb"),
)

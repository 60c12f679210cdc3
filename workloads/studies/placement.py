"""The placement rules beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from scalesim.proxy.core import placement

from .variant import Study, Variant, loaded

ENGINES = 4


def _variants(seed: int) -> Iterator[Variant]:
    for policy in ("stock", "nearest_first"):
        ground = loaded(seed, policy=policy)
        whole = ground.setting.sizes
        # All of them together have the room that one has elsewhere.
        sizes = replace(whole, slots=whole.slots // ENGINES, capacity_tokens=whole.capacity_tokens // ENGINES)
        for rule in placement.names():
            names = {"policy": policy, "placement": rule}
            yield ground.but(names, engines=ENGINES, placement=rule, sizes=sizes)


STUDY = Study(
    "Placement rules beside each other",
    "Independent agents with an adapter each on four engines, which together have room for a quarter of the adapters and prefixes;"
    " copies in host memory; 0.1 s for each load.",
    lambda seed: list(_variants(seed)),
    ("step_s", "ttft_s", "adapters", "first_calls", "load", "demand_gb", "ahead_gb", "moves"),
)

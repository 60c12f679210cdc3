"""The placement rules beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from scalesim.proxy.core import placement

from .variant import Study, Variant, loaded

ENGINES = 4
SLOTS = 32
"""For a quarter of the agents together, as elsewhere on one engine."""


def _variants(seed: int) -> Sequence[Variant]:
    return [
        loaded(seed, policy=policy, slots=SLOTS).but(
            {"policy": policy, "placement": rule}, engines=ENGINES, placement=rule
        )
        for policy in ("stock", "nearest_first")
        for rule in placement.names()
    ]


STUDY = Study(
    "Placement rules beside each other",
    "500 independent agents with an adapter each on four engines; on each 32 slots and 80 GB of host memory for prefixes; 0.1 s for"
    " each load.",
    _variants,
    ("step_s", "ttft_s", "adapters", "first_calls", "load", "demand_gb", "ahead_gb", "moves"),
)

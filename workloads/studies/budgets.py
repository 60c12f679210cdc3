"""How one device's memory is shared between adapters and prefixes."""

from __future__ import annotations

from collections.abc import Sequence

from .variant import Study, Variant, loaded

SLOTS = (25, 50, 75, 100, 125, 150)
"""Of 170 that would take all that the weights leave."""


def _variants(seed: int) -> Sequence[Variant]:
    return [
        loaded(seed, policy=policy, slots=slots).but({"policy": policy, "slots": slots})
        for policy in ("stock", "nearest_first")
        for slots in SLOTS
    ]


STUDY = Study(
    "Adapters and prefixes share one device",
    "Independent agents with an adapter of rank 64 each; what the slots leave is for prefixes, whose copies are in 80 GB of host memory;"
    " 0.1 s for each load.",
    _variants,
    ("step_s", "ttft_s", "adapters", "on_device", "load", "demand_gb", "ahead_gb"),
)

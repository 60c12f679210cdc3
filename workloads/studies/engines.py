"""More engines for the same agents, with placement on."""

from __future__ import annotations

from collections.abc import Sequence

from .variant import Study, Variant, loaded

COUNTS = (1, 2, 4, 8)


def _variants(seed: int) -> Sequence[Variant]:
    return [
        loaded(seed, policy=policy).but({"policy": policy, "engines": count}, engines=count)
        for policy in ("stock", "nearest_first")
        for count in COUNTS
    ]


STUDY = Study(
    "More engines for the same agents",
    "500 independent agents with an adapter each; on each engine 125 slots and 80 GB of host memory for prefixes; 0.1 s for each load;"
    " placement by memory in both.",
    _variants,
    ("step_s", "ttft_s", "adapters", "first_calls", "load", "demand_gb", "ahead_gb", "wasted_gb"),
)

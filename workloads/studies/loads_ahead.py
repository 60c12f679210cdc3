"""What share of the loads each policy hides, beside what the link could have had there in time."""

from __future__ import annotations

from collections.abc import Sequence

from .variant import SCENARIOS, Study, Variant, loaded

POLICIES = ("stock", "ttl", "steps_to_execution", "kvflow", "nearest_first", "cost_aware")


def _variants(seed: int) -> Sequence[Variant]:
    return [
        loaded(seed, scenario, policy=policy).but({"scenario": scenario, "policy": policy})
        for scenario in SCENARIOS
        for policy in POLICIES
    ]


STUDY = Study(
    "How much loading each policy hides",
    "An adapter of rank 64 for each agent, 125 slots, 80 GB of host memory for prefixes, 0.1 s for each load as in the paper's"
    " baseline. Hidden: of the link's time for what calls needed, that before they came. Bound: earliest deadline first, of the same loads.",
    _variants,
    (
        "step_s",
        "ttft_s",
        "adapters",
        "load",
        "hidden",
        "could_be_hidden",
        "demand_gb",
        "ahead_gb",
        "wasted_gb",
    ),
)

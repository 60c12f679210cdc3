"""Each policy beside an eviction that knows the future."""

from __future__ import annotations

from collections.abc import Sequence

from scalesim.workloads.replay.world import policy_names

from .variant import SCENARIOS, Study, Variant, recomputed


def _variants(seed: int) -> Sequence[Variant]:
    return [
        recomputed(seed, scenario, policy=policy).but({"policy": policy, "scenario": scenario})
        for policy in policy_names()
        for scenario in SCENARIOS
        # Left alone, an engine is `stock`; without host memory, nothing is loaded ahead.
        if policy not in ("off", "lru", "kvflow")
    ]


STUDY = Study(
    "How near each policy comes to an eviction that knows the future",
    "No host memory, no adapters, exact distances. Belady: token-level MIN with the same room, on the very calls of each play.",
    _variants,
    ("first_calls", "first_of_belady", "all_calls", "all_of_belady", "step_s", "ttft_s"),
)

"""What each source of distances is worth, between recency and an eviction that knows the future."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from scalesim.workloads.program import Told

from .variant import SCENARIOS, Study, Variant, recomputed


def _variants(seed: int) -> Iterator[Variant]:
    for scenario in SCENARIOS:
        ground = recomputed(seed, scenario)
        yield ground.but({"scenario": scenario, "source": "recency"}, policy="stock")
        for source, told in {
            "nothing but calls": Told.NONE,
            "learned, steps told": Told.TICKS,
            "its own state": None,
            "told exactly": Told.EXACT,
        }.items():
            yield replace(ground, names={"scenario": scenario, "source": source}, told=told)
        yield ground.but({"scenario": scenario, "source": "order within steps known"}, policy="belady")


STUDY = Study(
    "What each source of distances is worth",
    "No host memory, no adapters, nearest_first. Its own state: how long actions last, where agents are and go, or who knows whom,"
    " whichever the scenario has. Told exactly: the step of each agent's next activation.",
    lambda seed: list(_variants(seed)),
    ("first_calls", "first_of_belady", "all_calls", "step_s", "ttft_s"),
)

"""What wrong distances cost, with the guard and without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from scalesim.proxy.core.controller import ControllerConfig
from scalesim.workloads.noise import Noise

from .variant import Study, Variant, recomputed

VALUES: Mapping[str, Sequence[float]] = {
    "sigma": (0.5, 1.0, 2.0),
    "early": (0.25, 0.5),
    "every": (2, 5, 10),
    "missing": (0.25, 0.5, 0.75),
    "reversed": (1,),
}


def _variants(seed: int) -> Iterator[Variant]:
    ground = recomputed(seed)
    yield ground.but({"error": "recency", "value": 0, "guard": "none"}, policy="stock")
    yield ground.but({"error": "none", "value": 0, "guard": "yes"})
    for option, values in VALUES.items():
        for value in values:
            for guard in (True, False):
                names: dict[str, str | float] = {
                    "error": option,
                    "value": value,
                    "guard": "yes" if guard else "no",
                }
                noise = Noise.of({option: value, "seed": seed})
                yield replace(ground.but(names, config=ControllerConfig(guard=guard)), noise=noise)


STUDY = Study(
    "What wrong distances cost",
    "No host memory, no adapters; nearest_first with errors in what is told: a lognormal factor (sigma), agents back early (its"
    " probability), told only every so many steps, a share of agents never told of, and the order reversed.",
    lambda seed: list(_variants(seed)),
    ("first_calls", "first_of_belady", "all_calls", "step_s", "ttft_s"),
)

"""Each part of memory control alone, all of them, and all but one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scalesim.proxy.core.controller import ControllerConfig
from scalesim.proxy.core.model import Part

from .variant import SOFTWARE_S, WIRE_S, Study, Variant, loaded

ALL = frozenset({Part.ORDER, Part.PIN, Part.PREFIXES, Part.ADAPTERS, Part.PREEMPT, Part.READY_FIRST})
"""Of those that the model of an engine has."""
LOADS = frozenset({Part.PREFIXES, Part.ADAPTERS})
ALONE: Mapping[str, frozenset[Part]] = {
    "nothing": frozenset(),
    "order": frozenset({Part.ORDER}),
    "pins": frozenset({Part.PIN}),
    "prefixes ahead": frozenset({Part.PREFIXES}),
    "adapters ahead": frozenset({Part.ADAPTERS}),
    "both ahead": LOADS,
    "both ahead, preemption": LOADS | {Part.PREEMPT},
    "ready first": frozenset({Part.READY_FIRST}),
    "all": ALL,
}
ALL_BUT: Mapping[str, frozenset[Part]] = {
    "all but order": ALL - {Part.ORDER},
    "all but pins": ALL - {Part.PIN},
    "all but prefixes": ALL - {Part.PREFIXES},
    "all but adapters": ALL - {Part.ADAPTERS},
    "all but preemption": ALL - {Part.PREEMPT},
    "all but ready first": ALL - {Part.READY_FIRST},
}


def _variants(seed: int) -> Sequence[Variant]:
    return [
        loaded(seed, load_s=load_s).but(
            {"load_overhead_ms": load_s * 1e3, "parts": name}, config=ControllerConfig(parts=parts)
        )
        for load_s, those in ((SOFTWARE_S, {**ALONE, **ALL_BUT}), (WIRE_S, ALONE))
        for name, parts in those.items()
    ]


STUDY = Study(
    "What each part of memory control is worth",
    "Independent agents with an adapter each, room for a quarter of adapters and prefixes, copies in host memory, exact distances; 100 ms"
    " for each load as in the paper's baseline, and 1 ms as of the bare wire.",
    _variants,
    ("step_s", "ttft_s", "adapters", "on_device", "load", "hidden", "demand_gb", "ahead_gb", "wasted_gb"),
)

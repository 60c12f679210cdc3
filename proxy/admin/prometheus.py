"""Prometheus' text format, as far as we need it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

from scalesim.proxy.histogram import Histogram

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PIECE = 256
"""Lines."""


@dataclass(slots=True)
class Family:
    """One metric and its samples. Labels must come from small, closed sets: each combination is a time series."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    samples: list[tuple[str, Mapping[str, str], float]] = field(default_factory=list)
    """Each with what follows the name."""

    def add(self, value: float, **labels: str) -> Family:
        self.samples.append(("", labels, value))
        return self

    def spread(self, histogram: Histogram, **labels: str) -> Family:
        """Its samples: how many were below each bound, their sum, and their count."""
        below = list(accumulate(histogram.counts))
        bounds = [*(_number(bound) for bound in histogram.bounds), "+Inf"]
        for bound, count in zip(bounds, below, strict=True):
            self.samples.append(("_bucket", {**labels, "le": bound}, count))
        self.samples.append(("_sum", labels, histogram.total))
        self.samples.append(("_count", labels, below[-1]))
        return self


def written(families: Iterable[Family]) -> Iterator[str]:
    """In pieces of about a millisecond: a proxy of many engines has thousands of lines."""
    lines: list[str] = []
    for family in families:
        lines += (f"# HELP {family.name} {family.about}\n", f"# TYPE {family.name} {family.kind}\n")
        for suffix, labels, value in family.samples:
            pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            name = f"{family.name}{suffix}{{{pairs}}}" if pairs else family.name + suffix
            lines.append(f"{name} {_number(value)}\n")
            if len(lines) >= PIECE:
                yield "".join(lines)
                lines.clear()
    yield "".join(lines)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

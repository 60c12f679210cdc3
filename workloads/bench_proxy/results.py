"""The figures of all contestants side by side, as tables and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table

from scalesim.workloads.machine import provenance

from .contestants import Contestant
from .figures import Row, Sample, row
from .loads import Load

SCHEMA = 1
DIRECT = "direct"
"""The way without a proxy, to which all others are compared."""


@dataclass(slots=True)
class Measured:
    names: Sequence[str]
    """Of all who were to be measured, the direct way first."""
    loads: Sequence[Load]
    samples: dict[tuple[str, str], list[Sample | None]] = field(default_factory=dict)
    """By name and load; one for each round, None where there is none."""
    missing: dict[str, str] = field(default_factory=dict)
    """Why somebody could not even be started here."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why somebody was not measured, or not to the end, who should have been."""

    @property
    def absent(self) -> dict[str, str]:
        return {**self.missing, **self.failed}

    def add(self, name: str, load: Load, sample: Sample | None) -> None:
        self.samples.setdefault((name, load.name), []).append(sample)

    def row(self, name: str, load: Load) -> Row | None:
        return row(self.samples.get((name, load.name), []), self.samples.get((DIRECT, load.name), []))

    def rows(self) -> Iterable[tuple[str, Load, Row]]:
        for load in self.loads:
            for name in self.names:
                if (one := self.row(name, load)) is not None:
                    yield name, load, one

    @property
    def all_well(self) -> bool:
        """Whether everybody who was started was there to the end and answered rightly."""
        return not self.failed and not any(one.errors for _, _, one in self.rows())


def as_json(measured: Measured, seed: int, settings: Mapping[str, object]) -> dict[str, object]:
    results: dict[str, dict[str, object]] = {}
    for name, load, one in measured.rows():
        results.setdefault(load.name, {})[name] = _told(one)
    return {
        **provenance(SCHEMA, seed, settings),
        "results": results,
        "absent": measured.absent,
        "details": {
            "loads": {load.name: asdict(load) for load in measured.loads},
            "rounds": {
                load.name: {
                    name: [None if one is None else _told(one) for one in samples]
                    for name in measured.names
                    if (samples := measured.samples.get((name, load.name)))
                }
                for load in measured.loads
            },
        },
    }


def _told(one: Row | Sample) -> dict[str, object]:
    """Rounded; what is not a number is null."""
    told: dict[str, object] = {}
    for name, value in asdict(one).items():
        if isinstance(value, float):
            told[name] = None if math.isnan(value) else round(value, 3)
        else:
            told[name] = value
    return told


def show(measured: Measured, contestants: Sequence[Contestant], console: Console) -> None:
    for load in measured.loads:
        console.print(_table(measured, load))
    if any(one.at_least for _, _, one in measured.rows()):
        console.print(">: at least; mock and load generator had no more to give.")
    for contestant in contestants:
        if contestant.about:
            _say(console, f"{contestant.name}: {contestant.about}")
    for name, why in measured.absent.items():
        _say(console, f"{name} is not there, or not to the end: {why}", style="yellow")
    for name, load, one in measured.rows():
        for fault, times in one.errors.items():
            _say(console, f"error of {name}, {load.name}, {times} times: {fault}", style="red")


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _table(measured: Measured, load: Load) -> Table:
    a_second = "streams/s" if load.streams else "calls/s"
    table = Table(title=load.name)
    table.add_column("", no_wrap=True)
    for column in (
        "added p50 ms",
        "added p99 ms",
        "p99 ms",
        a_second,
        "CPU us/call",
        "busy",
        "RSS MB",
        "errors",
    ):
        table.add_column(column, justify="right")
    for name in measured.names:
        table.add_row(name, *_cells(name, measured.row(name, load)))
    return table


def _cells(name: str, one: Row | None) -> Sequence[str]:
    if one is None:
        return ["-"] * 8
    errors = f"{sum(one.errors.values()):,}"
    rate = f"{'>' if one.at_least else ''}{one.rps:,.0f}"
    if name == DIRECT:
        return ["", "", _number(one.p99_ms), rate, "", "", "", errors]
    return [
        *map(_number, (one.added_p50_ms, one.added_p99_ms, one.p99_ms)),
        rate,
        _number(one.cpu_us, 0),
        f"{one.busy:.0%}",
        _number(one.rss_mb, 0),
        errors,
    ]


def _number(value: float, digits: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"

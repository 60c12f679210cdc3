"""Figures of all numbers of engines, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table

from scalesim.workloads.machine import provenance

from .figures import Hits, Rate, linear

SCHEMA = 3
_ABOUT_RATES = (
    "their cap: calls/s that the engines could answer together. linear: calls/s over as many times those of the first line; not where the core of "
    "the proxy, or that of the others, is full: engines cannot help there. Others are the emulated engines and the load generator: they have one core, and a "
    "proxy has another one for itself. Several proxies and the Redis by which they share what they know have no more than these two cores, and share one of them with the "
    "others: what they answer together may be less than on machines of their own. most/mean: calls of the busiest engine."
)
_ABOUT_HITS = (
    "hits: prompt tokens found in a cache. of Belady: over the most that could be found, with each engine's own calls and cache; prefixes that were "
    "computed ahead of calls may lift it over 1. moved: prompts computed anew because their agent changed engines."
)


@dataclass(slots=True)
class Measured:
    rates: list[Rate] = field(default_factory=list)
    """By rising numbers of engines, then of proxies."""
    hits: dict[int, Hits] = field(default_factory=dict)
    """By number of engines."""


def as_json(measured: Measured, seed: int, settings: Mapping[str, object]) -> dict[str, object]:
    return {
        **provenance(SCHEMA, seed, settings),
        "rates": [
            {
                **asdict(one),
                "of_cap": one.of_cap,
                "imbalance": one.imbalance,
                "linear": linear(one, measured.rates[0]),
            }
            for one in measured.rates
        ],
        "hits": {
            str(count): {**asdict(one), "rate": one.rate, "of_belady": one.of_belady}
            for count, one in measured.hits.items()
        },
    }


def show(measured: Measured, console: Console) -> None:
    table = Table(title="How much engines answer together")
    columns = (
        "engines",
        "proxies",
        "their cap",
        "calls/s",
        "of cap",
        "linear",
        "p50 ms",
        "p99 ms",
        "proxy busy",
        "Redis busy",
        "others busy",
        "most/mean",
        "errors",
        "calls by engine",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for one in measured.rates:
        share = linear(one, measured.rates[0])
        table.add_row(
            *(
                str(one.engines),
                str(one.proxies),
                f"{one.cap_rps:,.0f}",
                f"{one.rps:,.0f}",
                f"{one.of_cap:.2f}",
            ),
            "a core is full" if share is None else f"{share:.2f}",
            *(f"{one.p50_ms:.1f}", f"{one.p99_ms:.1f}", f"{one.proxy_busy:.0%}"),
            *("" if one.proxies == 1 else f"{one.redis_busy:.0%}", f"{one.ends_busy:.0%}"),
            *(f"{one.imbalance:.2f}", str(sum(one.errors.values())), " ".join(map(str, one.calls.values()))),
        )
    console.print(table)
    console.print(_ABOUT_RATES, highlight=False, soft_wrap=True)
    table = Table(title="What their caches are worth")
    for column in (
        "engines",
        "hits",
        "of Belady",
        "agents that changed",
        "moved MB",
        "computed ahead MB",
        "calls by engine",
    ):
        table.add_column(column, justify="right")
    for count, found in measured.hits.items():
        calls = " ".join(map(str, found.calls.values()))
        table.add_row(
            *(str(count), f"{found.rate:.3f}", f"{found.of_belady:.3f}", str(found.moves)),
            *(f"{found.moved_bytes / 1e6:,.1f}", f"{found.ahead_bytes / 1e6:,.1f}", calls),
        )
    console.print(table)
    console.print(_ABOUT_HITS, highlight=False, soft_wrap=True)
    for one in measured.rates:
        for fault, times in one.errors.items():
            console.print(
                f"{one.engines} engines, {one.proxies} proxies, {times} times: {fault}",
                style="red",
                markup=False,
                soft_wrap=True,
            )

"""The result of the memory benchmark, as JSON and as tables. Pure, but for printing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from .comparison import Comparison, number, table_of
from .links import Link
from .memory_configurations import REFERENCE, STOCK
from .memory_results import (
    AgainstReference,
    Prefetch,
    adapter_hit_rate,
    ceiling,
    mean_load_s,
    prefetch_by_kind,
)
from .results import mean, percentile

TIME_KINDS = ("decode", "prefill", "load", "other")
ALL = "all"
AIM = 0.9
"""Of the ceiling, that every part together should reach."""


@dataclass(frozen=True, slots=True)
class Published:
    """Speedups over SGLang, of the paper."""

    hicache: float
    scalesim: float

    @property
    def over_hicache(self) -> float:
        return self.scalesim / self.hicache


PAPER: Mapping[str, Published] = {
    "independent": Published(1.05, 1.73),
    "interaction": Published(0.96, 1.31),
    "diffusion": Published(1.13, 1.74),
}
"""By scenario: figure 8, at 500 agents, of which a quarter fits, on an H100."""


@dataclass(frozen=True, slots=True)
class MemoryComparison:
    base: Comparison
    """What every comparison has. The first of its summaries is the reference."""
    shown: tuple[str, ...]
    """The configurations, in the order in which they are shown."""
    against: Mapping[str, AgainstReference]
    link: Link | None
    room: float
    """The share of prefixes and of adapters that fits."""
    slots: int
    rank: int
    lead_in: int
    one_file: bool
    """All adapters are the same file under different names."""

    @property
    def ok(self) -> bool:
        return self.base.ok

    @property
    def ceiling(self) -> float | None:
        return ceiling(self.base.summaries[self.base.reference])

    @property
    def over_stock(self) -> dict[str, float]:
        """Through the reference, that played beside both. Empty where stock did not play."""
        speedup = self.base.speedup
        return {name: value / speedup[STOCK] for name, value in speedup.items()} if STOCK in speedup else {}

    @property
    def over_hicache(self) -> dict[str, float]:
        return dict(self.base.speedup) if self.base.reference == REFERENCE else {}

    @property
    def ceiling_over_stock(self) -> float | None:
        top, reference = self.ceiling, self.over_stock.get(self.base.reference)
        return None if top is None or reference is None else top * reference

    @property
    def paper(self) -> Published | None:
        return PAPER.get(self.base.scenario)

    def share_of_ceiling(self, name: str) -> float | None:
        top, speedup = self.ceiling, self.base.speedup.get(name)
        return None if top is None or speedup is None else speedup / top

    def as_json(self) -> dict[str, object]:
        return {
            **self.base.as_json(),
            "configs": {name: self._configuration(name) for name in self.shown},
            "speedup_over_stock": self.over_stock,
            "speedup_over_hicache": self.over_hicache,
            "link": None if self.link is None else self.link.as_json(),
            "ceiling": self.ceiling,
            "ceiling_over_stock": self.ceiling_over_stock,
            "share_of_ceiling": self.share_of_ceiling(ALL),
            "share_of_ceiling_aimed_at": AIM,
            "paper": None
            if self.paper is None
            else {"over_stock": self.paper.scalesim, "over_hicache": self.paper.over_hicache},
            "room": self.room,
            "adapter_slots": self.slots,
            "lead_in_steps": self.lead_in,
            "adapter_rank": self.rank,
            "adapters_share_one_file": self.one_file,
        }

    def _configuration(self, name: str) -> dict[str, object]:
        summary, beside = self.base.summaries[name], self.against[name]
        kinds = prefetch_by_kind(summary)
        return {
            **summary.report(),
            "time_share": summary.time_share(),
            "load_s": mean_load_s(summary),
            "load_hidden": beside.load_hidden,
            "ttft_saved": beside.ttft_saved,
            "adapter_hit_rate": adapter_hit_rate(summary),
            "prefetch": {
                **_total(kinds).as_json(),
                "by_kind": {kind: counts.as_json() for kind, counts in kinds.items()},
            },
            "speedup_over_hicache": self.over_hicache.get(name),
            "speedup_over_stock": self.over_stock.get(name),
            "parts": self.base.configurations[name].parts,
        }

    def print(self, console: Console) -> None:
        console.print(Group(self._speed(), self._time(), self._prefetch(), Text(self.caption())))

    def _what_was_told(self) -> list[str]:
        told = dict.fromkeys(told for name in self.shown if (told := self.base.configurations[name].told))
        return [f"Told by the simulation: {', '.join(told)}."] if told else []

    def _what_the_paper_says(self) -> list[str]:
        if self.paper is None:
            return []
        own = (
            f"Here {ALL} is {number(self.over_stock.get(ALL), 2)}x as fast as {STOCK} (ceiling"
            f" {number(self.ceiling_over_stock, 2)}) and {number(self.over_hicache.get(ALL), 2)}x as fast as {REFERENCE}"
            f" (ceiling {number(self.ceiling, 2)}). "
            if ALL in self.shown and self.base.reference == REFERENCE
            else ""
        )
        return [
            f"{own}The paper's, with 500 agents on an H100: {self.paper.scalesim:.2f}x over SGLang,"
            f" {self.paper.over_hicache:.2f}x over HiCache."
        ]

    # Three tables, as one of all columns is wider than a terminal.

    def _speed(self) -> Table:
        wishes = self.base.wishes
        table = table_of(
            f"{self.base.scenario}: {wishes.agents} agents, {wishes.steps} steps, seed {wishes.seed}",
            *("wall s", f"over\n{self.base.reference}", "over\nstock"),
            *("TTFT s\nmean", "TTFT s\np95", "TTFT\nsaved", "errors"),
        )
        for name in self.shown:
            summary = self.base.summaries[name]
            table.add_row(
                name,
                number(mean([play.wall_s for play in summary.plays]), 1),
                number(self.base.speedup.get(name), 2),
                number(self.over_stock.get(name), 2),
                number(mean(summary.ttft_s), 2),
                number(percentile(summary.ttft_s, 0.95), 2),
                number(self.against[name].ttft_saved, 2),
                str(summary.errors),
            )
        return table

    def _time(self) -> Table:
        table = table_of(
            "where the time went, and what was found in the cache",
            *("de-\ncode", "pre-\nfill", "load", "other"),
            *("load\ns", "hid-\nden", "prefix\nhits", "adapt.\nhits"),
        )
        for name in self.shown:
            summary = self.base.summaries[name]
            shares = summary.time_share() or {}
            table.add_row(
                name,
                *(number(shares.get(kind), 2) for kind in TIME_KINDS),
                number(mean_load_s(summary), 1),
                number(self.against[name].load_hidden, 3),
                number(summary.all_calls.hit_rate, 3),
                number(adapter_hit_rate(summary), 3),
            )
        return table

    def _prefetch(self) -> Table:
        table = table_of(
            "loads ahead of calls, in all plays",
            *(
                "is-\nsued",
                "used",
                "late",
                "mis-\nsed",
                "was-\nted",
                "cover-\nage",
                "preci-\nsion",
                "wasted\nMB",
            ),
        )
        for name in self.shown:
            kinds = prefetch_by_kind(self.base.summaries[name])
            if not kinds:
                continue
            rows = {name: _total(kinds)} | (
                {f"  {kind}": counts for kind, counts in sorted(kinds.items())} if len(kinds) > 1 else {}
            )
            for heading, counts in rows.items():
                table.add_row(
                    heading,
                    *(
                        f"{count:.0f}"
                        for count in (counts.issued, counts.used, counts.late, counts.missed, counts.wasted)
                    ),
                    number(counts.coverage, 3),
                    number(counts.precision, 3),
                    f"{counts.wasted_bytes / 1e6:.1f}",
                )
        return table

    def caption(self) -> str:
        """What the numbers mean, and what bounds them."""
        base, reference = self.base, self.base.reference
        top = self.ceiling
        share = self.share_of_ceiling(ALL)
        return "\n".join([
            f"Speed-up: wall time of {reference} over that of the configuration, played in the same pass and repeat; over"
            f" stock: the quotient of two speed-ups over {reference}.",
            *(f"{name}: {base.configurations[name].about}." for name in self.shown),
            *self._what_was_told(),
            f"Link: {self.link if self.link is not None else 'off, a load is a copy in memory'}.",
            f"Room: {self.room:.0%} of N slots and prefixes: {self.slots} slots for {base.wishes.agents} adapters of rank"
            f" {self.rank}{', all of them one file' if self.one_file else ''}; {base.capacity}.",
            "Load: the engine stands still for a load that a call waits for. Hidden: the share of the blocked seconds of"
            f" {reference} that are gone. Saved: the same of the mean TTFT.",
            "Coverage: of the loads that calls needed, those that were there in time. Precision: of the loads issued whose fate"
            " is known (used, late, or evicted unused), those that were there in time. Hits of prefixes count what came from host memory as well.",
            base.what_texts_say(),
            f"What bounds the speedup: without any load, {reference} would be {number(top, 2)}x as fast"
            + (f"; {ALL} reaches {share:.0%} of it (aim: {AIM:.0%})." if share is not None else "."),
            *self._what_the_paper_says(),
            *self.base.what_interactions_say(),
            "Each configuration plays the whole program in one go, so that nothing is loaded while another one plays.",
            *base.notes,
        ])  # fmt: skip


def _total(kinds: Mapping[str, Prefetch]) -> Prefetch:
    return sum(kinds.values(), Prefetch())

"""What a soak found, for people and as JSON, and whether it is well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from scalesim.workloads.machine import provenance

from .growth import CALLS, FDS_GROWTH, RSS_GROWTH, Growth, Look, WarmUp, after, growth

SCHEMA = 2


@dataclass(frozen=True, slots=True)
class Rest:
    """What the proxy holds while nobody asks it."""

    fds: int
    """Without connections to engines that are kept for the next call."""
    in_flight: int

    def leaks_since(self, before: Rest) -> bool:
        return self.in_flight > 0 or self.fds - before.fds > FDS_GROWTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Soaked:
    looks: Sequence[Look]
    warm_up: WarmUp
    ended: Mapping[str, int]
    """Calls by their sort."""
    lost: Mapping[str, int]
    """Those that did not end as they should have."""
    faults: Mapping[str, int]
    before: Rest
    after: Rest
    tracebacks: int
    """In the proxy's log."""

    @property
    def growth(self) -> Growth | None:
        return growth(self.looks, self.warm_up)

    @property
    def warm_at(self) -> Look | None:
        """The first look after the warm-up."""
        return next(iter(after(self.looks, self.warm_up)), None)

    @property
    def problems(self) -> list[str]:
        """Empty if all is well."""
        grown = self.growth
        found = []
        if self.warm_at is None:
            found.append(f"it was too short to warm up {self.warm_up}")
        elif grown is None:
            found.append("it was too short to tell whether anything grows")
        elif grown.rss >= RSS_GROWTH:
            found.append(f"memory grew by {grown.rss:.1%} in {grown.seconds / 60:.0f} minutes")
        if self.after.leaks_since(self.before):
            found.append(
                f"{self.after.fds - self.before.fds} files more are open than before, and {self.after.in_flight} calls in flight"
            )
        if lost := sum(self.lost.values()):
            found.append(f"{lost} calls did not end as they should have")
        if self.tracebacks:
            found.append(f"there are {self.tracebacks} tracebacks in the proxy's log")
        return found

    @property
    def is_well(self) -> bool:
        return not self.problems


def as_json(soaked: Soaked, seed: int, settings: Mapping[str, object]) -> dict[str, object]:
    grown, warm = soaked.growth, soaked.warm_at
    return {
        **provenance(SCHEMA, seed, settings),
        "verdict": {"well": soaked.is_well, "problems": soaked.problems},
        "growth": None if grown is None else asdict(grown),
        "calls": dict(soaked.ended),
        "lost": dict(soaked.lost),
        "faults": dict(soaked.faults),
        "at_rest": {"before": asdict(soaked.before), "after": asdict(soaked.after)},
        "tracebacks": soaked.tracebacks,
        "warm_up": {
            "asked": str(soaked.warm_up),
            "over_s": None if warm is None else warm.at_s,
            "calls": None if warm is None else warm.ended,
        },
        "looks": [asdict(one) for one in soaked.looks],
    }


def show(soaked: Soaked, console: Console) -> None:
    table = Table(title="Calls")
    table.add_column("sort")
    for column in ("ended", "lost"):
        table.add_column(column, justify="right")
    for name, count in soaked.ended.items():
        table.add_row(name, f"{count:,}", f"{soaked.lost[name]:,}")
    console.print(table)
    grown, warm = soaked.growth, soaked.warm_at
    if warm is not None:
        console.print(
            f"Warmed up {soaked.warm_up}: {warm.at_s / 60:.1f} minutes and {warm.ended:,} calls, {warm.rss_mb:.1f} MB.",
            highlight=False,
        )
    if grown is not None:
        console.print(
            f"In {grown.seconds / 60:.1f} minutes and {grown.calls:,} calls after it: memory {grown.rss:+.2%}, that is"
            f" {grown.mb_per_calls:+.2f} MB for {CALLS:,} calls, and in the second half alone {grown.rss_of_last_half:+.2%};"
            f" open files {grown.fds:+.0f}, at rest {soaked.after.fds - soaked.before.fds:+d}.",
            highlight=False,
            soft_wrap=True,
        )
    for fault, times in soaked.faults.items():
        console.print(
            f"{times} times: {fault}", style="yellow", markup=False, highlight=False, soft_wrap=True
        )
    for problem in soaked.problems:
        console.print(problem, style="red", markup=False, highlight=False)
    if soaked.is_well:
        console.print("Nothing was lost, and nothing grew.", style="green")

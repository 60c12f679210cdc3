"""The figures of all sizes side by side, as a table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.console import Console
from rich.table import Table

from scalesim.workloads.machine import command, commit, machine

from .core import Rounds
from .held import Held
from .recognition import Recognition

SCHEMA = 1


def p99(values: Sequence[float]) -> float:
    """The smallest value that is not below 99 of 100; 0 of none."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1] if values else 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """With so many agents."""

    rounds: Rounds
    held: Held
    idle_bytes: float


Recognised = Mapping[tuple[str, int], Recognition]
"""By the kind of traffic and the characters of a prompt."""


def as_json(
    measured: Mapping[int, Measured], recognised: Recognised, seed: int, active: int
) -> dict[str, object]:
    """`results` has the figures that are promised: of ticks for each size, of all else for the largest."""
    largest = measured[max(measured)]
    return {
        "schema": SCHEMA,
        "command": command(),
        "commit": commit(),
        "seed": seed,
        "machine": machine(),
        "results": {
            "tick_p99_ms": {
                str(agents): round(p99(one.rounds.ticks_ms), 3) for agents, one in measured.items()
            },
            "loop_held_ms_p99": round(p99(largest.held.lags_ms), 3),
            "bulk_update_s": round(largest.held.bulk_s, 3),
            "bytes_per_idle_agent": round(largest.idle_bytes),
            "recognition_us": {
                f"{kind} {chars}": {"mean": round(fmean(one.calls_us), 2), "p99": round(p99(one.calls_us), 2)}
                for (kind, chars), one in recognised.items()
            },
        },
        "details": {"active": active, "by_agents": {str(n): _details(one) for n, one in measured.items()}},
    }


def _details(one: Measured) -> dict[str, object]:
    held = one.held
    return {
        "rounds": len(one.rounds.ticks_ms),
        "first_tick_ms": round(one.rounds.first_ms, 3),
        "tick_p99_ms": round(p99(one.rounds.ticks_ms), 3),
        "tick_max_ms": round(max(one.rounds.ticks_ms, default=0.0), 3),
        "round_p99_ms": round(p99(one.rounds.whole_ms), 3),
        "piece_p99_ms": round(p99(one.rounds.pieces_ms), 3),
        "piece_max_ms": round(max(one.rounds.pieces_ms, default=0.0), 3),
        "calls": held.calls,
        "loop_held_ms_p99": round(p99(held.lags_ms), 3),
        "loop_held_ms_max": round(max(held.lags_ms, default=0.0), 3),
        "longest_event_ms": {kind: round(ms, 3) for kind, ms in sorted(held.longest_ms.items())},
        "longest_collection_ms": round(held.collection_ms, 3),
        "bulk_update_s": round(held.bulk_s, 3),
        "tick_later_ms_max": round(max(held.tick_delays_ms(during_bulk=False), default=0.0), 3),
        "tick_later_in_bulk_ms_max": round(max(held.tick_delays_ms(during_bulk=True), default=0.0), 3),
        "bytes_per_idle_agent": round(one.idle_bytes),
    }


def show(measured: Mapping[int, Measured], console: Console) -> None:
    table = Table(title="What the proxy costs by itself, by number of agents")
    table.add_column("", no_wrap=True)
    for agents in measured:
        table.add_column(f"{agents:,}", justify="right")
    table.add_column("aim", justify="right")
    every = list(measured.values())

    def row(what: str, values: Sequence[float], aim: str = "", digits: int = 2) -> None:
        table.add_row(what, *(f"{value:,.{digits}f}" for value in values), aim)

    row("round of planning, p99 ms", [p99(one.rounds.ticks_ms) for one in every], "10")
    row("  the longest", [max(one.rounds.ticks_ms, default=0.0) for one in every])
    row("  with all it leaves, p99", [p99(one.rounds.whole_ms) for one in every])
    row("  pieces, p99", [p99(one.rounds.pieces_ms) for one in every], "1")
    row("  the longest piece", [max(one.rounds.pieces_ms, default=0.0) for one in every])
    row("  the very first", [one.rounds.first_ms for one in every])
    row("loop held, p99 ms", [p99(one.held.lags_ms) for one in every], "1")
    row("  the longest", [max(one.held.lags_ms, default=0.0) for one in every])
    row("  longest garbage collection", [one.held.collection_ms for one in every])
    row("distances of all at once, s", [one.held.bulk_s for one in every], "1")
    row("  ticks later then, max ms", [_latest(one, during_bulk=True) for one in every], "20")
    row("  at other times", [_latest(one, during_bulk=False) for one in every])
    row("bytes of an idle agent", [one.idle_bytes for one in every], "2,048", 0)
    console.print(table)
    for agents, one in measured.items():
        longest = sorted(one.held.longest_ms.items(), key=lambda item: -item[1])[:4]
        console.print(
            f"{agents:,} agents: {len(one.rounds.ticks_ms)} rounds; {one.held.calls:,} calls; longest events "
            + ", ".join(f"{kind} {ms:.2f} ms" for kind, ms in longest),
            soft_wrap=True,
        )


def show_recognition(recognised: Recognised, console: Console) -> None:
    table = Table(title="What it costs to find out who calls, us a call")
    for column in ("", "mean", "p99", "named"):
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    for (kind, chars), one in recognised.items():
        cells = (f"{fmean(one.calls_us):.1f}", f"{p99(one.calls_us):.1f}", f"{one.named:.0%}")
        table.add_row(f"{kind}, {chars // 1024} KB", *cells)
    console.print(table)
    console.print("Aims: at 4 KB 30 us on average and 100 us p99, at 64 KB 1,000 us.")


def _latest(one: Measured, *, during_bulk: bool) -> float:
    return max(one.held.tick_delays_ms(during_bulk=during_bulk), default=0.0)

"""Predictions as tables: one in full, several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from .output import percent, size, table

if TYPE_CHECKING:
    from scalesim.workloads.planning.plays import Played
    from scalesim.workloads.replay.results import Results, Spread

LEAST_SHARE = 0.005
"""Of time: causes of less are not shown."""


def figures(results: Results) -> Table:
    shown = table("", "", rows=_figures(results).items())
    shown.show_header = False
    return shown


def side_by_side(results: Mapping[str, Results]) -> Table:
    """A column for each."""
    columns = {name: _short(one) for name, one in results.items()}
    rows = ((row, *(one[row] for one in columns.values())) for row in next(iter(columns.values())))
    return table("", *columns, rows=rows, numbers=columns)


def time_by_cause(causes: Mapping[str, float]) -> Table:
    from scalesim.workloads.planning.bottleneck import TOLD
    from scalesim.workloads.replay.causes import Cause

    ranked = sorted(causes, key=causes.__getitem__, reverse=True)
    rows = ((TOLD[Cause(one)][0], percent(causes[one])) for one in ranked if causes[one] >= LEAST_SHARE)
    return table("time went into", "share", rows=rows, numbers=["share"])


def swept(values: Sequence[Mapping[str, str]], plays: Sequence[Played]) -> Table:
    """A row for each, which begins with what is its own."""
    shown = [{**_row(one), **own} for own, one in zip(values, plays, strict=True)]
    columns = list(dict.fromkeys((*values[0], *shown[0])))
    rows = ([one[column] for column in columns] for one in shown)
    return table(*columns, rows=rows, numbers=_NUMBERS)


def what_if_table(plays: Sequence[Played]) -> Table:
    """A row for each; the first is what the others are set beside."""
    first = plays[0]
    rows = (
        (
            one.name or "as asked",
            None if one is first else f"{one.step_s / first.step_s - 1:+.1%}",
            *_row(one).values(),
        )
        for one in plays
    )
    return table("with", "steps", *_row(first), rows=rows, numbers=("steps", *_NUMBERS))


_NUMBERS = ("GPUs", "engines", "step, s", "TTFT, s", "hits", "wasted")


def _row(one: Played) -> dict[str, str | None]:
    machine = one.case.machine
    # What an engine that was measured runs on, nobody said.
    on = ("GPUs", machine.devices) if machine.measured is None else ("engines", machine.engines)
    return {
        on[0]: str(on[1]),
        "step, s": f"{one.step_s:.2f}",
        "TTFT, s": _mean(one.results.ttft_s),
        "hits": percent(one.results.hits.all_calls),
        "wasted": _moved(one.results, one.results.moved.wasted),
        "bottleneck": f"{one.bottleneck.cause} {one.bottleneck.share:.0%}",
    }


def _figures(results: Results) -> dict[str, str]:
    hits, moved, shares = results.hits, results.moved, results.shares
    sizes = results.setting["sizes"]
    assert isinstance(sizes, dict), "it was made of a dataclass"
    found = {
        "room of each engine": f"{sizes['capacity_tokens']:,} tokens, and {sizes['host_tokens']:,} in host memory",
        "played": f"{results.calls:,} calls in {results.seconds:,.1f} s of virtual time",
        "first calls ever": f"of {results.new_agents:,} agents: nothing of them was in memory",
        "step": _spread(results.step_s),
        "TTFT": _spread(results.ttft_s),
        "in the queue": _spread(results.queued_s),
        "engines' time": f"decode {percent(shares.decode)}, prefill {percent(shares.prefill)},"
        f" load {percent(shares.load)}, wait {percent(shares.wait)}",
        "hits": f"{percent(hits.all_calls)} of prompt tokens, {percent(hits.from_host)} copied while the call waited",
        "hits of first calls": percent(hits.first_calls) or "none came again",
    }
    if hits.adapters is not None:
        found["adapters found"] = f"{percent(hits.adapters)} of calls, {sizes['slots']} slots"
    return found | {
        "moved": f"{_moved(results, moved.demand)} while calls waited, {_moved(results, moved.ahead)} ahead of them",
        "wasted": f"{_moved(results, moved.wasted)} of what was moved ahead",
        "links": f"busy {percent(moved.link_share)} of the time",
        "at once": f"{results.most_running} calls at most",
    }


def _short(results: Results) -> dict[str, str | None]:
    hits, moved, shares = results.hits, results.moved, results.shares
    from scalesim.workloads.planning.bottleneck import bottleneck

    held_up = bottleneck(results.causes)
    return {
        "seconds": f"{results.seconds:,.1f}",
        "TTFT mean, s": _mean(results.ttft_s),
        "TTFT p95, s": None if results.ttft_s is None else f"{results.ttft_s.p95:.3f}",
        "call mean, s": _mean(results.call_s),
        "decode": percent(shares.decode),
        "prefill": percent(shares.prefill),
        "load": percent(shares.load),
        "wait": percent(shares.wait),
        "hits": percent(hits.all_calls),
        "from host": percent(hits.from_host),
        "brought ahead": percent(hits.ahead),
        "moved on demand": _moved(results, moved.demand),
        "moved ahead": _moved(results, moved.ahead),
        "wasted": _moved(results, moved.wasted),
        "bottleneck": f"{held_up.cause} {held_up.share:.0%}",
    }


def _moved(results: Results, volume: int) -> str | None:
    """Of an engine that was measured nobody knows bytes: what was moved, is as much as so many tokens."""
    from scalesim.workloads.replay.measured import BYTES_PER_TOKEN

    measured = "measured" in results.setting
    return f"{round(volume / BYTES_PER_TOKEN):,} tokens" if measured else size(volume)


def _mean(spread: Spread | None) -> str | None:
    return None if spread is None else f"{spread.mean:.3f}"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "none"
    return f"{spread.mean:.3f} s on average, p50 {spread.p50:.3f}, p95 {spread.p95:.3f}, worst {spread.worst:.3f}"

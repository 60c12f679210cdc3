"""The memory benchmark as a picture, readable without the code: speedup, where the time went, time to first token."""

from __future__ import annotations

import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .memory_comparison import TIME_KINDS, MemoryComparison
from .memory_configurations import REFERENCE, STOCK
from .picture import LIMIT, OWN, TAIL, pairs
from .results import mean, percentile

BESIDE = "#999999"
THEIRS = "#000000"
COLOURS = {"decode": OWN, "prefill": TAIL, "load": "#D55E00", "other": "#DDDDDD"}


def draw(comparison: MemoryComparison, path: Path) -> None:
    """Writes a PNG."""
    base = comparison.base
    figure = Figure(figsize=(18, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    speedup, time, ttft = figure.subplots(1, 3)
    _speedup(speedup, comparison)
    _time(time, comparison)
    _ttft(ttft, comparison)
    for axes in (speedup, time, ttft):
        axes.tick_params(axis="x", labelrotation=45)
    wishes = base.wishes
    figure.suptitle(
        f"{base.scenario}: {wishes.agents} simulated agents, {wishes.steps} steps, an adapter and a persona of "
        f"{wishes.persona_tokens:,} tokens each; {comparison.room:.0%} fit\n"
        f"link: {comparison.link if comparison.link is not None else 'off'}"
    )
    told = [
        "; ".join(f"{name}: {base.configurations[name].about}" for name in comparison.shown),
        f"{base.command} · commit {base.commit[:12]} · seed {wishes.seed} · {base.repeats} repeats · {base.machine}",
    ]
    figure.supxlabel("\n".join(line for text in told for line in textwrap.wrap(text, 220)), fontsize=8)
    figure.savefig(path, format="png", dpi=130)


def _speedup(axes: Axes, comparison: MemoryComparison) -> None:
    names, reference = list(comparison.shown), comparison.base.reference
    values = [comparison.base.speedup.get(name, 0.0) for name in names]
    colours = [BESIDE if name == STOCK else OWN for name in names]
    bars = axes.bar(names, values, color=colours, width=0.6)
    # Inside: just above a bar may be the line that it comes up to.
    axes.bar_label(bars, fmt="%.2f", label_type="center", color="white", fontsize=8)
    axes.axhline(1, color="black", linewidth=0.8)
    top = max([1.0, *values])
    if comparison.ceiling is not None:
        label = f"if no load cost anything, {comparison.ceiling:.2f}"
        axes.axhline(comparison.ceiling, color=LIMIT, linestyle="--", label=label)
        top = max(top, comparison.ceiling)
    if comparison.paper is not None and reference == REFERENCE:
        label = f"the paper, with 500 agents, {comparison.paper.over_hicache:.2f}"
        axes.axhline(comparison.paper.over_hicache, color=THEIRS, linestyle=":", label=label)
        top = max(top, comparison.paper.over_hicache)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", fontsize=8)
    axes.set_ylim(0, top * 1.25)
    axes.set_title(f"Speedup over {reference} (wall time)")
    axes.set_ylabel(f"times as fast as {reference}")


def _time(axes: Axes, comparison: MemoryComparison) -> None:
    """Seconds of a play in the length of one of the reference, so that bars of faster configurations are shorter."""
    names = list(comparison.shown)
    floor = [0.0] * len(names)
    for kind in TIME_KINDS:
        heights = []
        for name in names:
            shares = comparison.base.summaries[name].time_share() or {}
            speedup = comparison.base.speedup.get(name, 0.0)
            heights.append(shares.get(kind, 0.0) / speedup if speedup else 0.0)
        axes.bar(names, heights, bottom=floor, color=COLOURS[kind], width=0.6, label=kind)
        floor = [low + height for low, height in zip(floor, heights, strict=True)]
    axes.set_ylim(0, max([0.01, *floor]) * 1.2)
    axes.legend(loc="upper left", fontsize=8, ncols=len(TIME_KINDS))
    axes.set_title("Where the time went (lower is better)")
    axes.set_ylabel(f"wall time, {comparison.base.reference} = 1")


def _ttft(axes: Axes, comparison: MemoryComparison) -> None:
    names = list(comparison.shown)
    calls_s = [comparison.base.summaries[name].ttft_s for name in names]
    means = [mean(ttft_s) or 0.0 for ttft_s in calls_s]
    tails = [percentile(ttft_s, 0.95) or 0.0 for ttft_s in calls_s]
    pairs(axes, names, means, tails, ("mean", "95th percentile"), (OWN, TAIL), "%.2f")
    axes.set_ylim(0, max([*means, *tails, 0.01]) * 1.25)
    axes.set_title("Time to first token (lower is better)")
    axes.set_ylabel("seconds")

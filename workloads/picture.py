"""A comparison as a picture, readable without the code: speedup, hits of first calls, time to first token."""

from __future__ import annotations

import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .comparison import Comparison
from .results import mean, percentile

# Okabe and Ito's colours, told apart by everybody; light ones beside dark ones, for print in grey.
OWN = "#0072B2"
LIMIT = "#E69F00"
TAIL = "#56B4E9"


def draw(comparison: Comparison, path: Path) -> None:
    """Writes a PNG."""
    figure = Figure(figsize=(15, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    speedup, hits, ttft = figure.subplots(1, 3, width_ratios=(3, 5, 3))
    _speedup(speedup, comparison)
    _hits(hits, comparison)
    _ttft(ttft, comparison)
    wishes = comparison.wishes
    figure.suptitle(
        f"{comparison.scenario}: {wishes.agents} simulated agents, {wishes.steps} steps, "
        f"personas of {wishes.persona_tokens:,} tokens, room in the cache for {comparison.capacity_tokens:,} tokens"
    )
    told = [
        "; ".join(f"{name}: {comparison.configurations[name].about}" for name in comparison.summaries),
        f"{comparison.command} · commit {comparison.commit[:12]} · seed {wishes.seed} · {comparison.repeats} repeats · "
        f"{comparison.machine}",
    ]
    figure.supxlabel("\n".join(line for text in told for line in textwrap.wrap(text, 170)), fontsize=8)
    figure.savefig(path, format="png", dpi=130)


def _speedup(axes: Axes, comparison: Comparison) -> None:
    names = list(comparison.summaries)
    values = [comparison.speedup.get(name, 0.0) for name in names]
    bars = axes.bar(names, values, color=OWN, width=0.6)
    axes.tick_params(axis="x", rotation=0 if len(names) < 5 else 30)
    axes.bar_label(bars, fmt="%.2f", padding=2)
    axes.axhline(1, color="black", linewidth=0.8)
    top = max([1.0, *values])
    if comparison.bounds is not None:
        bound = comparison.bounds.unlimited
        axes.axhline(bound, color=LIMIT, linestyle="--", label=f"if nothing were evicted, about {bound:.2f}")
        axes.legend(loc="upper left", fontsize=8)
        top = max(top, bound)
    axes.set_ylim(0, top * 1.25)
    axes.set_title(f"Speedup over {comparison.reference} (wall time)")
    axes.set_ylabel(f"times as fast as {comparison.reference}")


def _hits(axes: Axes, comparison: Comparison) -> None:
    names = list(comparison.summaries)
    firsts = [comparison.summaries[name].first_calls for name in names]
    own = [counts.resident_rate or 0.0 for counts in firsts]
    best = [counts.belady_hit_rate or 0.0 for counts in firsts]
    if (offline := comparison.estimators.offline) is not None:
        for name, found in offline.rows().items():
            names.append(f"({name})")
            own.append(found.first_calls or 0.0)
            best.append(offline.belady.first_calls or 0.0)
    pairs(axes, names, own, best, ("measured", "best possible (Belady)"), (OWN, LIMIT), "%.2f")
    axes.set_ylim(0, 1.25)
    axes.set_title("Prefix found when an agent comes back (in brackets: worked out)")
    axes.set_ylabel("share of what an unlimited cache would have had")


def _ttft(axes: Axes, comparison: Comparison) -> None:
    names = list(comparison.summaries)
    means, tails = [], []
    for name in names:
        ttft_s = comparison.summaries[name].ttft_s
        means.append(mean(ttft_s) or 0.0)
        tails.append(percentile(ttft_s, 0.95) or 0.0)
    pairs(axes, names, means, tails, ("mean", "95th percentile"), (OWN, TAIL), "%.2f")
    axes.set_ylim(0, max([*means, *tails, 0.01]) * 1.25)
    axes.set_title("Time to first token (lower is better)")
    axes.set_ylabel("seconds")


def pairs(
    axes: Axes,
    names: list[str],
    left: list[float],
    right: list[float],
    labels: tuple[str, str],
    colours: tuple[str, str],
    numbers: str,
) -> None:
    width = 0.38
    for values, offset, label, colour in (
        (left, -0.5, labels[0], colours[0]),
        (right, 0.5, labels[1], colours[1]),
    ):
        bars = axes.bar(
            [index + offset * width for index in range(len(names))], values, width, label=label, color=colour
        )
        axes.bar_label(bars, fmt=numbers, padding=2, fontsize=8 if len(names) < 6 else 6)
    few = len(names) < 5
    axes.set_xticks(range(len(names)), names, rotation=0 if few else 30, ha="center" if few else "right")
    axes.legend(loc="upper left", fontsize=8, ncols=2)

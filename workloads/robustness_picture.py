"""Robustness as a picture, readable without the code: a curve for each kind of error, and what adversaries can do."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .picture import LIMIT, OWN
from .robustness_lies import HARMFUL, Curve
from .robustness_report import Robustness
from .robustness_results import CALLS_PER_HIT, Measured, of_belady, thinned

BARE = "#D55E00"
RECENCY = "#555555"
ADVERSARIES = (OWN, LIMIT, "#009E73", "#CC79A7")
"""Of Okabe and Ito's colours, with lines of different kinds."""
LINES = ("-", "--", "-.", ":")


def draw(result: Robustness, path: Path) -> None:
    """Writes a PNG."""
    figure = Figure(figsize=(16, 10), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3).flatten().tolist()
    for curve, place in zip(result.curves, axes, strict=False):
        _curve(place, result, curve)
    for place in axes[len(result.curves) : 4]:
        place.set_axis_off()
    _adversaries(axes[4], result)
    _promise(axes[5], result)
    wishes = result.wishes
    figure.suptitle(
        f"{result.scenario}, distances told wrong: {wishes.agents} simulated agents, {wishes.steps} steps, room in the cache"
        f" for {result.fits} of their prefixes"
    )
    told = [
        "Hits: prefix tokens that the engine had when an agent called for the first time since it acted, as a share of what an"
        " eviction that knows the future (Belady) finds with the same room. LRU: the same engine without orders. Believed: told"
        " distances are taken for true; else who proves wrong loses authority, with the guard and without it.",
        f"{result.command} · commit {result.commit[:12]} · seed {wishes.seed} · {result.machine}",
    ]
    figure.supxlabel("\n".join(line for text in told for line in textwrap.wrap(text, 200)), fontsize=8)
    figure.savefig(path, format="png", dpi=110)


def _curve(axes: Axes, result: Robustness, curve: Curve) -> None:
    points = result.points(curve)
    values = [value for value, _ in points]
    guarded = [_share(pair.guarded) for _, pair in points]
    bare = [_share(pair.unguarded) for _, pair in points]
    # The wide marks below, so that both are seen where they are one.
    axes.plot(
        values,
        bare,
        color=BARE,
        linestyle="--",
        marker="s",
        markersize=9,
        fillstyle="none",
        label="without guard",
    )
    axes.plot(values, guarded, color=OWN, marker="o", markersize=5, label="with guard")
    _references(axes, result)
    axes.set_title(curve.title)
    axes.set_xlabel(curve.about)
    axes.set_xticks(values, [f"{value:g}" for value in values])


def _references(axes: Axes, result: Robustness) -> None:
    axes.axhline(1, color=LIMIT, linewidth=1.5, label="Belady")
    recency = _share(result.recency)
    axes.axhline(recency, color=RECENCY, linestyle=":", linewidth=1.5, label=f"LRU, {recency:.2f}")
    axes.set_ylim(0, 1.1)
    axes.set_ylabel("hits of first calls, share of Belady's")
    axes.legend(loc="lower left", fontsize=9)


def _adversaries(axes: Axes, result: Robustness) -> None:
    width = 0.38
    pairs = result.adversaries
    for offset, colour, hatch, label, shares in (
        (-0.5, OWN, "", "with guard", [_share(pair.guarded) for pair in pairs.values()]),
        (0.5, BARE, "//", "without guard", [_share(pair.unguarded) for pair in pairs.values()]),
    ):
        places = [place + offset * width for place in range(len(pairs))]
        bars = axes.bar(places, shares, width, color=colour, hatch=hatch, edgecolor="white", label=label)
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=8)
    _references(axes, result)
    axes.set_ylim(0, 1.45)
    axes.legend(loc="upper left", fontsize=9, ncols=2)
    axes.set_xticks(range(len(pairs)), [name.replace(", ", ",\n") for name in pairs])
    axes.set_title("adversaries")


def _promise(axes: Axes, result: Robustness) -> None:
    for (name, pair), colour, line in zip(result.adversaries.items(), ADVERSARIES, LINES, strict=True):
        _lead(axes, pair.guarded, color=colour, linestyle=line, label=name)
    _lead(
        axes,
        result.adversaries[HARMFUL].unguarded,
        color=BARE,
        linestyle="-",
        linewidth=1,
        label=f"{HARMFUL}, no guard",
    )
    last = len(result.recency.lead)
    promised = [-result.fits, -result.fits - last / CALLS_PER_HIT]
    axes.plot([0, last], promised, color="black", linewidth=2, label="no less is promised")
    axes.axhline(0, color=RECENCY, linestyle=":", linewidth=1.5)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.45 * (high - low))
    axes.legend(loc="upper left", fontsize=9, ncols=2)
    axes.set_title("adversaries with guard, all calls")
    axes.set_xlabel("calls")
    axes.set_ylabel("hits more than LRU, in whole memories")


def _lead(
    axes: Axes, measured: Measured, *, color: str, linestyle: str, label: str, linewidth: float = 1.5
) -> None:
    apart, more = thinned(measured.lead)
    calls = range(apart, apart * (len(more) + 1), apart)
    axes.plot(calls, more, color=color, linestyle=linestyle, linewidth=linewidth, label=label)


def _share(measured: Measured) -> float:
    """Not a number, and so no point, where there is nothing to find."""
    share = of_belady(measured.first_calls)
    return math.nan if share is None else share

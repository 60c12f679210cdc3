"""Studies as pictures, one function each, made from their results alone and readable without the code."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Result = Mapping[str, Any]
"""A file of results, as `studies.running` writes it."""
Row = Mapping[str, Any]

# Okabe and Ito's colours, told apart by everybody.
BLUE, ORANGE, GREEN, RED, SKY, PINK, GREY = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#555555"),
)
COLOURS = (BLUE, ORANGE, GREEN, RED, SKY, PINK)
HATCHES = ("", "//", "..", "xx", "--", "\\\\")
MARKERS = ("o", "s", "^", "D", "v", "P")
OURS = frozenset({"nearest_first", "cost_aware"})
ERRORS = {
    "sigma": "lognormal factor, s",
    "early": "back early, probability",
    "every": "steps from one update to the next",
    "missing": "share of agents never told of",
    "reversed": "order reversed",
}
EXACT = {"sigma": 0.0, "early": 0.0, "every": 1.0, "missing": 0.0, "reversed": 0.0}
"""The value of each error that is none."""


def draw(result: Result, path: Path) -> None:
    """Writes a PNG. Raises `KeyError` for a study that nobody draws."""
    figure = DRAWN[result["study"]](result)
    FigureCanvasAgg(figure)
    figure.suptitle(result["title"])
    commit = str(result["commit"])[:12]
    told = [
        f"Predicted by a model of engines on an H100 with Qwen2.5-7B. {result['about']}",
        f"{result['command']} · commit {commit} · seed {result['seed']}",
    ]
    width = int(figure.get_figwidth() * 13)
    caption = "\n".join(line for text in told for line in textwrap.wrap(text, width))
    figure.supxlabel(caption, fontsize=8, x=0.01, ha="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=120)


def belady_share(result: Result) -> Figure:
    figure, rows = _figure(14, 5.6), result["rows"]
    scenarios = _values(rows, "scenario")
    policies = _values(rows, "policy")
    by = {(row["policy"], row["scenario"]): row for row in rows}
    policies.sort(key=lambda policy: sum(by[policy, name]["first_of_belady"] for name in scenarios))
    places = range(len(policies))
    for axes, name in zip(figure.subplots(1, len(scenarios), sharey=True), scenarios, strict=True):
        shares = [by[policy, name]["first_of_belady"] for policy in policies]
        colours = [BLUE if policy in OURS else SKY for policy in policies]
        bars = axes.barh(places, shares, color=colours, height=0.65)
        axes.bar_label(bars, fmt="%.2f", padding=6, fontsize=8)
        everything = [by[policy, name]["all_of_belady"] for policy in policies]
        axes.plot(everything, places, linestyle="", marker="D", markersize=4, color=RED, label="all calls")
        axes.axvline(1, color="black", linewidth=1)
        axes.set_xlim(0, 1.18)
        axes.set_yticks(places, policies)
        axes.set_title(name)
        axes.set_xlabel("hits, share of Belady's (bars: first calls)")
        axes.legend(loc="lower right", fontsize=8)
    return figure


def loads_ahead(result: Result) -> Figure:
    figure, rows = _figure(14, 7.2), result["rows"]
    scenarios, policies = _values(rows, "scenario"), _values(rows, "policy")
    grid = figure.subplots(2, len(scenarios), sharey="row")
    for column, name in enumerate(scenarios):
        of = [row for row in rows if row["scenario"] == name]
        above, below = grid[0][column], grid[1][column]
        bars = above.bar(policies, [row["hidden"] for row in of], color=_ours(policies), width=0.6)
        above.bar_label(bars, fmt="%.2f", padding=2, fontsize=8)
        bounds = [row["could_be_hidden"] for row in of]
        above.plot(policies, bounds, linestyle="", marker="_", markersize=24, color=RED, label="bound")
        above.set_ylim(0, 1.2)
        above.set_ylabel("share of load time hidden")
        above.legend(loc="upper left", fontsize=8)
        above.set_title(name)
        bars = below.bar(policies, [row["step_s"] for row in of], color=_ours(policies), width=0.6)
        below.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
        below.set_ylabel("seconds of a step")
        for axes in (above, below):
            axes.tick_params(axis="x", rotation=25, labelsize=8)
    return figure


def ablation(result: Result) -> Figure:
    figure, rows = _figure(14, 6), result["rows"]
    overheads = _values(rows, "load_overhead_ms")
    for axes, overhead in zip(figure.subplots(1, len(overheads)), overheads, strict=True):
        of = [row for row in rows if row["load_overhead_ms"] == overhead]
        base = next(row["step_s"] for row in of if row["parts"] == "nothing")
        places = range(len(of))
        speedups = [base / row["step_s"] for row in of]
        colours = [BLUE if row["parts"] == "all" else SKY for row in of]
        bars = axes.barh(places, speedups, color=colours, height=0.65)
        labels = [
            f"{speedup:.2f}  (hidden {row['hidden']:.2f})" for speedup, row in zip(speedups, of, strict=True)
        ]
        axes.bar_label(bars, labels, padding=4, fontsize=8)
        axes.axvline(1, color="black", linewidth=1)
        axes.set_xlim(0, max(speedups) * 1.35)
        axes.set_yticks(places, [row["parts"] for row in of])
        axes.set_title(f"{overhead:g} ms for each load")
        axes.set_xlabel(f"times as fast as without ({base:.1f} s a step)")
        axes.invert_yaxis()
    return figure


def wrong_distances(result: Result) -> Figure:
    rows = result["rows"]
    exact = next(row for row in rows if row["error"] == "none" and row["guard"] == "yes")
    recency = next(row for row in rows if row["policy"] == "stock")
    errors = [error for error in _values(rows, "error") if error in ERRORS]
    figure = _figure(15, 4.6)
    for axes, error in zip(figure.subplots(1, len(errors), sharey=True), errors, strict=True):
        # The wide marks below, so that both are seen where they are one.
        for guard, colour, style in (
            ("no", RED, {"linestyle": "--", "marker": "s", "markersize": 9, "fillstyle": "none"}),
            ("yes", BLUE, {"linestyle": "-", "marker": "o", "markersize": 5}),
        ):
            of = [row for row in rows if row["error"] == error and row["guard"] == guard]
            values = [EXACT[error], *(row["value"] for row in of)]
            shares = [row["first_of_belady"] for row in (exact, *of)]
            label = "with guard" if guard == "yes" else "without guard"
            axes.plot(values, shares, color=colour, label=label, **style)
        axes.axhline(recency["first_of_belady"], color=GREY, linestyle=":", label="recency")
        axes.axhline(1, color="black", linewidth=1, label="Belady")
        axes.set_ylim(0, 1.1)
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.set_xlabel(ERRORS[error])
        axes.set_ylabel("hits of first calls, share of Belady's")
        axes.legend(loc="lower left", fontsize=8)
    return figure


def oracle_gap(result: Result) -> Figure:
    figure, rows = _figure(14, 5), result["rows"]
    scenarios, sources = _values(rows, "scenario"), _values(rows, "source")
    by = {(row["scenario"], row["source"]): row for row in rows}
    _grouped(
        figure.subplots(1, 1),
        scenarios,
        {source: [by[name, source]["first_of_belady"] for name in scenarios] for source in sources},
    )
    (axes,) = figure.axes
    axes.axhline(1, color="black", linewidth=1)
    axes.set_ylim(0, 1.35)
    axes.set_ylabel("hits of first calls, share of Belady's")
    axes.legend(loc="upper center", ncols=3, fontsize=9)
    return figure


def budgets(result: Result) -> Figure:
    figure = _figure(14, 5)
    step, adapters, prefixes = figure.subplots(1, 3)
    for axes, key, label in (
        (step, "step_s", "seconds of a step"),
        (adapters, "adapters", "calls that found their adapter"),
        (prefixes, "on_device", "prompt tokens found on the device"),
    ):
        _lines(axes, result["rows"], "policy", "slots", key)
        axes.set_xlabel("slots for adapters; the rest is for prefixes")
        axes.set_ylabel(label)
    return figure


def engines(result: Result) -> Figure:
    figure, rows = _figure(14, 5), result["rows"]
    step, adapters, moved = figure.subplots(1, 3)
    for axes, key, label in (
        (step, "step_s", "seconds of a step"),
        (adapters, "adapters", "calls that found their adapter"),
    ):
        _lines(axes, rows, "policy", "engines", key)
        axes.set_ylabel(label)
    of_all = [
        {**row, "policy": f"{row['policy']}: {what}", "gb": row[key]}
        for key, what in (("demand_gb", "waited for"), ("ahead_gb", "ahead"))
        for row in rows
        if row[key] or key == "demand_gb"
    ]
    _lines(moved, of_all, "policy", "engines", "gb")
    moved.set_ylabel("GB moved to devices")
    for axes in (step, adapters, moved):
        axes.set_xscale("log", base=2)
        counts = _values(rows, "engines")
        axes.set_xticks(counts, [f"{count:g}" for count in counts])
        axes.set_xlabel("engines")
    return figure


def placement(result: Result) -> Figure:
    figure, rows = _figure(14, 5), result["rows"]
    rules, policies = _values(rows, "placement"), _values(rows, "policy")
    by = {(row["policy"], row["placement"]): row for row in rows}
    for axes, key, label in zip(
        figure.subplots(1, 3),
        ("step_s", "adapters", "demand_gb"),
        ("seconds of a step", "calls that found their adapter", "GB that calls waited for"),
        strict=True,
    ):
        _grouped(axes, rules, {policy: [by[policy, rule][key] for rule in rules] for policy in policies})
        axes.set_ylabel(label)
        axes.margins(y=0.2)
        axes.legend(loc="upper left", fontsize=8, ncols=2)
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _values(rows: Sequence[Row], name: str) -> list[Any]:
    """Each once, in their order."""
    return list(dict.fromkeys(row[name] for row in rows))


def _ours(policies: Sequence[str]) -> list[str]:
    return [BLUE if policy in OURS else SKY for policy in policies]


def _grouped(axes: Axes, groups: Sequence[str], values: Mapping[str, Sequence[float]]) -> None:
    """Bars beside each other in each group, one of each kind."""
    width = 0.84 / len(values)
    for number, (label, heights) in enumerate(values.items()):
        places = [place + (number - (len(values) - 1) / 2) * width for place in range(len(groups))]
        style = {"color": COLOURS[number], "hatch": HATCHES[number], "edgecolor": "white"}
        bars = axes.bar(places, heights, width, label=label, **style)  # type: ignore[arg-type]
        axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=7)
    axes.set_xticks(range(len(groups)), groups)


def _lines(axes: Axes, rows: Sequence[Row], name: str, x: str, y: str) -> None:
    """One for each value of `name`."""
    for number, value in enumerate(_values(rows, name)):
        of = [row for row in rows if row[name] == value]
        axes.plot(
            [row[x] for row in of],
            [row[y] for row in of],
            color=COLOURS[number],
            marker=MARKERS[number],
            label=value,
        )
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)


DRAWN: Mapping[str, Callable[[Result], Figure]] = {
    "ablation": ablation,
    "belady-share": belady_share,
    "budgets": budgets,
    "engines": engines,
    "loads-ahead": loads_ahead,
    "oracle-gap": oracle_gap,
    "placement": placement,
    "wrong-distances": wrong_distances,
}
"""By the study's name."""

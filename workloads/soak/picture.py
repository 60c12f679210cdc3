"""A soak as a picture: memory, open files and calls over time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scalesim.workloads.picture import OWN

from .results import Soaked


def draw(told: Mapping[str, object], soaked: Soaked, path: Path) -> None:
    """Writes a PNG."""
    figure = Figure(figsize=(12, 9), layout="constrained")
    FigureCanvasAgg(figure)
    minutes = [one.at_s / 60 for one in soaked.looks]
    rows = (
        ("memory of the proxy, MB", [one.rss_mb for one in soaked.looks]),
        ("open files of the proxy", [float(one.fds) for one in soaked.looks]),
        ("calls ended", [float(one.ended) for one in soaked.looks]),
    )
    for axes, (label, values) in zip(figure.subplots(len(rows), 1, sharex=True), rows, strict=True):
        axes.plot(minutes, values, color=OWN)
        if soaked.warm_at is not None:
            axes.axvline(soaked.warm_at.at_s / 60, color="#999999", linestyle=":")
        axes.set_ylim(0, max([1.0, *values]) * 1.1)
        axes.set_ylabel(label)
    verdict = "nothing was lost, nothing grew" if soaked.is_well else "; ".join(soaked.problems)
    figure.suptitle(f"{sum(soaked.ended.values()):,} calls: {verdict}")
    commit = str(told["commit"])[:12]
    figure.supxlabel(
        f"minutes (dotted: end of the warm-up)\n{told['command']} · commit {commit} · seed {told['seed']} · {told['machine']}",
        fontsize=8,
    )
    figure.savefig(path, format="png", dpi=110)

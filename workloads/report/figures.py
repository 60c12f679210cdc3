"""The paper's figures: what it published beside what our model predicts, one function each, from a result alone."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .paper import MACHINES, SCENARIOS, SPARSE, Ours, Result, machine_point, sparse_point
from .points import Point
from .published import Published

# Okabe and Ito's colours, told apart by everybody; what was published is hatched or hollow besides.
COLOURS = {"sglang": "#999999", "hicache": "#E69F00", "scalesim": "#0072B2"}
NAMES = {"sglang": "SGLang", "hicache": "HiCache", "scalesim": "ScaleSim"}
KINDS = {"decode": "#0072B2", "prefill": "#56B4E9", "load": "#D55E00", "other": "#BBBBBB"}
HATCH = "///"
EDGE = "#333333"
DPI = 110
WIDTH = 0.8
"""Of all bars of a group."""


@dataclass(frozen=True, slots=True)
class Drawing:
    number: int
    title: str
    about: str
    """What is to be seen, and what is published and what predicted."""
    make: Callable[[Ours, Published], Figure]

    @property
    def file_name(self) -> str:
        return f"paper-figure-{self.number}.png"


def draw(drawing: Drawing, told: Result, published: Published, path: Path) -> None:
    """Writes a PNG."""
    figure = drawing.make(Ours(told), published)
    figure.suptitle(f"Figure {drawing.number} of the paper: {drawing.title}")
    lines = [drawing.about, source(told, published)]
    width = int(figure.get_figwidth() * 14)
    caption = "\n".join(line for text in lines for line in textwrap.wrap(text, width))
    figure.supxlabel(caption, fontsize=8, x=0.01, ha="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=DPI, metadata={"Software": None})


def source(told: Result, published: Published) -> str:
    return (
        f"Published: {published.source}. Ours: a model of an H100, not measured on one; "
        f"{told['command']} · commit {str(told['commit'])[:12]} · seed {told['seed']}"
    )


def _figure(width: float = 11, height: float = 5.4) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@dataclass(frozen=True, slots=True)
class _Bars:
    label: str
    heights: Sequence[float]
    colour: str
    published: bool


def _grouped(axes: Axes, groups: Sequence[str], bars: Sequence[_Bars], digits: int = 2) -> None:
    width = WIDTH / len(bars)
    for place, one in enumerate(bars):
        at = [group - WIDTH / 2 + (place + 0.5) * width for group in range(len(groups))]
        drawn = axes.bar(
            at,
            one.heights,
            width * 0.92,
            label=one.label,
            color="white" if one.published else one.colour,
            edgecolor=one.colour,
            hatch=HATCH if one.published else "",
            linewidth=1.2,
        )
        axes.bar_label(drawn, fmt=f"%.{digits}f", padding=2, fontsize=7, rotation=90)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylim(0, max(max(one.heights) for one in bars) * 1.22)


def _agents(numbers: Sequence[int]) -> list[str]:
    return [f"{number:,}" for number in numbers]


def loads(ours: Ours, published: Published) -> Figure:
    numbers = list(published.load_per_step)
    figure = _figure(9)
    axes = figure.subplots()
    predicted = [ours.of(Point("hicache", agents))["load_s"] for agents in numbers]
    bars = [
        _Bars("published", list(published.load_per_step.values()), COLOURS["hicache"], True),
        _Bars("our model of HiCache", predicted, COLOURS["hicache"], False),
    ]
    _grouped(axes, _agents(numbers), bars, 1)
    axes.set_xlabel("agents")
    axes.set_ylabel("seconds of loading in a step")
    axes.legend(loc="upper left")
    return figure


def active(ours: Ours, published: Published) -> Figure:
    figure = _figure(9)
    axes = figure.subplots()
    for values, label, colour, style in (
        (published.active_percent, "published (AgentSociety)", COLOURS["hicache"], "--"),
        (ours.told["active_percent"], "our scenario independent, 500 agents", COLOURS["scalesim"], "-"),
    ):
        mean = sum(values) / len(values)
        steps = range(1, len(values) + 1)
        fill = "none" if style == "--" else "full"
        axes.plot(
            steps,
            values,
            style,
            marker="o",
            fillstyle=fill,
            color=colour,
            label=f"{label}: mean {mean:.1f} %",
        )
    axes.set_ylim(0, 30)
    axes.set_xticks(range(2, len(published.active_percent) + 1, 2))
    axes.set_xlabel("step")
    axes.set_ylabel("agents that call, %")
    axes.legend(loc="lower left")
    return figure


def speedups(ours: Ours, published: Published) -> Figure:
    figure = _figure(15, 5.6)
    panels = figure.subplots(1, len(SCENARIOS), sharey=True)
    top = 0.0
    for axes, name in zip(panels, SCENARIOS, strict=True):
        told = published.speedup[name]
        numbers = list(told["scalesim"])
        bars = []
        for system in ("hicache", "scalesim"):
            predicted = [ours.speedup(Point(system, agents, name)) for agents in numbers]
            bars.append(
                _Bars(f"{NAMES[system]}, published", list(told[system].values()), COLOURS[system], True)
            )
            bars.append(_Bars(f"{NAMES[system]}, our model", predicted, COLOURS[system], False))
        _grouped(axes, _agents(numbers), bars)
        top = max(top, axes.get_ylim()[1])
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_title(name)
        axes.set_xlabel("agents")
    panels[0].set_ylim(0, top)
    panels[0].set_ylabel("times as fast as SGLang")
    panels[1].legend(loc="upper left", fontsize=8, ncols=2, framealpha=0.95)
    return figure


def step_times(ours: Ours, published: Published) -> Figure:
    numbers = list(published.step_s["sglang"])
    figure = _figure(13, 5.6)
    panels = figure.subplots(1, 3, sharey=True)
    for axes, system in zip(panels, ("sglang", "hicache", "scalesim"), strict=True):
        predicted = [ours.step_s(Point(system, agents)) for agents in numbers]
        bars = [
            _Bars("published", list(published.step_s[system].values()), COLOURS[system], True),
            _Bars("our model", predicted, COLOURS[system], False),
        ]
        _grouped(axes, _agents(numbers), bars, 1)
        axes.set_title(NAMES[system])
        axes.set_xlabel("agents")
        axes.legend(loc="upper left")
    panels[1].set_title("HiCache (fitted on its times with 25 to 200)")
    panels[2].set_title("ScaleSim")
    panels[0].set_ylabel("seconds of a step")
    panels[0].set_ylim(0, 1.2 * max(max(of.values()) for of in published.step_s.values()) * 1.1)
    return figure


def first_tokens(ours: Ours, published: Published) -> Figure:
    numbers = list(published.ttft_s["sglang"])
    figure = _figure(13)
    left, right = figure.subplots(1, 2)
    told = [
        _Bars(NAMES[system], list(of.values()), COLOURS[system], True)
        for system, of in published.ttft_s.items()
    ]
    predicted = [
        _Bars(
            NAMES[system],
            [ours.of(Point(system, agents))["ttft_s"] for agents in numbers],
            COLOURS[system],
            False,
        )
        for system in published.ttft_s
    ]
    for axes, bars, title in ((left, told, "published"), (right, predicted, "our model")):
        _grouped(axes, _agents(numbers), bars)
        axes.set_title(title)
        axes.set_xlabel("agents")
        axes.set_ylabel("mean time to first token, s")
        axes.legend(loc="upper left")
    return figure


def sparsity(ours: Ours, published: Published) -> Figure:
    figure = _figure(13)
    for axes, (agents, actives) in zip(
        figure.subplots(1, len(SPARSE), sharey=True), SPARSE.items(), strict=True
    ):
        told = published.sparsity[agents]
        colour = COLOURS["hicache"]
        axes.plot(
            list(told),
            list(told.values()),
            "--",
            marker="o",
            fillstyle="none",
            color=colour,
            label="published",
        )
        found = [ours.speedup(sparse_point("scalesim", agents, one)) for one in actives]
        axes.plot(actives, found, "-", marker="o", color=COLOURS["scalesim"], label="our model")
        axes.axvline(125, color=EDGE, linestyle=":", label="adapter slots")
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_ylim(0.8, 2.2)
        axes.set_title(f"{agents} agents")
        axes.set_xlabel("agents active in a step, on average")
        axes.set_ylabel("times as fast as SGLang")
        axes.legend(loc="upper right")
    return figure


def machines(ours: Ours, published: Published) -> Figure:
    figure = _figure(9)
    axes = figure.subplots()
    predicted = [ours.speedup(machine_point("scalesim", name)) for name in MACHINES]
    bars = [
        _Bars("published", [published.machines[name] for name in MACHINES], COLOURS["scalesim"], True),
        _Bars("our model", predicted, COLOURS["scalesim"], False),
    ]
    _grouped(axes, list(MACHINES), bars)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_ylabel("times as fast as SGLang, 500 agents")
    axes.legend(loc="lower left", framealpha=0.95)
    return figure


def shares(ours: Ours, published: Published) -> Figure:
    numbers = list(published.shares["hicache"])
    figure = _figure(15, 5.8)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, system in zip(panels, ("hicache", "scalesim"), strict=True):
        for place, agents in enumerate(numbers):
            whole = ours.step_s(Point("hicache", agents))
            one = ours.of(Point(system, agents))
            predicted = [one[f"{kind}_s"] / whole for kind in KINDS]
            for offset, values, hatch in (
                (-0.21, published.shares[system][agents], HATCH),
                (0.21, predicted, ""),
            ):
                floor = 0.0
                for colour, value in zip(KINDS.values(), values, strict=True):
                    axes.bar(
                        place + offset,
                        value,
                        0.38,
                        bottom=floor,
                        color=colour,
                        hatch=hatch,
                        edgecolor="white",
                    )
                    floor += value
        axes.set_xticks(range(len(numbers)), _agents(numbers))
        axes.set_title(f"{NAMES[system]} (left, hatched: published; right: our model)")
        axes.set_xlabel("agents")
        axes.set_ylim(0, 1.18)
    for kind, colour in KINDS.items():
        panels[0].bar(0, 0, color=colour, label=kind)
    panels[0].legend(loc="upper left", ncols=4)
    panels[0].set_ylabel("seconds, of HiCache's step = 1")
    return figure


_SETTING = "Agents have a LoRA adapter of 323 MB each; an H100 with Qwen2.5-7B has slots for a quarter of them, at most 125."
DRAWINGS = (
    Drawing(
        2,
        "what loading costs in a step",
        "How long engines stand still in a step because adapters are copied to the GPU when calls are there already. "
        + _SETTING,
        loads,
    ),
    Drawing(3, "few agents call in a step", "Share of all agents that call the model, step by step.", active),
    Drawing(
        8,
        "speedup over SGLang",
        "Step time of SGLang, which computes again what left the GPU, over that of HiCache, which copies it back when a call is "
        "there, and of ScaleSim, which brings it before. ScaleSim in our bars is this project, told exact distances. "
        + _SETTING,
        speedups,
    ),
    Drawing(
        9,
        "seconds of a step",
        "Scenario independent. Three figures of the engine were fitted on HiCache's published times with 25, 50, 100 and 200 agents; all "
        "other bars are predictions. " + _SETTING,
        step_times,
    ),
    Drawing(
        10,
        "time to first token",
        "Mean over all calls, scenario independent. The paper's axis says milliseconds; seconds are likelier, but then the first token of a "
        "call takes as long as a whole step with 50 agents, so that a different time must be meant, and the panels have scales of their own.",
        first_tokens,
    ),
    Drawing(
        11,
        "how many are active",
        "Speedup of ScaleSim over SGLang as more of 250 or 500 agents are active in each step; slots for 125 adapters in both.",
        sparsity,
    ),
    Drawing(
        12,
        "other machines",
        "Speedup of ScaleSim over SGLang with 500 agents, the model spread over so many H100. This project loads adapters ahead on one GPU "
        "only: with several, it orders what leaves and nothing else.",
        machines,
    ),
    Drawing(
        13,
        "what the time goes into",
        "Time of a step by what the engine does, in lengths of HiCache's step with as many agents. Scenario independent. "
        + _SETTING,
        shares,
    ),
)
BY_NUMBER: Mapping[int, Drawing] = {drawing.number: drawing for drawing in DRAWINGS}

"""The paper's numbers beside ours, as rows of text: for pages and for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .fit import FITTED_ON
from .paper import CROWD, SCENARIOS, Ours, Result
from .points import SYSTEMS, Point
from .published import Published

Rows = list[list[str]]
_NAMES = {"sglang": "SGLang", "hicache": "HiCache", "scalesim": "ScaleSim"}


def step_times(told: Result, published: Published) -> Rows:
    """Seconds of a step, and how far off the model is."""
    ours = Ours(told)
    rows = [["agents", *(f"{_NAMES[system]}: published / ours" for system in SYSTEMS), "fitted on"]]
    for agents in published.step_s["sglang"]:
        cells = []
        for system in SYSTEMS:
            was, found = published.step_s[system][agents], ours.step_s(Point(system, agents))
            cells.append(f"{was:.1f} / {found:.1f} ({_off(found, was)})")
        rows.append([f"{agents:,}", *cells, "HiCache" if agents in FITTED_ON else ""])
    return rows


def speedups(told: Result, published: Published) -> Rows:
    """Of ScaleSim over SGLang: by the paper's figure of speedups, by its figure of seconds, and by ours."""
    ours = Ours(told)
    rows = [["scenario", "agents", "ScaleSim, figure 8", "ScaleSim, figure 9", "ours"]]
    for name in SCENARIOS:
        for agents in sorted(
            {
                *published.speedup[name]["scalesim"],
                *(published.step_s["sglang"] if name == "independent" else ()),
            }
        ):
            by_eight = published.speedup[name]["scalesim"].get(agents)
            by_nine = None
            if name == "independent":
                by_nine = published.step_s["sglang"][agents] / published.step_s["scalesim"][agents]
            found = ours.speedup(Point("scalesim", agents, name))
            rows.append([name, f"{agents:,}", _times(by_eight), _times(by_nine), _times(found)])
    return rows


def shares(told: Result, published: Published) -> Rows:
    """Decode, prefill and load in HiCache's step, in its lengths."""
    ours = Ours(told)
    rows = [["agents", "published: decode / prefill / load", "ours", "published, s", "ours, s"]]
    for agents, was in published.shares["hicache"].items():
        one, whole = ours.of(Point("hicache", agents)), published.step_s["hicache"][agents]
        seconds = [one[f"{kind}_s"] for kind in ("decode", "prefill", "load")]
        rows.append(
            [
                f"{agents:,}",
                _join(was[:3], 2),
                _join([value / one["step_s"] for value in seconds], 2),
                _join([share * whole for share in was[:3]], 1),
                _join(seconds, 1),
            ]
        )
    return rows


def crowd(told: Result, published: Published) -> Rows:
    """With more active agents than slots: who waits for a turn, and who does not."""
    ours = Ours(told)
    rows = [
        [
            "1,000 agents",
            "published, s",
            "as many at once as slots, s",
            "adapters loaded",
            "all at once, s",
            "adapters loaded",
        ]
    ]
    for system in ("hicache", "scalesim"):
        one, other = (ours.of(Point(system, CROWD, side_by_side=together)) for together in (False, True))
        cells = [f"{value:.1f}" for value in (one["step_s"], one["loads"], other["step_s"], other["loads"])]
        rows.append([_NAMES[system], f"{published.step_s[system][CROWD]:.1f}", *cells])
    return rows


def free(told: Result) -> Rows:
    rows = [["free", "value", "what it is"]]
    rows += [[name, f"{one['value']:g}", one["about"]] for name, one in told["fit"]["free"].items()]
    return rows


def fits(told: Result, published: Published) -> Iterator[tuple[str, int, float]]:
    """Of SGLang and HiCache where nothing was fitted: system, agents, and by what share the model is off."""
    ours = Ours(told)
    for system in ("sglang", "hicache"):
        for agents in (500, 1000):
            was = published.step_s[system][agents]
            yield system, agents, ours.step_s(Point(system, agents)) / was - 1


def _off(found: float, was: float) -> str:
    return f"{100 * (found / was - 1):+.0f} %"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _join(values: Sequence[float], digits: int) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in values)

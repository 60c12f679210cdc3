"""What the paper does not tell of its engine, found from its times: three figures of the engine, by the published times of HiCache with 25, 50,
100 and 200 agents and what these times went into. Nothing of larger simulations, of SGLang or of ScaleSim is looked at.

Gauss and Newton's method on the logarithms of the figures: each is changed a little in turn, and then all are set to what would fit if the
times changed in proportion. The same seed gives the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scalesim.workloads.replay import profiles
from scalesim.workloads.replay.profiles import Server

from .points import Played, Point, played, program_of
from .published import Published

FREE = {
    "bandwidth_share": "of the makers' bytes per second in decoding",
    "prefill_overhead_s": "of each step that computes prompts, which run without CUDA graphs",
    "adapter_overhead_s": "of each load of an adapter; the paper's own figures come to 85 to 125 ms",
}
"""The free figures of the engine's profile, and what they are."""
BEGIN = {"bandwidth_share": 0.5, "prefill_overhead_s": 0.02, "adapter_overhead_s": 0.1}
"""Where the search begins: in the middle of what is plausible."""
FITTED_ON = (25, 50, 100, 200)
KINDS = ("decode", "prefill", "load")
NUDGE = 0.1
"""By which each figure is changed in turn, as a logarithm: large enough that chance does not count."""
MOST_ROUNDS = 6
ENOUGH = 0.005
"""The search ends where no figure changes by more, as a logarithm."""
LONGEST_STEP = 0.7
_MOST = {"bandwidth_share": 1.0}

Vector = NDArray[np.float64]
Model = Callable[[Server], Mapping[int, Played]]
"""What comes of an engine like this, by number of agents."""


@dataclass(frozen=True, slots=True)
class Fit:
    server: Server
    values: Mapping[str, float]
    played: Mapping[int, Played]
    error: float
    """Root of the mean square of all differences, as shares of the step time."""
    rounds: int
    plays: int
    data: int
    """Published numbers that were used."""

    def as_json(self) -> dict[str, object]:
        return {
            "free": {
                name: {"value": self.values[name], "about": about, "begun_at": BEGIN[name]}
                for name, about in FREE.items()
            },
            "data": self.data,
            "fitted_on_agents": list(FITTED_ON),
            "error": self.error,
            "rounds": self.rounds,
            "plays": self.plays,
            "played": {str(agents): one.as_json() for agents, one in self.played.items()},
        }


def fit(
    published: Published, model: Model, base: Server, progress: Callable[[str], None] = lambda _: None
) -> Fit:
    """`base`: what is not free."""
    logs = np.array([math.log(BEGIN[name]) for name in FREE])
    plays = 0

    def at(point: Vector) -> tuple[Mapping[int, Played], Vector]:
        nonlocal plays
        plays += 1
        found = model(_server(base, point))
        return found, np.array(differences(published, found))

    found, here = at(logs)
    rounds = 0
    for _ in range(MOST_ROUNDS):
        rounds += 1
        progress(f"round {rounds}: {_told(logs)}, off by {_error(here):.3f}")
        slopes = np.column_stack([(at(logs + NUDGE * one)[1] - here) / NUDGE for one in np.eye(len(FREE))])
        change, *_ = np.linalg.lstsq(slopes, -here, rcond=None)
        change = np.clip(change, -LONGEST_STEP, LONGEST_STEP)
        # Half as far, until it is nearer: times are in proportion for a little way only.
        while np.abs(change).max() > ENOUGH:
            there, then = at(logs + change)
            if _error(then) < _error(here):
                logs, found, here = logs + change, there, then
                break
            change = change / 2
        else:
            break
    values = _values(logs)
    return Fit(_server(base, logs), values, found, _error(here), rounds, plays, len(here))


def differences(published: Published, found: Mapping[int, Played]) -> list[float]:
    """Of the whole step and of each kind, as shares of the published step time."""
    out = []
    for agents in FITTED_ON:
        whole, one = published.step_s["hicache"][agents], found[agents]
        out.append((one.step_s - whole) / whole)
        for kind, share in zip(KINDS, published.shares["hicache"][agents], strict=False):
            out.append(getattr(one, f"{kind}_s") / whole - share)
    return out


def plays_of(seed: int) -> Model:
    """By the model of `replay`, of HiCache."""
    points = [Point("hicache", agents) for agents in FITTED_ON]
    programs = [program_of(point, seed) for point in points]

    def model(server: Server) -> dict[int, Played]:
        return {
            point.agents: played(point, server, program)
            for point, program in zip(points, programs, strict=True)
        }

    return model


def profile_text(found: Fit, told: str) -> str:
    """As a file beside the other profiles. `told`: where it is from."""
    lines = [f"# {told}"]
    for name in Server.__slots__:
        value = getattr(found.server, name)
        shown = f'"{value}"' if isinstance(value, str) else f"{value:g}"
        why = f"  # fitted: {FREE[name]}" if name in FREE else ""
        lines.append(f"{name} = {shown}{why}")
    return "\n".join(lines) + "\n"


def base_server() -> Server:
    """What is not free, is as it is for SGLang. A load of an adapter has an overhead of its own here."""
    return replace(profiles.server(), name="SGLang, as fitted to the paper")


def _values(logs: Vector) -> dict[str, float]:
    """To four digits: more would be made up, and this is what the profile says."""
    return {
        name: float(f"{min(math.exp(float(log)), _MOST.get(name, math.inf)):.4g}")
        for name, log in zip(FREE, logs, strict=True)
    }


def _server(base: Server, logs: Vector) -> Server:
    return replace(base, **_values(logs))  # type: ignore[arg-type]


def _error(residuals: Vector) -> float:
    return float(np.sqrt(np.mean(residuals**2)))


def _told(logs: Vector) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in _values(logs).items())

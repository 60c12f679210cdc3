"""The paper's figures from plays of ours: what is played for them, and what came of it as one result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from scalesim.workloads.program import Wishes
from scalesim.workloads.scenarios import scenario

from .points import MOST_SLOTS, SYSTEMS, Played, Point
from .published import Published

SCHEMA = 1
Result = Mapping[str, Any]
"""The file of results."""
SCENARIOS = ("independent", "interaction", "diffusion")
MACHINES = {
    "7B, 1 GPU": ("qwen2.5-7b", 1),
    "7B, 2 GPUs": ("qwen2.5-7b", 2),
    "32B, 4 GPUs": ("qwen2.5-32b", 4),
    "32B, 8 GPUs": ("qwen2.5-32b", 8),
}
ON_MACHINES = 500
SPARSE = {250: (25, 125, 150, 200), 500: (50, 125, 150, 200)}
"""Of the agents, so many are active on average: those of the paper's points that are played."""
CROWD = 1000


def points(published: Published) -> list[Point]:
    """Each once."""
    wanted = [Point(system, agents) for agents in published.step_s["sglang"] for system in SYSTEMS]
    wanted += [
        Point(system, agents, name)
        for name in SCENARIOS
        for agents in published.ttft_s["sglang"]
        for system in SYSTEMS
    ]
    wanted += [
        sparse_point(system, agents, active)
        for agents, actives in SPARSE.items()
        for active in actives
        for system in ("sglang", "scalesim")
    ]
    wanted += [machine_point(system, name) for name in MACHINES for system in ("sglang", "scalesim")]
    wanted += [Point(system, CROWD, side_by_side=True) for system in ("hicache", "scalesim")]
    return list(dict.fromkeys(wanted))


def sparse_point(system: str, agents: int, active: int) -> Point:
    """As the paper's sweep, which peaks where more than 125 agents are active: so many have a slot however few agents there are."""
    return Point(system, agents, active=float(active), slots=MOST_SLOTS)


def machine_point(system: str, name: str) -> Point:
    model, devices = MACHINES[name]
    return Point(system, ON_MACHINES, model=model, devices=devices)


def active_percent(seed: int, steps: int, agents: int = ON_MACHINES) -> list[float]:
    """Of all agents, those that call in each step of `independent`."""
    program = scenario("independent").generate(Wishes(agents, steps, seed, sketched=True))
    return [100 * len(step.activations) / agents for step in program.steps]


def result(
    found: Mapping[Point, Played],
    fitted: Mapping[str, object],
    percent: Sequence[float],
    about: Mapping[str, object],
) -> dict[str, object]:
    """`about`: where it comes from."""
    rows = [{**asdict(point), "played": one.as_json()} for point, one in found.items()]
    return {**about, "fit": dict(fitted), "active_percent": list(percent), "points": rows}


class Ours:
    """What a result says of a point."""

    def __init__(self, told: Result) -> None:
        self.told = told
        self._played: dict[Point, dict[str, float]] = {}
        for row in told["points"]:
            fields = {name: value for name, value in row.items() if name != "played"}
            self._played[Point(**fields)] = row["played"]

    def of(self, point: Point) -> dict[str, float]:
        """Raises `KeyError`."""
        return self._played[point]

    def step_s(self, point: Point) -> float:
        return self.of(point)["step_s"]

    def speedup(self, point: Point) -> float:
        """Over SGLang."""
        other = Point(**{**asdict(point), "system": "sglang"})
        return self.step_s(other) / self.step_s(point)

"""What is played for the paper's figures: its machine, its agents and the three systems it compares, as far as it tells them.

What it does not tell is set here, and said on the page: personas of 500 tokens, histories that do not grow (so that a step is like any
other, however many are played), the calls and answers of our scenarios, and that at most as many agents of a step call side by side
as there are adapter slots. The last follows from its own figures: with 500 agents, who all have a slot, and with 1,000, who have not,
loading takes as long for each active agent (95 and 92 ms). Had all called at once, an adapter would have had to be loaded for nearly every call.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from scalesim.workloads.program import Impossible, Program, Wishes
from scalesim.workloads.replay import profiles
from scalesim.workloads.replay.costs import Costs
from scalesim.workloads.replay.engine import Sizes
from scalesim.workloads.replay.player import play
from scalesim.workloads.replay.profiles import Server
from scalesim.workloads.replay.results import StepTime
from scalesim.workloads.replay.world import Setting
from scalesim.workloads.scenarios import scenario

RANK = 64
"""Its adapters are then 323 MB, as the paper's are."""
SLOT_SHARE, MOST_SLOTS = 0.25, 125
HOST_BYTES = 80e9
"""Of the authors' released settings."""
PERSONA_TOKENS = 500
USUAL_GAP_STEPS = 5.5
"""18 % of the agents are active in a step."""
PLAN_EVERY_S = 0.1
"""Twice as long as the proxy's own, to play faster; with 200 agents, steps take the same within 0.1 %."""
LEAD_IN = 2
"""Steps that are played, and not counted: in them nothing is on the device yet."""
STEPS = {25: 60, 50: 40, 100: 24, 200: 14, 500: 6, 1000: 4}
"""Counted, by number of agents, so that chance is about equal; of others, those of the next smaller."""
WAVES_APART = 5
"""In the scenario of news: each wave reaches everybody once, so a fifth of the agents is active in a step..."""
SOURCE_SHARE = 0.02
"""... and begins at so many of them, so that it is over before many others have begun."""

SYSTEMS = {"sglang": ("stock", False), "hicache": ("stock", True), "scalesim": ("nearest_first", True)}
"""Who orders memory, and whether prefixes have a host copy. `scalesim` is this project."""


@dataclass(frozen=True, slots=True)
class Point:
    """One play."""

    system: str
    agents: int
    scenario: str = "independent"
    active: float | None = None
    """Agents on average; None: as usual."""
    slots: int | None = None
    """None: as the paper's, by the number of agents."""
    model: str = "qwen2.5-7b"
    devices: int = 1
    side_by_side: bool = False
    """All active agents call at once, however few slots there are."""

    @property
    def places(self) -> int:
        return self.slots or max(1, min(int(self.agents * SLOT_SHARE), MOST_SLOTS))


@dataclass(frozen=True, slots=True)
class Played:
    """Means over the steps that count."""

    step_s: float
    decode_s: float
    prefill_s: float
    load_s: float
    loads: float
    """Of adapters, for calls that waited."""
    ttft_s: float
    active: float
    steps: int
    loaded_ahead: int
    """By the proxy, in all steps."""

    @property
    def other_s(self) -> float:
        return max(0.0, self.step_s - self.decode_s - self.prefill_s - self.load_s)

    def as_json(self) -> dict[str, float]:
        return {**asdict(self), "other_s": self.other_s}


def steps_of(agents: int) -> int:
    """To be counted."""
    return STEPS[max((known for known in STEPS if known <= agents), default=min(STEPS))]


def program_of(point: Point, seed: int) -> Program:
    """The same for all systems."""
    return scenario(point.scenario).generate(_wishes(point, steps_of(point.agents) + LEAD_IN, seed))


def played(point: Point, server: Server, program: Program) -> Played:
    """Raises `Impossible`."""
    costs = Costs(profiles.gpu("h100"), profiles.model(point.model), server, point.devices)
    size = costs.model.adapter_bytes(RANK)
    policy, has_host = SYSTEMS[point.system]
    host_tokens = int(HOST_BYTES) // costs.bytes_per_token if has_host else 0
    sizes = Sizes(costs.capacity_tokens(point.places, size), host_tokens, point.places, size)
    setting = Setting(costs, sizes, policy, plan_every_s=PLAN_EVERY_S)
    at_once = None if point.side_by_side else point.places
    results = play(program, setting, most_at_once=at_once)
    loaded = 0 if results.control is None else results.control.loaded
    return mean_of(results.steps[LEAD_IN:], loaded)


def mean_of(steps: tuple[StepTime, ...], loaded_ahead: int) -> Played:
    """Raises `Impossible` if there are none."""
    if not steps:
        raise Impossible("no step is left to be counted")
    many, calls = len(steps), sum(one.calls for one in steps)
    return Played(
        step_s=sum(one.seconds for one in steps) / many,
        decode_s=sum(one.decode_s for one in steps) / many,
        prefill_s=sum(one.prefill_s for one in steps) / many,
        load_s=sum(one.load_s for one in steps) / many,
        loads=sum(one.loads for one in steps) / many,
        ttft_s=sum(one.ttft_s * one.calls for one in steps) / (calls or 1),
        active=sum(one.active_agents for one in steps) / many,
        steps=many,
        loaded_ahead=loaded_ahead,
    )


def _wishes(point: Point, steps: int, seed: int) -> Wishes:
    gap = USUAL_GAP_STEPS if point.active is None else max(1.0, point.agents / point.active)
    options: dict[str, float] = {}
    if point.scenario == "diffusion":
        sources = max(1, round(point.agents * SOURCE_SHARE))
        options = {"waves": steps, "apart": WAVES_APART, "sources": sources}
    return Wishes(
        agents=point.agents,
        steps=steps,
        seed=seed,
        persona_tokens=PERSONA_TOKENS,
        growth_tokens=0,
        mean_gap_steps=gap,
        adapters=True,
        sketched=True,
        options=options,
    )

"""One play of a study, what is measured of it, and the two grounds that studies are played on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from scalesim.workloads.noise import Noise, noisy
from scalesim.workloads.program import Told, Wishes
from scalesim.workloads.replay import profiles
from scalesim.workloads.replay.costs import Costs
from scalesim.workloads.replay.engine import Sizes
from scalesim.workloads.replay.player import play
from scalesim.workloads.replay.recording import Hidden, Recording
from scalesim.workloads.replay.results import Results
from scalesim.workloads.replay.world import Setting
from scalesim.workloads.scenarios import scenario as scenario_of

SCENARIOS = ("independent", "interaction", "diffusion")
AGENTS = 500
"""As in the paper's middle."""
PERSONA_TOKENS = 4000
"""The upper end of what its workloads have, so that half of the agents' prefixes fit on an H100."""
STEPS = 12
"""Twice the mean time between an agent's activations, and a little more."""
OPTIONS: Mapping[str, Mapping[str, float]] = {"diffusion": {"waves": 10, "apart": 2}}
"""News every other step: with fewer waves, few agents are reached twice."""
RANK = 64
SLOTS = 125
HOST_GB = 80.0
"""As in the paper and its release."""
WIRE_S = 1e-3
SOFTWARE_S = 0.1
"""For each load: what the wire takes to set about it, and what an adapter took in the paper's baseline (85 to 125 ms)."""


@dataclass(frozen=True, slots=True)
class Variant:
    names: Mapping[str, str | float]
    """What it is, by what is varied."""
    scenario: str
    wishes: Wishes
    setting: Setting
    told: Told | None = Told.EXACT
    """None: what the scenario knows of itself."""
    noise: Noise | None = None

    def but(self, names: Mapping[str, str | float], **changes: object) -> Variant:
        """With other names, and changes to its setting."""
        return replace(self, names=names, setting=replace(self.setting, **changes))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Study:
    title: str
    about: str
    """What is played and what is varied, for a reader of the results."""
    variants: Callable[[int], Sequence[Variant]]
    """By seed."""
    columns: Sequence[str]
    """Of what is measured, those that its table shows; see `result_tables`."""


def recomputed(
    seed: int, scenario: str = "independent", *, policy: str = "nearest_first", agents: int = AGENTS
) -> Variant:
    """Without host memory and adapters: what is not on the device is computed again."""
    costs = h100()
    options = OPTIONS.get(scenario, {})
    wishes = Wishes(agents, STEPS, seed, persona_tokens=PERSONA_TOKENS, sketched=True, options=options)
    return Variant({}, scenario, wishes, Setting(costs, Sizes(costs.capacity_tokens()), policy))


def loaded(
    seed: int,
    scenario: str = "independent",
    *,
    policy: str = "nearest_first",
    agents: int = AGENTS,
    load_s: float = SOFTWARE_S,
    slots: int = SLOTS,
) -> Variant:
    """With an adapter for each agent, and host memory for prefixes."""
    costs = h100(load_s)
    adapter_bytes = costs.model.adapter_bytes(RANK)
    sizes = Sizes(
        costs.capacity_tokens(slots, adapter_bytes),
        int(HOST_GB * 1e9) // costs.bytes_per_token,
        slots,
        adapter_bytes,
    )
    options = OPTIONS.get(scenario, {})
    wishes = Wishes(agents, STEPS, seed, adapters=True, sketched=True, options=options)
    return Variant({}, scenario, wishes, Setting(costs, sizes, policy))


def h100(load_s: float = WIRE_S) -> Costs:
    server = replace(profiles.server(), load_overhead_s=load_s)
    return Costs(profiles.gpu("h100"), profiles.model("qwen2.5-7b"), server)


def measured(variant: Variant) -> dict[str, object]:
    """Plays it. Raises `Impossible`."""
    program = scenario_of(variant.scenario).generate(variant.wishes)
    if variant.noise is not None:
        program = noisy(program, variant.noise)
    told = program.own() if variant.told is None else variant.told
    setting = variant.setting
    recording = Recording(setting.costs)
    results = play(program, setting, told, watch=recording.note)
    everything, firsts = recording.found(setting.sizes.capacity_tokens)
    return {
        **variant.names,
        **_times(results),
        **_hits(results),
        "all_of_belady": everything.of_belady,
        "first_of_belady": firsts.of_belady,
        "belady_first_calls": firsts.belady / firsts.prompt if firsts.prompt else None,
        **_loads(results, recording.hidden()),
        "calls": results.calls,
        "told": told.value,
        "policy": setting.policy,
    }


def _times(results: Results) -> dict[str, object]:
    step, ttft = results.step_s, results.ttft_s
    shares = results.shares
    return {
        "seconds": results.seconds,
        "step_s": None if step is None else step.mean,
        "ttft_s": None if ttft is None else ttft.mean,
        "ttft_p95_s": None if ttft is None else ttft.p95,
        "decode": shares.decode,
        "prefill": shares.prefill,
        "load": shares.load,
        "wait": shares.wait,
    }


def _hits(results: Results) -> dict[str, object]:
    hits = results.hits
    return {
        "all_calls": hits.all_calls,
        "first_calls": hits.first_calls,
        "on_device": hits.on_device,
        "adapters": hits.adapters,
    }


def _loads(results: Results, hidden: Hidden) -> dict[str, object]:
    moved, needed = results.moved, hidden.needed_s
    control = results.control
    return {
        "needed_s": needed,
        "hidden": hidden.hidden_s / needed if needed else None,
        "could_be_hidden": hidden.bound_s / needed if needed else None,
        "demand_gb": moved.demand / 1e9,
        "ahead_gb": moved.ahead / 1e9,
        "wasted_gb": moved.wasted / 1e9,
        "link_share": moved.link_share,
        "moves": None if control is None else control.moves,
    }

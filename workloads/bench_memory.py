"""`bench-memory`: one program in which every agent has an adapter, and what each part of memory control makes of it.

The simulation tells what one like it knows of itself: how long agents are busy, where they are and go, or whom news has
reached. Exact distances only if that is asked for: no real simulation knows them where something may come between.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from . import adapters, calibration
from .builds import AdapterRoom, Conditions, Device
from .comparison import Comparison
from .configurations import Configuration, Lane, passes
from .fleet import ChildProcesses, Fleet
from .interactions import interactions
from .links import Sizes, link
from .machine import command, commit, machine
from .measuring import ask_afterwards, check_installation, play_all, print_errors
from .memory_comparison import MemoryComparison
from .memory_configurations import PART_BY_PART, configurations, reference_first
from .memory_picture import draw
from .memory_results import against
from .program import Impossible, Program, Told, Wishes
from .records import write_calls
from .results import Play, bounds, compare_texts, speedups, summaries
from .room import room
from .scenarios import scenario
from .servers import Installation, Servers
from .turns import Rules

LEAST_SLOTS = 3


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be measured, and where the results go."""

    wishes: Wishes
    names: tuple[str, ...]
    room: float
    """The share of the agents' prefixes and adapters that fits."""
    repeats: int
    most_engines: int
    out_dir: Path
    json_path: Path
    png_path: Path
    scenario: str = PART_BY_PART
    told: Told | None = None
    """By the simulation; None: what one like it knows of itself."""
    host_tier: bool = True
    """False: no engine has one, and other configurations are compared."""
    link: str = "off"
    """As `links.link` reads it."""
    rank: int = 8
    lead_in: int = 0
    """Steps at the beginning of each play that are not measured: no agent's memory is anywhere yet, and nobody could have
    told who calls first."""
    one_file: bool = False
    """One adapter serves all agents, under as many names."""
    wrong_adapter: str | None = None
    """A configuration that plays with the adapters of two agents swapped, to see that it is noticed."""
    installation: Installation = field(default_factory=Installation)

    def __post_init__(self) -> None:
        if not self.wishes.adapters:
            raise Impossible("the memory benchmark is about agents that have adapters")
        if self.wishes.agents < 2:
            raise Impossible(f"{self.wishes.agents} agent has nobody to compete with")
        link(self.link, Sizes(1, 1))  # only to refuse at once what it cannot be
        scenario(self.scenario)  # likewise
        if self.link != "off" and self.installation.device is not Device.CPU:
            raise Impossible("a link is emulated where there is none: only engines on the CPU can have one")
        if self.rank < 1:
            raise Impossible(f"the rank is {self.rank}, and has to be at least 1")
        if not 0 <= self.lead_in < self.wishes.steps:
            raise Impossible(f"a lead-in of {self.lead_in} leaves nothing of {self.wishes.steps} steps")
        if self.wrong_adapter is not None and self.wrong_adapter not in self.names:
            raise Impossible(f"{self.wrong_adapter!r} is none of the configurations that play")

    @property
    def slots(self) -> int:
        return max(LEAST_SLOTS, round(self.room * self.wishes.agents))


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is decided before the first engine starts."""

    program: Program
    wishes: Wishes
    configurations: Mapping[str, Configuration]
    """All that there are."""
    passes: list[list[Lane]]
    rules: Rules
    conditions: Conditions
    adapter_bytes: int
    capacity_tokens: int
    capacity: str
    """The same in words."""


async def bench_memory(order: Order, console: Console) -> bool:
    """Plays, prints and writes everything. True if all went well: no errors, no unexplained difference.

    Raises `Impossible`, `ServerFailed`, `EngineUnfit`, `WarmUpFailed` or `HintRefused`.
    """
    prepared = prepare(order, console)
    with Servers(order.installation, order.out_dir) as servers:
        fleet = ChildProcesses(servers, prepared.capacity_tokens, order.most_engines)
        return await measure(order, prepared, fleet, console)


def prepare(order: Order, console: Console) -> Prepared:
    """Refuses what is impossible before anything takes time; then makes the adapters. Raises `Impossible`, `ServerFailed`."""
    generate = scenario(order.scenario).generate
    sample = generate(replace(order.wishes, agents=1, steps=1))
    told = order.told or sample.own()
    sample.must_tell(told)
    known = configurations(order.host_tier, told)
    names = reference_first(order.names)
    passes(names, order.most_engines, None, known)
    check_installation(order.installation, [known[name] for name in names])
    order.out_dir.mkdir(parents=True, exist_ok=True)
    wishes = replace(order.wishes, chars_per_token=calibration.of_model(order.installation))
    program = generate(wishes)
    planned = room(program, wishes, order.room, busiest=True)
    made = adapters.make_adapters(
        order.installation,
        order.out_dir / "adapters",
        count=1 if order.one_file else wishes.agents,
        rank=order.rank,
        seed=wishes.seed,
    )
    sizes = adapters.sizes(order.installation, made[0])
    chosen = link(order.link, sizes)
    conditions = Conditions(
        # One slot more, because the base model takes one for good as soon as it has been used.
        AdapterRoom(order.slots + 1, loaded=max(order.slots, wishes.agents), rank=order.rank),
        chosen,
    )
    calls = sum(1 for _ in program.calls())
    console.print(
        f"{calls} calls in {len(program.steps)} steps; {order.room:.0%} of {wishes.agents} slots and prefixes fit:"
        f" {order.slots} slots, {planned}. Link: {chosen if chosen is not None else 'off'}. Told: {told.value}."
    )
    return Prepared(
        program,
        wishes,
        known,
        passes(names, order.most_engines, None, known, conditions),
        rules(order, program, adapters.paths_by_name(made, count=wishes.agents)),
        conditions,
        sizes.adapter_bytes,
        planned.capacity_tokens,
        str(planned),
    )


def rules(order: Order, program: Program, adapter_paths: Mapping[str, str]) -> Rules:
    wrong = order.wrong_adapter
    return Rules(
        repeats=order.repeats,
        whole_plays=True,
        lead_in=order.lead_in,
        adapter_paths=adapter_paths,
        instead={} if wrong is None else {wrong: adapters.swapped(program)},
        counts_loads=True,
    )


async def measure(order: Order, prepared: Prepared, fleet: Fleet, console: Console) -> bool:
    """Plays on this fleet, prints and writes. As `bench_memory`."""
    program, groups = prepared.program, prepared.passes
    plays = await play_all(program, groups, fleet, prepared.rules, console)
    last = groups[-1][0].engine
    model, prompts, notes = await ask_afterwards(program, plays, (await fleet.engines([last]))[last])
    records = order.out_dir / "calls.jsonl"
    write_calls(records, [(play.about(), play.every_call) for play in plays])
    told = summaries(plays, prompts, prepared.capacity_tokens)
    reference = reference_first(order.names)[0]
    comparison = MemoryComparison(
        base=Comparison(
            command=command(),
            commit=commit(),
            machine=machine(),
            scenario=order.scenario,
            wishes=prepared.wishes,
            repeats=order.repeats,
            model=Path(model).name,
            capacity_tokens=prepared.capacity_tokens,
            capacity=prepared.capacity,
            configurations=prepared.configurations,
            summaries={name: told[name] for name in reference_first(order.names)},
            speedup=speedups(plays, reference),
            texts=compare_texts(plays, reference),
            # It counts what a larger device cache would save, and with a host tier nearly nothing is computed again.
            bounds=None if order.host_tier else bounds(told[reference]),
            notes=(*notes, *_not_measured(order, plays)),
            calls_by_trigger=program.calls_by_trigger(),
            interactions=interactions(program),
        ),
        shown=order.names,
        against={name: against(plays, name, reference) for name in order.names},
        link=prepared.conditions.link,
        room=order.room,
        slots=order.slots,
        rank=order.rank,
        lead_in=order.lead_in,
        one_file=order.one_file,
    )
    order.json_path.parent.mkdir(parents=True, exist_ok=True)
    order.json_path.write_text(json.dumps(comparison.as_json(), indent=2) + "\n")
    order.png_path.parent.mkdir(parents=True, exist_ok=True)
    draw(comparison, order.png_path)
    comparison.print(console)
    print_errors(plays, console)
    for path in (order.json_path, order.png_path, records):
        console.print(f"written: {path}", soft_wrap=True)
    return comparison.ok


def _not_measured(order: Order, plays: list[Play]) -> tuple[str, ...]:
    notes = [
        "Not measured: making and registering adapters, bringing them from disk to host memory, and what is told before the"
        " first step"
        + (f", and the first {order.lead_in} steps of each play" if order.lead_in else "")
        + ". Adapters stay in their slots from one play to the next; the cache of prefixes is emptied."
    ]
    if any(play.step_seconds is None for play in plays):
        notes.append(
            "Some engines do not tell how their time divides: no shares, no ceiling, nothing hidden."
        )
    elif not any("load" in (play.step_seconds or {}) for play in plays):
        notes.append(
            "No engine counted a load that a call waited for: either there was none, or it is not counted."
        )
    if order.wrong_adapter is not None:
        notes.append(f"{order.wrong_adapter} played with the adapters of two agents swapped, on purpose.")
    return tuple(notes)

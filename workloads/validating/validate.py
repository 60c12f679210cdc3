"""`validate`: calibrates each engine, plays every scenario on it, replays that with what the calibration found, and compares.

The plays that are compared are used for nothing else: what the replay knows of an engine is what `calibrate` saw of it before, and of
a town its calls and, token by token, their prompts. Every configuration has an engine of its own; one after the other plays.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scalesim.workloads import calibration
from scalesim.workloads.builds import Conditions
from scalesim.workloads.calibrating.calibrate import Aim, Calibration, Observed, concluded, observe
from scalesim.workloads.comparison import number, table_of
from scalesim.workloads.configurations import CONFIGURATIONS, Configuration, Lane, passes
from scalesim.workloads.engines import EngineUnfit, Facts
from scalesim.workloads.fleet import ChildProcesses
from scalesim.workloads.links import Sizes as LinkSizes
from scalesim.workloads.links import link
from scalesim.workloads.machine import command, commit, machine
from scalesim.workloads.measuring import ask_afterwards, check_installation, play_all, print_errors
from scalesim.workloads.memory_configurations import WITH_HOST_TIER
from scalesim.workloads.program import Impossible, Program, Told, Wishes
from scalesim.workloads.records import CallKey, write_calls
from scalesim.workloads.replay.measured import MeasuredCosts
from scalesim.workloads.replay.paths import cut
from scalesim.workloads.replay.player import play
from scalesim.workloads.replay.profiles import written
from scalesim.workloads.replay.world import Setting
from scalesim.workloads.results import Play, mean
from scalesim.workloads.room import room
from scalesim.workloads.scenarios import scenario
from scalesim.workloads.servers import Installation, Servers
from scalesim.workloads.turns import Rules

from .runs import Cell, of_play, of_replay

SCHEMA = 1
PARTS = ("order", "pin", "prefixes", "preempt")
"""Of the proxy's memory control, those that the replay plays."""
PLAYED: Mapping[str, Configuration] = {
    "stock": WITH_HOST_TIER["stock"],
    "hicache": WITH_HOST_TIER["hicache"],
    "on": replace(CONFIGURATIONS["on"], host_tier=True, parts=PARTS),
}
POLICIES: Mapping[str, str] = {"stock": "stock", "hicache": "stock", "on": "nearest_first"}
"""Of the replay, for each of these."""


@dataclass(frozen=True, slots=True)
class Order:
    scenarios: tuple[str, ...]
    names: tuple[str, ...]
    wishes: Wishes
    options: Mapping[str, Mapping[str, float]]
    """By scenario: its own."""
    room: float
    repeats: int
    link: str
    out_dir: Path
    json_path: Path
    installation: Installation = field(default_factory=Installation)

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in PLAYED:
                raise Impossible(f"there is no configuration {name!r}; there is {', '.join(PLAYED)}")
        if self.link in ("h100",):
            raise Impossible("a link is needed that can be seen: paper, off, or its figures")
        link(self.link, LinkSizes(1, 1))

    def program(self, name: str, chars_per_token: float) -> Program:
        return scenario(name).generate(self.wishes_of(name, chars_per_token))

    def wishes_of(self, name: str, chars_per_token: float) -> Wishes:
        return replace(self.wishes, chars_per_token=chars_per_token, options=self.options.get(name, {}))


async def validate(order: Order, console: Console) -> bool:
    """Plays, prints and writes everything. True if every prediction is as near as is aimed at.

    Raises `Impossible`, `ServerFailed`, `EngineUnfit`, `WarmUpFailed` or `HintRefused`.
    """
    check_installation(order.installation, [PLAYED[name] for name in order.names])
    order.out_dir.mkdir(parents=True, exist_ok=True)
    chars = calibration.of_model(order.installation)
    programs = {name: order.program(name, chars) for name in order.scenarios}
    rooms = [
        room(program, order.wishes_of(name, chars), order.room, busiest=True)
        for name, program in programs.items()
    ]
    capacity = max(one.capacity_tokens for one in rooms)
    conditions = Conditions(None, link(order.link, LinkSizes(1, 1)))
    (lanes,) = passes(order.names, len(order.names), None, PLAYED, conditions)
    console.print(
        f"{', '.join(order.names)}: room for {capacity:,} tokens. Link: {conditions.link or 'off'}."
    )
    cells: list[Cell] = []
    ok = True
    with Servers(order.installation, order.out_dir) as servers:
        fleet = ChildProcesses(servers, capacity, len(order.names))
        await fleet.engines([lane.engine for lane in lanes])
        played: list[tuple[Program, list[Play], Mapping[CallKey, Sequence[int]]]] = []
        seen = {lane.name: [await _observed(lane, fleet, console)] for lane in lanes}
        for name, program in programs.items():
            rules = Rules(repeats=order.repeats, whole_plays=True, logprobs=False)
            plays = await play_all(program, [lanes], fleet, rules, console)
            urls = await fleet.engines([lanes[0].engine])
            _, prompts, _ = await ask_afterwards(program, plays, urls[lanes[0].engine])
            if prompts is None:
                raise EngineUnfit("the engine does not tokenize: its prompts cannot be replayed")
            _keep(order.out_dir / name, plays, prompts)
            ok = ok and not any(call.error for one in plays for call in one.calls)
            print_errors(plays, console)
            played.append((program, plays, prompts))
            # Before the plays and after them: how fast a machine is drifts.
            for lane in lanes:
                seen[lane.name].append(await _observed(lane, fleet, console))
    found = {name: _concluded(name, order, ones) for name, ones in seen.items()}
    for program, plays, prompts in played:
        cells += compared(program, plays, prompts, found)
    written_json(order, cells, found, capacity, chars)
    console.print(table(cells))
    for name, one in found.items():
        for note in one.notes:
            console.print(f"{name}: {note}")
    console.print(f"written: {order.json_path}", soft_wrap=True)
    return ok and all(cell.hits_fit and cell.steps_fit for cell in cells)


async def _observed(lane: Lane, fleet: ChildProcesses, console: Console) -> tuple[Observed, Facts | None]:
    console.print(f"calibrating {lane.name}")
    url = (await fleet.engines([lane.engine]))[lane.engine]
    aim = Aim(url)
    if lane.configuration.mode is not None:
        fleet.stop_proxies()
        proxy_url, _ = await fleet.proxy(lane, url)
        aim = Aim(proxy_url, engine_url=url, simulation="calibration")
    try:
        return await observe(aim, lambda _: None)
    finally:
        fleet.stop_proxies()


def _concluded(name: str, order: Order, ones: Sequence[tuple[Observed, Facts | None]]) -> Calibration:
    whole, facts = ones[0]
    for later, _ in ones[1:]:
        whole = whole.and_then(later)
    found = concluded(whole, facts, name, f"{command()}, commit {commit()}, {machine()}")
    (order.out_dir / f"measured-{name}.toml").write_text(written(found.profile))
    (order.out_dir / f"observed-{name}.json").write_text(json.dumps(asdict(found.observed), indent=1))
    return found


def _keep(folder: Path, plays: Sequence[Play], prompts: Mapping[CallKey, Sequence[int]]) -> None:
    """What was played, so that it can be replayed again."""
    write_calls(folder / "calls.jsonl", [(one.about(), one.calls) for one in plays])
    told = [
        {"step": key[0], "agent": key[1], "index": key[2], "tokens": list(tokens)}
        for key, tokens in prompts.items()
    ]
    (folder / "prompts.json").write_text(json.dumps(told))
    walls = [
        one.about() | {"steps_s": [step.wall_s for step in one.steps], "spent": dict(one.step_seconds or {})}
        for one in plays
    ]
    (folder / "plays.json").write_text(json.dumps(walls))


def compared(
    program: Program,
    plays: Sequence[Play],
    prompts: Mapping[CallKey, Sequence[int]],
    found: Mapping[str, Calibration],
) -> list[Cell]:
    cells = []
    for name, calibrated in found.items():
        measured = tuple(of_play(one) for one in plays if one.configuration == name)
        costs = MeasuredCosts(calibrated.profile)
        profile = costs.server
        setting = Setting(
            costs, costs.sizes(), POLICIES[name], front_s=profile.front_s, after_s=profile.after_s
        )
        results = play(program, setting, Told.EXACT, paths=cut(prompts))
        cells.append(Cell(program.scenario, name, measured, of_replay(results)))
    return cells


def written_json(
    order: Order, cells: Sequence[Cell], found: Mapping[str, Calibration], capacity: int, chars: float
) -> None:
    told = {
        "schema": SCHEMA,
        "command": command(),
        "commit": commit(),
        "machine": machine(),
        "seed": order.wishes.seed,
        "agents": order.wishes.agents,
        "steps": order.wishes.steps,
        "persona_tokens": order.wishes.persona_tokens,
        "growth_tokens": order.wishes.growth_tokens,
        "output_share": order.wishes.output_share,
        "options": {name: dict(options) for name, options in order.options.items()},
        "chars_per_token": chars,
        "capacity_tokens": capacity,
        "link": order.link,
        "repeats": order.repeats,
        "model": order.installation.model.name,
        "calibrated": {
            name: {
                "profile": asdict(one.profile),
                "notes": list(one.notes),
                "prefill_error": one.prefill_error,
                "decode_error": one.decode_error,
            }
            for name, one in found.items()
        },
        "cells": [cell.as_json() for cell in cells],
    }
    order.json_path.parent.mkdir(parents=True, exist_ok=True)
    order.json_path.write_text(json.dumps(told, indent=1) + "\n")


def table(cells: Sequence[Cell]) -> Table:
    made = table_of(
        "predicted / measured; how far apart, and how much plays vary",
        *("all calls", "first calls", "points", "vary", "play s", "steps\napart", "vary", "fits"),
    )
    for cell in cells:
        runs, predicted = cell.measured, cell.predicted
        first = [run.first_calls for run in runs if run.first_calls is not None]
        made.add_row(
            f"{cell.scenario}: {cell.configuration}",
            f"{predicted.all_calls:.3f} / {statistics.mean(run.all_calls for run in runs):.3f}",
            f"{number(predicted.first_calls, 3)} / {number(mean(first), 3)}",
            f"{cell.points_apart:.1f}, {number(cell.first_points_apart, 1)}",
            f"{number(cell.points_vary, 1)}, {number(cell.first_points_vary, 1)}",
            f"{sum(predicted.steps_s):.1f} / {statistics.mean(sum(run.steps_s) for run in runs):.1f}",
            f"{cell.step_error:.1%}",
            "-" if cell.deviation is None else f"{cell.deviation:.1%}",
            f"{'yes' if cell.hits_fit else 'no'}, {'yes' if cell.steps_fit else 'no'}",
        )
    return made

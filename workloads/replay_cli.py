"""The command `replay`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from scalesim.proxy.core import placement

from . import command_line as common
from .program import Told
from .replay import profiles
from .replay.costs import Costs
from .replay.engine import Sizes
from .replay.player import play
from .replay.proxy import PLAN_EVERY_S
from .replay.results import Results, Spread
from .replay.trace_player import Pace, play_trace
from .replay.traces import read_files
from .replay.world import Setting, policy_names
from .scenarios import scenario as scenario_of

Progressed = Callable[[int, float], None]

SHOWN_EVERY = 200
"""Calls between two looks at the bar."""
MOST_SLOTS = 125
SLOT_SHARE = 0.25
"""Of the agents: the paper's cap on residents is the smaller of the two."""


def add_to(app: typer.Typer) -> None:
    app.command("replay")(replay_command)


def replay_command(
    scenario: common.ScenarioName = "independent",
    agents: common.Agents = 1000,
    gpu: Annotated[str, typer.Option(help=f"One of: {', '.join(profiles.names('gpu'))}.")] = "h100",
    model: Annotated[str, typer.Option(help=f"One of: {', '.join(profiles.names('model'))}.")] = "qwen2.5-7b",
    policy: Annotated[
        str,
        typer.Option(help=f"By which memory leaves; one of: {', '.join(policy_names())}."),
    ] = "nearest_first",
    steps: common.Steps = 10,
    seed: common.Seed = 1,
    persona_tokens: common.PersonaTokens = 2000,
    growth_tokens: common.GrowthTokens = 64,
    option: common.Options = None,
    told: Annotated[Told, typer.Option(help="What the simulation tells the proxy.")] = Told.EXACT,
    engines: Annotated[int, typer.Option(min=1, help="Of the same kind.")] = 1,
    tensor_parallel: Annotated[int, typer.Option(min=1, help="Devices of each engine.")] = 1,
    placement_rule: Annotated[
        str, typer.Option("--placement", help=f"One of: {', '.join(placement.names())}.")
    ] = placement.DEFAULT,
    adapter_rank: Annotated[
        int, typer.Option(min=0, help="Of the LoRA adapter that each agent has; 0: none has one.")
    ] = 0,
    slots: Annotated[
        int | None,
        typer.Option(min=1, help="Adapters on a device at once (a quarter of the agents, at most 125)."),
    ] = None,
    host_gb: Annotated[
        float,
        typer.Option(
            min=0.0, help="Host memory for prefixes of each engine; 0: none, they are computed again."
        ),
    ] = 0.0,
    plan_every: Annotated[
        float, typer.Option(help="Seconds between two plans of the proxy, at least.")
    ] = PLAN_EVERY_S,
    trace: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Plays this recorded trace in place of a scenario."),
    ] = None,
    speed: Annotated[float, typer.Option(help="Of the trace: times as fast as it was recorded.")] = 1.0,
    closed: Annotated[
        bool,
        typer.Option("--closed", help="Of the trace: a caller's next call waits for the answer to the last."),
    ] = False,
    json_path: common.JsonPath = None,
) -> None:
    """Plays a scenario in virtual time through the proxy's own core, on a model of engines with GPUs.

    What comes out is a prediction: docs/replay.md says what of it was measured.
    """
    with common.understood():
        costs = Costs(profiles.gpu(gpu), profiles.model(model), profiles.server(), tensor_parallel)
        adapter_bytes = costs.model.adapter_bytes(adapter_rank)
        places = 0
        if adapter_rank:
            places = slots or max(1, min(int(agents * SLOT_SHARE), MOST_SLOTS))
        sizes = Sizes(
            costs.capacity_tokens(places, adapter_bytes),
            int(host_gb * 1e9) // costs.bytes_per_token,
            places,
            adapter_bytes,
        )
        setting = Setting(costs, sizes, policy, engines, placement_rule, plan_every)
        asked = common.wishes(agents, steps, seed, persona_tokens, growth_tokens, option)
        wishes = replace(asked, adapters=bool(adapter_rank), sketched=told is not Told.ANSWERS)
        began = time.perf_counter()
        played: Callable[[Progressed], Results]
        if trace is not None:
            recorded = read_files([trace])
            pace, calls = Pace(speed, closed), len(recorded.calls)
            played = partial(play_trace, recorded, setting, pace)
        else:
            program = scenario_of(scenario).generate(wishes)
            calls = sum(1 for _ in program.calls())
            played = partial(play, program, setting, told)
        made_s = time.perf_counter() - began
        began = time.perf_counter()
        results = _watched(played, calls)
        played_s = time.perf_counter() - began
    console = common.console()
    console.print(_table(results))
    console.print(
        f"made in {made_s:.1f} s, played in {played_s:.1f} s: {calls / max(played_s, 1e-9):,.0f} calls a second"
    )
    if json_path is not None:
        told_too = {**results.as_json(), "seed": seed, "options": dict(wishes.options)}
        _write(json_path, told_too)


def _write(path: Path, what: dict[str, object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(what, indent=1, sort_keys=True) + "\n")
    except OSError as exc:
        raise typer.BadParameter(f"{path} cannot be written: {exc.strerror}") from exc


def _watched(played: Callable[[Progressed], Results], calls: int) -> Results:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("calls", total=calls)

        def shown(ended: int, _: float) -> None:
            if ended % SHOWN_EVERY == 0:
                bar.update(task, completed=ended)

        return played(shown)


def _table(results: Results) -> Table:
    setting, sizes = results.setting, results.setting["sizes"]
    assert isinstance(sizes, dict), "it was made of a dataclass"
    table = Table(
        title=f"{setting['scenario']}, {setting['agents']:,} agents, {setting['steps']} steps, {setting['policy']}",
        show_header=False,
    )
    shares, hits, moved = results.shares, results.hits, results.moved
    rows = {
        "cache of each engine": f"{sizes['capacity_tokens']:,} tokens",
        "virtual time": f"{results.seconds:,.1f} s, {results.calls:,} calls",
        "step": _spread(results.step_s),
        "TTFT": _spread(results.ttft_s),
        "call": _spread(results.call_s),
        "in the queue": _spread(results.queued_s),
        "engines' time": f"decode {shares.decode:.3f}, prefill {shares.prefill:.3f}, load {shares.load:.3f}, wait {shares.wait:.3f}",
        "hits": f"{hits.all_calls:.4f} of prompt tokens; from host {hits.from_host:.4f}, brought ahead {hits.ahead:.4f}",
        "hits of first calls": "none came again" if hits.first_calls is None else f"{hits.first_calls:.4f}",
        "adapters found": "no adapters" if hits.adapters is None else f"{hits.adapters:.4f}",
        "moved": f"{moved.demand / 1e9:.2f} GB while calls waited, {moved.ahead / 1e9:.2f} GB ahead, of that"
        f" {moved.wasted / 1e9:.2f} GB for nothing; links busy {moved.link_share:.3f}",
        "most at once": f"{results.most_running} calls",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "none"
    return f"mean {spread.mean:.3f} s, p50 {spread.p50:.3f}, p95 {spread.p95:.3f}, worst {spread.worst:.3f}"

"""The command `run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import command_line as common
from . import scenarios
from .noise import Noise
from .options import named_numbers
from .player import Target
from .program import Impossible, Told
from .replay.trace_player import Pace
from .replay.traces import read_files
from .run import run, run_trace

TRACE = "trace"
"""Of the scenarios, the one that is no program."""


def add_to(app: typer.Typer) -> None:
    app.command("run")(run_command)


def run_command(
    base_url: Annotated[str, typer.Option(metavar="URL", help="Of an engine or the proxy, without /v1.")],
    scenario: Annotated[
        str, typer.Option(help=f"One of: {', '.join((*scenarios.names(), TRACE))}.")
    ] = "independent",
    agents: common.Agents = 24,
    steps: common.Steps = 12,
    seed: common.Seed = 1,
    persona_tokens: common.PersonaTokens = 2000,
    growth_tokens: common.GrowthTokens = 64,
    active: common.Active = None,
    calls: common.Calls = 0,
    option: common.Options = None,
    told: Annotated[
        Told,
        typer.Option(
            help="What the simulation tells, if it has that: exact distances, its agents' plans, those and positions,"
            " who knows whom and whom news has reached, or which step begins."
        ),
    ] = Told.EXACT,
    noise: common.NoiseOptions = None,
    model: Annotated[str | None, typer.Option(help="Its name (the first the URL offers).")] = None,
    api_key: Annotated[
        str, typer.Option(envvar="OPENAI_API_KEY", help="For the URL, if it needs one.")
    ] = "none",
    simulation: Annotated[
        str | None, typer.Option(help="Name towards a proxy; without it, agents do not say who they are.")
    ] = None,
    admin_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The proxy's admin REST; with it, the simulation gives distances."),
    ] = None,
    admin_key: Annotated[
        str | None, typer.Option(envvar="WORKLOADS_ADMIN_KEY", help="For the admin REST.")
    ] = None,
    trace: Annotated[
        list[Path] | None,
        typer.Option(help="Files of a recorded trace, the oldest first: for `--scenario trace`."),
    ] = None,
    speed: Annotated[float, typer.Option(help="Of the trace: times as fast as it was recorded.")] = 1.0,
    closed: Annotated[
        bool,
        typer.Option("--closed", help="Of the trace: a caller's next call waits for the answer to the last."),
    ] = False,
    out_dir: common.OutDir = None,
) -> None:
    """Plays a scenario against one URL and prints a summary."""
    with common.understood():
        wishes = common.wishes(agents, steps, seed, persona_tokens, growth_tokens, option, active, calls)
        target = Target(
            base_url.rstrip("/").removesuffix("/v1"),
            model or "",
            api_key,
            simulation or (scenario if admin_url else None),
            admin_url and admin_url.rstrip("/"),
            admin_key,
            told=told,
        )
        errors = Noise.of(named_numbers(noise)) if noise else None
        if errors is not None and (told is not Told.EXACT or target.admin_url is None):
            raise Impossible("only exact distances that are told can have errors")
        if (scenario == TRACE) != bool(trace):
            raise Impossible("a recorded trace takes --scenario trace and --trace FILE")
        recorded = read_files(trace) if trace else None
        pace = Pace(speed, closed)
    if recorded is not None:
        common.finish(run_trace(recorded, pace, target, out_dir or common.new_out_dir("run"), Console()))
        return
    common.finish(run(scenario, wishes, target, out_dir or common.new_out_dir("run"), Console(), errors))

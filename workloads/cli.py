"""`python -m workloads`: compare configurations, or play a scenario against one URL.

Exit codes: 0 all went well, 1 there were errors or answers that differ without reason, 2 the command was not understood.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import command_line as common
from . import (
    core_cli,
    memory_cli,
    placement_cli,
    proxy_cli,
    recognition_cli,
    replay_cli,
    robustness_cli,
    scaling_cli,
    scenarios,
    soak_cli,
    study_cli,
    tables_cli,
    validate_cli,
)
from .builds import Flavour
from .command_line import DEFAULT
from .compare import Order, compare
from .configurations import NAMES, USUAL
from .emulated import PACE, EmulatedInstallation
from .noise import OPTIONS as NOISE
from .noise import Noise
from .options import named_numbers
from .player import Target
from .program import Impossible, Told
from .replay.trace_player import Pace
from .replay.traces import read_files
from .run import run, run_trace
from .servers import Installation

MOST_ENGINES = 3
TRACE = "trace"
"""Of the scenarios, the one that is no program."""


class EngineKind(StrEnum):
    SGLANG = "sglang"
    EMULATED = "emulated"


NoiseOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--noise",
        metavar="NAME=VALUE",
        help=f"Errors in exact distances, as often as needed: {', '.join(NOISE)}.",
    ),
]

app = typer.Typer(
    help="Plays simulations against an engine or the proxy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
memory_cli.add_to(app)
core_cli.add_to(app)
robustness_cli.add_to(app)
recognition_cli.add_to(app)
replay_cli.add_to(app)
placement_cli.add_to(app)
proxy_cli.add_to(app)
soak_cli.add_to(app)
scaling_cli.add_to(app)
study_cli.add_to(app)
tables_cli.add_to(app)
validate_cli.add_to(app)


@app.command("compare")
def compare_command(
    scenario: common.ScenarioName = "independent",
    agents: common.Agents = 24,
    steps: common.Steps = 12,
    seed: common.Seed = 1,
    persona_tokens: common.PersonaTokens = 2000,
    growth_tokens: common.GrowthTokens = 64,
    active: common.Active = None,
    calls: common.Calls = 0,
    option: common.Options = None,
    repeats: common.Repeats = 3,
    room: common.PrefixRoom = 0.25,
    configs: Annotated[
        str, typer.Option(help=f"Of {', '.join(NAMES)}; the first is the reference of all.")
    ] = ",".join(USUAL),
    noise: NoiseOptions = None,
    engine: Annotated[
        EngineKind, typer.Option(help="Emulated: without a model, for hundreds of agents.")
    ] = EngineKind.SGLANG,
    pace: Annotated[
        float | None, typer.Option(help=f"Times that an emulated engine is as fast as a GPU ({PACE:g}).")
    ] = None,
    max_engines: Annotated[
        int | None, typer.Option(min=1, help="Engines that are up side by side (3; emulated: one for each).")
    ] = None,
    json_path: common.JsonPath = None,
    png_path: common.PngPath = None,
    out_dir: common.OutDir = None,
    model_path: Annotated[
        Path | None,
        typer.Option(help=f"The model the engines load, if they are real ({DEFAULT.model})."),
    ] = None,
    engine_env: common.EngineEnv = DEFAULT.engine_env,
    scalesim: common.ProxyCommand = DEFAULT.scalesim,
    stock_engine: Annotated[
        str | None, typer.Option(metavar="URL", help="Use this running stock engine.")
    ] = None,
    extended_engine: Annotated[
        str | None, typer.Option(metavar="URL", help="Use this running engine with the plugin.")
    ] = None,
) -> None:
    """Plays one program in several configurations, in turns, and tells what the difference is worth."""
    out = out_dir or common.new_out_dir("compare")
    json_file = json_path or out / "compare.json"
    given = {Flavour.STOCK: stock_engine, Flavour.EXTENDED: extended_engine}
    names = tuple(name.strip() for name in configs.split(",") if name.strip())
    with common.understood():
        installation: Installation
        if engine is EngineKind.EMULATED:
            if model_path is not None:
                raise Impossible("an emulated engine loads no model: --model-path is for real ones")
            installation = EmulatedInstallation(pace=PACE if pace is None else pace)
            side_by_side = max(1, len(names))
        else:
            if pace is not None:
                raise Impossible("only an emulated engine has a --pace")
            model = (model_path or DEFAULT.model).absolute()
            installation = replace(DEFAULT, model=model, engine_env=engine_env.absolute())
            side_by_side = MOST_ENGINES
        order = Order(
            scenario=scenario,
            wishes=common.wishes(agents, steps, seed, persona_tokens, growth_tokens, option, active, calls),
            names=names,
            room=room,
            repeats=repeats,
            most_engines=max_engines or side_by_side,
            out_dir=out,
            json_path=json_file,
            png_path=png_path or json_file.with_suffix(".png"),
            installation=replace(installation, scalesim=scalesim.absolute()),
            given={flavour: url.rstrip("/") for flavour, url in given.items() if url},
            noise=Noise.of(named_numbers(noise)) if noise else None,
        )
    common.finish(compare(order, Console()))


@app.command("run")
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
    noise: NoiseOptions = None,
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


def main() -> None:
    app()

"""`python -m workloads`: compare configurations, or play a scenario against one URL.

Exit codes: 0 all went well, 1 there were errors or answers that differ without reason, 2 the command was not understood.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import scenarios
from .compare import Order, compare
from .configurations import CONFIGURATIONS
from .engines import EngineUnfit
from .player import HintRefused, Target
from .program import Impossible, Wishes
from .run import run
from .servers import ROOT, Flavour, Installation, ServerFailed
from .turns import WarmUpFailed

DEFAULT = Installation()
PROBLEM = 1

app = typer.Typer(
    help="Plays simulations against an engine or the proxy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ScenarioName = Annotated[str, typer.Option(help=f"One of: {', '.join(scenarios.names())}.")]
Agents = Annotated[int, typer.Option(help="Simulated agents.")]
Steps = Annotated[int, typer.Option(help="Simulated steps.")]
Seed = Annotated[int, typer.Option(help="The same seed asks for the same.")]
PersonaTokens = Annotated[int, typer.Option(help="Tokens of each agent's persona.")]
GrowthTokens = Annotated[int, typer.Option(help="Tokens by which a history grows with each call.")]
OutDir = Annotated[Path | None, typer.Option(help="For logs and raw records (out/COMMAND-TIME).")]


@app.command("compare")
def compare_command(
    scenario: ScenarioName = "independent",
    agents: Agents = 24,
    steps: Steps = 12,
    seed: Seed = 1,
    persona_tokens: PersonaTokens = 2000,
    growth_tokens: GrowthTokens = 64,
    repeats: Annotated[int, typer.Option(min=1, help="Times each configuration plays the program.")] = 3,
    room: Annotated[
        float, typer.Option(help="Share of the agents' prefixes that fit into the engine's cache.")
    ] = 0.25,
    configs: Annotated[
        str, typer.Option(help=f"Of {', '.join(CONFIGURATIONS)}; the first is the reference of all.")
    ] = ",".join(CONFIGURATIONS),
    max_engines: Annotated[int, typer.Option(min=1, help="Engines that are up side by side.")] = 3,
    json_path: Annotated[Path | None, typer.Option("--json", help="Results (OUT_DIR/compare.json).")] = None,
    png_path: Annotated[Path | None, typer.Option("--png", help="The picture (beside the JSON).")] = None,
    out_dir: OutDir = None,
    model_path: Annotated[Path, typer.Option(help="The model the engines load.")] = DEFAULT.model,
    engine_env: Annotated[Path, typer.Option(help="The engine's virtual environment.")] = DEFAULT.engine_env,
    scalesim: Annotated[Path, typer.Option(help="The proxy's command.")] = DEFAULT.scalesim,
    stock_engine: Annotated[
        str | None, typer.Option(metavar="URL", help="Use this running stock engine.")
    ] = None,
    extended_engine: Annotated[
        str | None, typer.Option(metavar="URL", help="Use this running engine with the plugin.")
    ] = None,
) -> None:
    """Plays one program in several configurations on real engines, in turns, and tells what the difference is worth."""
    out = out_dir or _new_out_dir("compare")
    json_file = json_path or out / "compare.json"
    given = {Flavour.STOCK: stock_engine, Flavour.EXTENDED: extended_engine}
    try:
        order = Order(
            scenario=scenario,
            wishes=Wishes(agents, steps, seed, persona_tokens, growth_tokens),
            names=tuple(name.strip() for name in configs.split(",") if name.strip()),
            room=room,
            repeats=repeats,
            most_engines=max_engines,
            out_dir=out,
            json_path=json_file,
            png_path=png_path or json_file.with_suffix(".png"),
            installation=replace(
                Installation(),
                model=model_path.absolute(),
                engine_env=engine_env.absolute(),
                scalesim=scalesim.absolute(),
            ),
            given={flavour: url.rstrip("/") for flavour, url in given.items() if url},
        )
    except Impossible as exc:
        raise typer.BadParameter(str(exc)) from exc
    _finish(compare(order, Console()))


@app.command("run")
def run_command(
    base_url: Annotated[str, typer.Option(metavar="URL", help="Of an engine or the proxy, without /v1.")],
    scenario: ScenarioName = "independent",
    agents: Agents = 24,
    steps: Steps = 12,
    seed: Seed = 1,
    persona_tokens: PersonaTokens = 2000,
    growth_tokens: GrowthTokens = 64,
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
    out_dir: OutDir = None,
) -> None:
    """Plays a scenario against one URL and prints a summary."""
    try:
        wishes = Wishes(agents, steps, seed, persona_tokens, growth_tokens)
        target = Target(
            base_url.rstrip("/").removesuffix("/v1"),
            model or "",
            api_key,
            simulation or (scenario if admin_url else None),
            admin_url and admin_url.rstrip("/"),
            admin_key,
        )
    except Impossible as exc:
        raise typer.BadParameter(str(exc)) from exc
    _finish(run(scenario, wishes, target, out_dir or _new_out_dir("run"), Console()))


def _new_out_dir(name: str) -> Path:
    return ROOT / "out" / f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"


def _finish(work: Coroutine[object, object, bool]) -> None:
    """Runs it to its end and exits. Ctrl-C, SIGTERM and a closed terminal end it early, in order."""
    began_s = time.monotonic()
    problem: str | None = None
    well = False
    try:
        well = asyncio.run(_stoppable(work))
    except (ServerFailed, EngineUnfit, WarmUpFailed, HintRefused) as exc:
        problem = str(exc)
    except Impossible as exc:
        raise typer.BadParameter(str(exc)) from exc
    except (KeyboardInterrupt, asyncio.CancelledError):
        problem = f"stopped after {time.monotonic() - began_s:.0f} s; nothing was written but logs"
    if problem is not None:
        Console(stderr=True).print(problem, style="red", markup=False, highlight=False)
    if not well:
        raise typer.Exit(PROBLEM)


async def _stoppable(work: Coroutine[object, object, bool]) -> bool:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    return await task


def main() -> None:
    app()

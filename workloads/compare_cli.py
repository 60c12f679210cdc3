"""The command `compare`."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import command_line as common
from .builds import Flavour
from .command_line import DEFAULT
from .compare import Order, compare
from .configurations import NAMES, USUAL
from .emulated import PACE, EmulatedInstallation
from .noise import Noise
from .options import named_numbers
from .program import Impossible
from .servers import Installation

MOST_ENGINES = 3


class EngineKind(StrEnum):
    SGLANG = "sglang"
    EMULATED = "emulated"


def add_to(app: typer.Typer) -> None:
    app.command("compare")(compare_command)


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
    noise: common.NoiseOptions = None,
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

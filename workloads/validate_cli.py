"""The command `validate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from . import command_line as common
from .command_line import DEFAULT
from .program import Wishes
from .validating.validate import PLAYED, Order, validate

OPTIONS = {"diffusion": {"waves": 2.0, "apart": 4.0}}
"""Of the scenarios: waves that come while the play lasts."""
MODEL = DEFAULT.model.parent / "random-256x4"
"""Half as deep as the usual one: plays are short enough to be repeated."""


def add_to(app: typer.Typer) -> None:
    app.command("validate")(validate_command)


def validate_command(
    scenarios: Annotated[
        str, typer.Option(help="Those that are played.")
    ] = "independent,interaction,diffusion",
    configs: Annotated[str, typer.Option(help=f"Of {', '.join(PLAYED)}.")] = ",".join(PLAYED),
    agents: common.Agents = 24,
    steps: common.Steps = 10,
    seed: common.Seed = 1,
    persona_tokens: common.PersonaTokens = 600,
    growth_tokens: common.GrowthTokens = 32,
    output_share: Annotated[float, typer.Option(help="Of the tokens that the scenario generates.")] = 0.6,
    repeats: common.Repeats = 5,
    room: common.PrefixRoom = 0.25,
    link: Annotated[
        str,
        typer.Option(
            metavar="LINK", help="off, paper, or NAME:BYTES_PER_S:ADAPTER_OVERHEAD_S:PREFIX_OVERHEAD_S."
        ),
    ] = "paper",
    json_path: common.JsonPath = None,
    out_dir: common.OutDir = None,
    model_path: Annotated[Path, typer.Option(help="The model the engines load.")] = MODEL,
    engine_env: common.EngineEnv = DEFAULT.engine_env,
    scalesim: common.ProxyCommand = DEFAULT.scalesim,
) -> None:
    """Plays towns on real engines, replays them with what was measured of these engines before, and compares."""
    out = out_dir or common.new_out_dir("validate")
    with common.understood():
        order = Order(
            scenarios=_split(scenarios),
            names=_split(configs),
            wishes=Wishes(agents, steps, seed, persona_tokens, growth_tokens, output_share=output_share),
            options=OPTIONS,
            room=room,
            repeats=repeats,
            link=link,
            out_dir=out,
            json_path=json_path or out / "validation.json",
            installation=replace(
                DEFAULT,
                model=model_path.absolute(),
                engine_env=engine_env.absolute(),
                scalesim=scalesim.absolute(),
            ),
        )
    common.finish(validate(order, common.console()))


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())

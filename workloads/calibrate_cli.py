"""The command `calibrate`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from . import command_line as common
from .calibrating.calibrate import Aim, calibrate
from .calibrating.said import said
from .engines import EngineUnfit
from .machine import command, commit, machine
from .replay.profiles import written


def add_to(app: typer.Typer) -> None:
    app.command("calibrate")(calibrate_command)


def calibrate_command(
    base_url: Annotated[
        str, typer.Option(metavar="URL", help="Where calls go: an engine, or a proxy before it. Without /v1.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The profile that is written.")] = Path(
        "measured.toml"
    ),
    name: Annotated[str, typer.Option(help="Of the profile.")] = "measured",
    engine_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The engine itself, where calls go to a proxy.")
    ] = None,
    model: Annotated[str, typer.Option(help="Its name (the first that is offered).")] = "",
    api_key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="If it needs one.")] = "none",
    simulation: Annotated[
        str | None, typer.Option(help="Towards a proxy: the simulation that calls are part of.")
    ] = None,
) -> None:
    """Measures what the steps, loads and calls of a live engine take, and writes a profile for replays.

    The engine should have nothing else to do; what it holds is forgotten.
    """
    console = common.console()
    aim = Aim(_bare(base_url), _bare(engine_url) if engine_url else None, model, api_key, simulation)
    source = f"{command()}, commit {commit()}, {machine()}"
    try:
        found = asyncio.run(calibrate(aim, name, source, lambda what: console.print(f"{what} ...")))
    except EngineUnfit as exc:
        typer.echo(f"it cannot be measured: {exc}", err=True)
        raise typer.Exit(common.PROBLEM) from exc
    try:
        out.write_text(written(found.profile))
    except OSError as exc:
        raise typer.BadParameter(f"{out} cannot be written: {exc.strerror}") from exc
    for line in said(found):
        console.print(line, soft_wrap=True)
    console.print(f"written: {out}", soft_wrap=True)


def _bare(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1")

"""The command `soak`: many clients for a long time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from . import command_line as common
from .command_line import DEFAULT
from .emulated import EmulatedInstallation
from .servers import ROOT
from .soak.growth import WarmUp
from .soak.soak import Order, soak

WARM_UP_CALLS = 17
"""One more than the entries of each sort that a proxy keeps of an agent."""


def add_to(app: typer.Typer) -> None:
    app.command("soak")(soak_command)


def soak_command(
    minutes: Annotated[float, typer.Option(help="How long clients ask.")] = 30.0,
    warm_up: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            help=f"Growth is looked for after these. Else: after each agent had {WARM_UP_CALLS} whole answers.",
        ),
    ] = None,
    clients: Annotated[int, typer.Option(min=1, help="Who ask side by side.")] = 500,
    agents: Annotated[int, typer.Option(min=1, help="For whom all of them ask.")] = 400,
    seed: common.Seed = 1,
    json_path: Annotated[Path, typer.Option("--json", help="Results.")] = ROOT / "out" / "soak.json",
    png_path: common.PngPath = None,
    out_dir: common.OutDir = None,
    scalesim: common.ProxyCommand = DEFAULT.scalesim,
) -> None:
    """Asks a proxy in front of an emulated engine all kinds of calls for a long time, and looks whether it loses any or grows."""
    with common.understood():
        order = Order(
            minutes=minutes,
            warm_up=WarmUp(calls=WARM_UP_CALLS) if warm_up is None else WarmUp(seconds=warm_up * 60),
            clients=clients,
            agents=agents,
            seed=seed,
            out_dir=out_dir or common.new_out_dir("soak"),
            json_path=json_path,
            png_path=png_path or json_path.with_suffix(".png"),
            installation=replace(EmulatedInstallation(), scalesim=scalesim.absolute()),
        )
    common.finish(soak(order, common.console()))

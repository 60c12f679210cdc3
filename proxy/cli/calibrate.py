"""`scalesim calibrate`: what a live engine takes for its steps, loads and calls, as a profile that replays read."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .ending import PROBLEM, USAGE, fail
from .offline import understood
from .options import AsJson
from .output import console, written

KEY_VARIABLE = "OPENAI_API_KEY"


def calibrate_command(
    url: Annotated[
        str,
        typer.Argument(help="Of an engine, or of a proxy before it, without /v1.", metavar="URL"),
    ],
    out: Annotated[Path, typer.Option(help="The profile that is written.", metavar="FILE")] = Path(
        "measured.toml"
    ),
    name: Annotated[str, typer.Option(help="Of the profile.", metavar="NAME")] = "measured",
    engine: Annotated[
        str | None, typer.Option(help="The engine itself, where calls go to a proxy.", metavar="URL")
    ] = None,
    model: Annotated[str, typer.Option(help="Its name [the first that is offered].", metavar="NAME")] = "",
    simulation: Annotated[
        str | None, typer.Option(help="Towards a proxy: whose calls these are.", metavar="NAME")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a live engine, with our plugin or without, for replays.

    It takes about a minute, in which nobody else should ask the engine; prefixes that it holds are forgotten. A key is taken
    from OPENAI_API_KEY.
    """
    with understood():
        from scalesim.workloads.calibrating.calibrate import Aim, calibrate
        from scalesim.workloads.calibrating.said import said
        from scalesim.workloads.engines import EngineUnfit
        from scalesim.workloads.machine import commit, machine
        from scalesim.workloads.replay.profiles import written as as_toml

        aim = Aim(
            _bare(url),
            _bare(engine) if engine else None,
            model,
            os.environ.get(KEY_VARIABLE, "none"),
            simulation,
        )
        try:
            found = asyncio.run(
                calibrate(aim, name, f"scalesim calibrate, commit {commit()}, asked from {machine()}", _aloud)
            )
        except EngineUnfit as exc:
            fail(f"it cannot be measured: {exc}", PROBLEM)
        try:
            out.write_text(as_toml(found.profile))
        except OSError as exc:
            fail(f"{out} cannot be written: {exc.strerror}", USAGE)
    if as_json:
        print(written({"profile": asdict(found.profile), "notes": list(found.notes)}))
        return
    for line in said(found):
        console().print(line, soft_wrap=True)
    console().print(f"written: {out}", soft_wrap=True)


def _aloud(what: str) -> None:
    typer.echo(f"{what} ...", err=True)


def _bare(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1")

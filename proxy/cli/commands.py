"""All commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

import scalesim

from .doctor import doctor
from .keys import keys
from .recipes import recipes
from .record import record_command
from .serve import serve_command
from .settings import settings_command
from .status import status

cli = typer.Typer(
    name="scalesim",
    help="A proxy that keeps the memory of the agents that call next on the GPU of your LLM engine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@cli.callback(invoke_without_command=True)
def about(version: Annotated[bool, typer.Option("--version", help="Say the version.")] = False) -> None:
    if version:
        print(f"scalesim {scalesim.__version__}")
        raise typer.Exit


cli.command("serve")(serve_command)
cli.command("record")(record_command)
cli.command("status")(status)
cli.command("doctor")(doctor)
cli.command("settings")(settings_command)
cli.add_typer(recipes, name="recipes")
cli.add_typer(keys, name="keys")

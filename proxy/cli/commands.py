"""All commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

import scalesim

from .agents import agents
from .doctor import doctor
from .ending import EndsPlainly
from .engines import engines
from .keys import keys
from .recipes import recipes
from .record import record_command
from .replay import replay_command
from .serve import serve_command
from .settings import settings_command
from .simulate import simulate_command
from .status import status

cli = typer.Typer(
    name="scalesim",
    help="A proxy that keeps the memory of the agents that call next on the GPU of your LLM engine.",
    cls=EndsPlainly,
    no_args_is_help=True,
    # Not "rich": that takes the brackets of `[on]` for markup, and shows nothing.
    rich_markup_mode="markdown",
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
cli.command("simulate")(simulate_command)
cli.command("replay")(replay_command)
cli.add_typer(agents, name="agents")
cli.add_typer(engines, name="engines")
cli.add_typer(recipes, name="recipes")
cli.add_typer(keys, name="keys")

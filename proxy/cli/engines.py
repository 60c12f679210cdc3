"""`scalesim engines`: those of a running proxy, which come and go."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .admin import Answered, KeyFile, Url, admin_of
from .options import Config
from .output import console, written
from .status import engines_shown

engines = typer.Typer(help="Engines of a running proxy.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME")]


@engines.command("list")
def engines_list(
    admin: Url = None, key_file: KeyFile = None, as_json: Answered = False, config: Config = None
) -> None:
    """List the engines: how each is, what it holds, and who decides what leaves it."""
    told = admin_of(admin, key_file, config, answers_json=as_json).get("engines")
    if as_json:
        print(written(told))
    else:
        console().print(engines_shown(told["engines"]))


@engines.command("add")
def engines_add(
    name: Name,
    url: Annotated[str, typer.Argument(help="Without /v1.", metavar="URL")],
    weight: Annotated[
        float | None,
        typer.Option(
            help="Its size, 1 being an engine of the usual one [by the size of its cache].", metavar="NUMBER"
        ),
    ] = None,
    admin: Url = None,
    key_file: KeyFile = None,
    as_json: Answered = False,
    config: Config = None,
) -> None:
    """Register an engine: it gets calls as soon as it answers.

    Again, with the same URL: changes its weight, or ends its draining.
    """
    asked = admin_of(admin, key_file, config, answers_json=as_json)
    body = {"name": name, "url": url} | ({} if weight is None else {"weight": weight})
    told = asked.ask("POST", "engines", body=body)
    _say(told, as_json, f"{name} is registered, and {told['state']}")


@engines.command("drain")
def engines_drain(
    name: Name, admin: Url = None, key_file: KeyFile = None, as_json: Answered = False, config: Config = None
) -> None:
    """Let an engine go: it gets no more calls, and leaves with its last one."""
    _remove(name, admin, key_file, as_json, config, drain=True)


@engines.command("remove")
def engines_remove(
    name: Name, admin: Url = None, key_file: KeyFile = None, as_json: Answered = False, config: Config = None
) -> None:
    """Remove an engine at once: what runs there goes on by itself."""
    _remove(name, admin, key_file, as_json, config, drain=False)


def _remove(
    name: str, admin: Url, key_file: KeyFile, as_json: bool, config: str | None, *, drain: bool
) -> None:
    asked = admin_of(admin, key_file, config, answers_json=as_json)
    told = asked.ask("DELETE", "engines", name, query={"drain": str(drain).lower()})
    calls = told.get("calls")
    _say(told, as_json, f"{name} is gone" if not told else f"{name} drains: {calls} calls run or wait there")


def _say(told: dict[str, Any], as_json: bool, line: str) -> None:
    typer.echo(written(told) if as_json else line)

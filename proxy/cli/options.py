"""Options that several commands take.

They are strings: Settings parses them, with the same words as for the environment and the file. Secrets have no option,
because everybody on the machine can read a command line.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

Engines = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        help="URL of the engine, without /v1. For several engines, once for each: NAME=URL.",
        metavar="[NAME=]URL",
    ),
]
Config = Annotated[str | None, typer.Option(help="Config file (TOML).", metavar="FILE")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Folder = Annotated[Path | None, typer.Option(help="Folder with recipes of your own.", metavar="FOLDER")]


def with_options_of(other: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The command takes the options of `other` after its own, and gets them by name."""

    def taking(command: Callable[..., None]) -> Callable[..., None]:
        own, others = (inspect.signature(one, eval_str=True).parameters.values() for one in (command, other))
        named = [one for one in own if one.kind is not inspect.Parameter.VAR_KEYWORD]
        command.__signature__ = inspect.Signature([*named, *others])  # type: ignore[attr-defined]
        return command

    return taking

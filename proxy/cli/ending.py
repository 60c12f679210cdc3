"""How a command ends. Exit codes: 0 all is well, 1 there is a problem, 2 the command was not understood."""

from __future__ import annotations

from typing import NoReturn

import typer

PROBLEM = 1
USAGE = 2


def fail(message: str, code: int = PROBLEM) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)

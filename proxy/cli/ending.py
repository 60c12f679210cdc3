"""How a command ends: by one line that says what is wrong and what to do, and by a code that a script can go by."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from ..errors import ScaleSimError
from .output import written

log = logging.getLogger(__name__)

FINE = 0
PROBLEM = 1
"""It was refused, or something is not as it should be."""
USAGE = 2
"""The command was not understood, or a setting is wrong."""
UNREACHABLE = 3
"""The proxy, an engine or Redis does not answer."""


class CommandFailed(ScaleSimError):
    """A command cannot go on; the text says why, and what to do. `answer` is what the proxy said, for who asked for JSON."""

    def __init__(self, text: str, code: int = PROBLEM, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.answer = answer


class EndsPlainly(TyperGroup):
    """All commands: what fails becomes a line and a code."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer's own class of contexts
        try:
            return super().invoke(ctx)
        except CommandFailed as exc:
            if exc.answer is not None:
                typer.echo(written(exc.answer))
            typer.echo(str(exc), err=True)
            raise typer.Exit(exc.code) from None


def fail(text: str, code: int = PROBLEM) -> NoReturn:
    raise CommandFailed(text, code)


def confess(exc: Exception) -> NoReturn:
    """Of a fault of our own. Where there is a log, that has the way to it."""
    if sys.flags.dev_mode:
        raise exc
    if logging.getLogger().handlers:
        log.critical("it ends by a fault of its own", exc_info=exc)
    *_, last = traceback.extract_tb(exc.__traceback__)
    typer.echo(
        f"scalesim has a fault: {type(exc).__name__}: {exc} ({last.filename}:{last.lineno}); with PYTHONDEVMODE=1 it shows the way there",
        err=True,
    )
    raise SystemExit(PROBLEM)

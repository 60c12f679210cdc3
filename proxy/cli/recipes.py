"""`scalesim recipes`: how requests of simulation frameworks are recognised, and what would be found on a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..recognition.prompt import prompt_of
from ..recognition.recipes.shelf import Shelf
from ..recognition.recipes.trial import Recorded, try_out
from ..recording.trace import Call, Reading, Text
from .ending import USAGE, fail
from .options import Folder

recipes = typer.Typer(help="How requests of simulation frameworks are recognised.", no_args_is_help=True)


@recipes.command("list")
def recipes_list(folder: Folder = None) -> None:
    """List the recipes, and what each was read from."""
    table = Table("recipe", "framework", "read from", "verified", box=None, pad_edge=False)
    for recipe in _shelf(folder).index.recipes:
        source = f"{recipe.read_from.package} {recipe.read_from.version}"
        table.add_row(recipe.name, recipe.framework, source, "yes" if recipe.verified else "no")
    Console().print(table)


@recipes.command("test")
def recipes_test(
    file: Annotated[Path, typer.Argument(help="A trace of `scalesim record --full-text`.", metavar="FILE")],
    folder: Folder = None,
) -> None:
    """Show on a recorded trace what the recipes would find."""
    shelf = _shelf(folder)
    try:
        with file.open("rb") as lines:
            trace = Reading(lines)
            calls = (one for one in trace if one.text is not None)
            trial = try_out(
                shelf.index, (_recorded(call, call.text) for call in calls if call.text is not None)
            )
    except OSError as exc:
        fail(f"{file}: {exc.strerror or exc}", USAGE)
    if not trial.calls:
        fail(f"{file}: no call with its text in it: only `scalesim record --full-text` writes such a trace")
    for line in trial.lines():
        typer.echo(line)
    if trace.skips:
        typer.echo(f"\n{trace.skips} lines could not be read, the first: {trace.skipped[0].why}", err=True)


def _shelf(folder: Path | None) -> Shelf:
    shelf = Shelf(folder)
    if problems := shelf.reload().problems:
        fail("\n".join(problems))
    return shelf


def _recorded(call: Call, text: Text) -> Recorded:
    # What was less than said outright may be what is to be tested.
    told = text.agent if call.confidence >= 1.0 else None
    prompt = None if text.body is None else prompt_of(call.route, text.body)
    return Recorded(text.simulation, prompt, text.answer, told)

"""`scalesim recipes`: how requests of simulation frameworks are recognised, and what would be found on a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..recognition.recipes.shelf import Shelf
from ..recognition.recipes.trial import SHOWN, Trial, pair_f1, try_out
from ..recording.trace import Reading
from .ending import USAGE, fail
from .options import AsJson, Folder
from .output import table, wide_console, written

recipes = typer.Typer(help="How requests of simulation frameworks are recognised.", no_args_is_help=True)


@recipes.command("list")
def recipes_list(folder: Folder = None, as_json: AsJson = False) -> None:
    """List the recipes, and what each was read from."""
    found = _shelf(folder).index.recipes
    if as_json:
        listed = [
            {
                "recipe": recipe.name,
                "framework": recipe.framework,
                "package": recipe.read_from.package,
                "version": recipe.read_from.version,
                "verified": recipe.verified,
            }
            for recipe in found
        ]
        print(written({"recipes": listed}))
        return
    rows = (
        (
            recipe.name,
            recipe.framework,
            f"{recipe.read_from.package} {recipe.read_from.version}",
            "yes" if recipe.verified else "no",
        )
        for recipe in found
    )
    wide_console().print(table("recipe", "framework", "read from", "verified", rows=rows))


@recipes.command("test")
def recipes_test(
    file: Annotated[Path, typer.Argument(help="A trace of `scalesim record --full-text`.", metavar="FILE")],
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Show on a recorded trace what the recipes would find."""
    # Here, because the whole proxy comes with it: who only asks something, or presses TAB, does not wait for that.
    from ..app.trials import recorded_calls

    shelf = _shelf(folder)
    try:
        with file.open("rb") as lines:
            trace = Reading(lines)
            trial = try_out(shelf.index, recorded_calls(trace))
    except OSError as exc:
        fail(f"{file}: {exc.strerror or exc}", USAGE)
    if not trial.calls:
        fail(f"{file}: no call with its text in it: only `scalesim record --full-text` writes such a trace")
    if as_json:
        print(written(_told(trial, trace.skips)))
        return
    for line in trial.lines():
        typer.echo(line)
    if trace.skips:
        typer.echo(f"\n{trace.skips} lines could not be read, the first: {trace.skipped[0].why}", err=True)


def _told(trial: Trial, skipped_lines: int) -> dict[str, Any]:
    """By the names of the admin REST."""
    return {
        "calls": trial.calls,
        "unknown": trial.unknown,
        "without_prompt": trial.without_prompt,
        "skipped_lines": skipped_lines,
        "kinds": [
            {
                "recipe": recipe,
                "request": request,
                "calls": kind.calls,
                "named": kind.named,
                "from_answer": kind.from_answer,
                "with_step": kind.steps,
                "with_duration": kind.durations,
            }
            for (recipe, request), kind in trial.kinds.items()
        ],
        "callers": [
            {"recipe": key[0], "caller": key[1], "kind": key[2], "calls": calls, "why": trial.why[key]}
            for key, calls in trial.callers.most_common()
        ],
        "beginnings": [{"text": text, "calls": calls} for text, calls in trial.beginnings.most_common(SHOWN)],
        "agreement": pair_f1(trial.pairs) if trial.pairs else None,
    }


def _shelf(folder: Path | None) -> Shelf:
    shelf = Shelf(folder)
    if problems := shelf.reload().problems:
        fail("\n".join(problems))
    return shelf

"""The command `tables`: brings the tables of the documentation in line with docs/results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from .command_line import PROBLEM
from .result_tables import NoSuchTable, written
from .servers import ROOT

RESULTS = ROOT / "docs" / "results"


def add_to(app: typer.Typer) -> None:
    app.command("tables")(tables_command)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def result(name: str) -> dict[str, Any]:
    """Raises `OSError` if there is none of that name."""
    found: dict[str, Any] = json.loads((RESULTS / name).read_text())
    return found


def tables_command(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; end with 1 if something would.")
    ] = False,
) -> None:
    """Writes the tables of README.md and docs/ anew from the results in docs/results."""
    stale = False
    for page in pages():
        text = page.read_text()
        try:
            new = written(text, result)
        except NoSuchTable as exc:
            typer.echo(f"{page.relative_to(ROOT)}: {exc}", err=True)
            raise typer.Exit(PROBLEM) from exc
        if new == text:
            continue
        stale = True
        typer.echo(f"{page.relative_to(ROOT)} {'is not what was measured' if check else 'was written'}")
        if not check:
            page.write_text(new)
    if stale and check:
        raise typer.Exit(PROBLEM)

"""The command `study`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from . import command_line as common
from . import studies
from .comparison import table_of
from .result_tables import study_cells, study_heads
from .studies.running import as_json, rows_of

NAMES = ", ".join(studies.names())


def add_to(app: typer.Typer) -> None:
    app.command("study")(study_command)


def study_command(
    name: Annotated[str, typer.Argument(help=f"One of: {NAMES}.")],
    seed: common.Seed = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Processes side by side.")] = os.cpu_count() or 1,
    json_path: common.JsonPath = None,
    png_path: common.PngPath = None,
) -> None:
    """Plays a study in virtual time on a modelled H100: policies, parts of memory control, errors, budgets, engines, placement.

    What comes out is a prediction: docs/studies.md says what it is worth.
    """
    file = json_path or common.new_out_dir("study") / f"study-{name}.json"
    picture = png_path or file.with_suffix(".png")
    with common.understood():
        study = studies.study(name)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("plays", total=len(study.variants(seed)))
            rows = rows_of(study, seed, jobs, lambda: bar.advance(task))
    result = as_json(name, study, seed, rows)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=1) + "\n")
        _draw(result, picture)
    except OSError as exc:
        raise typer.BadParameter(f"{exc.filename} cannot be written: {exc.strerror}") from exc
    console = common.console()
    table = table_of(study.title, *study_heads(result))
    for row in rows:
        table.add_row(*study_cells(result, row))
    console.print(table)
    console.print(study.about)
    for path in (file, picture):
        console.print(f"written: {path}", soft_wrap=True)


def _draw(result: dict[str, object], path: Path) -> None:
    from .report.studies import draw  # it takes a second to import what draws

    draw(result, path)

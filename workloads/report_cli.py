"""The commands `fit-paper` and `report paper`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from . import command_line as common
from .machine import provenance
from .program import Impossible
from .replay import profiles
from .report import figures, fit, page, paper, plays, published, studies, tables
from .servers import ROOT

FITTED = "sglang-paper"
"""The profile of the engine that was fitted."""
PROFILE = ROOT / "workloads" / "replay" / "profiles" / f"engine-{FITTED}.toml"
OUT = ROOT / "out" / "report"
RESULTS = ROOT / "docs" / "results"
FIT = RESULTS / "paper-fit.json"
app = typer.Typer(help="Draws results as figures, and a page that holds them.", no_args_is_help=True)


def add_to(cli: typer.Typer) -> None:
    cli.command("fit-paper")(fit_command)
    cli.add_typer(app, name="report")


def fit_command(
    seed: common.Seed = 1,
    json_path: Annotated[Path, typer.Option("--json", help="What was found.")] = OUT / "paper-fit.json",
    profile: Annotated[Path, typer.Option(help="The profile of the engine that is written.")] = OUT
    / PROFILE.name,
) -> None:
    """Finds what the paper does not tell of its engine, from its times of HiCache with 25 to 200 agents."""
    console = common.console()
    told = published.read()
    with common.understood():
        found = fit.fit(told, fit.plays_of(seed), fit.base_server(), console.print)
    about = provenance(paper.SCHEMA, seed, {"fitted_on_agents": list(fit.FITTED_ON)})
    common_text = (
        f"SGLang as in the paper's figures, as far as they tell. Written by `python -m workloads fit-paper`, seed {seed}:\n"
        "# three figures were fitted, all others are those of engine-sglang.toml."
    )
    _write(profile, fit.profile_text(found, common_text))
    _write(json_path, _json({**about, **found.as_json()}))
    for name, value in found.values.items():
        console.print(f"{name} = {value:g}")
    console.print(
        f"off by {found.error:.1%} of a step on average, after {found.plays} plays of {len(fit.FITTED_ON)} sizes"
    )


@app.command("paper")
def paper_command(
    seed: common.Seed = 1,
    json_path: Annotated[Path, typer.Option("--json", help="Results.")] = OUT / "paper.json",
    images: Annotated[Path, typer.Option(help="Folder for the figures.")] = OUT,
    html: Annotated[Path, typer.Option(help="The page that holds them.")] = OUT / "paper.html",
    jobs: Annotated[int, typer.Option(min=1, help="Plays side by side.")] = os.cpu_count() or 1,
    redraw: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Plays nothing, and draws these results."),
    ] = None,
) -> None:
    """Plays the paper's figures on a model of its machine, and draws them beside the published values.

    What was played before by the same code is not played again (out/report/plays).
    """
    console, told_by_paper = common.console(), published.read()
    with common.understood():
        if redraw is not None:
            told = _read(redraw)
        else:
            if not FIT.exists():
                raise Impossible(f"there is no {FIT.relative_to(ROOT)}; fit-paper makes it")
            fitted, server = _read(FIT), profiles.server(FITTED)
            wanted = paper.points(told_by_paper)
            with _bar(len(wanted)) as shown:
                found = plays.all_of(wanted, server, seed, OUT / "plays", jobs, shown)
            percent = paper.active_percent(seed, len(told_by_paper.active_percent))
            about = provenance(paper.SCHEMA, seed, {"engine": FITTED, "gpu": "h100"})
            told = json.loads(_json(paper.result(found, fitted, percent, about)))
            _write(json_path, _json(told))
    for drawing in figures.DRAWINGS:
        figures.draw(drawing, told, told_by_paper, images / drawing.file_name)
    _write(html, _page(told, told_by_paper, images))
    for system, agents, off in tables.fits(told, told_by_paper):
        console.print(f"{system} with {agents:,} agents: {off:+.0%} of what was published")
    console.print(f"see {html}")


def _page(told: paper.Result, told_by_paper: published.Published, images: Path) -> str:
    beside = [
        page.Table("Seconds of a step (independent)", tables.step_times(told, told_by_paper)),
        page.Table("Speedup over SGLang", tables.speedups(told, told_by_paper)),
        page.Table("What HiCache's step goes into", tables.shares(told, told_by_paper)),
        page.Table("More active agents than slots", tables.crowd(told, told_by_paper)),
        page.Table("Free figures of the engine", tables.free(told)),
    ]
    shown = [
        page.Shown(f"Figure {one.number}: {one.title}", one.about, images / one.file_name)
        for one in figures.DRAWINGS
    ]
    parts = [
        page.Part(
            "Beside the published values",
            "Hatched or hollow is what the paper published, filled is what our model of its machine predicts. Nothing of ours was "
            "measured on a GPU. ScaleSim is the paper's system where it is published, and this project where it is ours.",
            beside,
            shown,
        ),
        page.Part(
            "What the paper has no figure of",
            "Studies of the same model, each made by its own command.",
            (),
            list(_studies(images)),
        ),
    ]
    return page.page("The paper's figures, replayed", figures.source(told, told_by_paper), parts)


def _studies(images: Path) -> Iterator[page.Shown]:
    for name in studies.DRAWN:
        file = RESULTS / f"study-{name}.json"
        if not file.exists():
            yield page.Shown(
                name.replace("-", " "),
                f"was not made yet: python -m workloads study {name} --json {file.name}",
                None,
            )
            continue
        study, image = _read(file), images / f"study-{name}.png"
        studies.draw(study, image)
        yield page.Shown(str(study["title"]), str(study["about"]), image)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("plays", total=total)
        yield lambda ended: bar.update(task, completed=ended)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _json(what: Mapping[str, object]) -> str:
    return json.dumps(what, indent=1, sort_keys=True) + "\n"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as exc:
        raise typer.BadParameter(f"{path} cannot be written: {exc.strerror}") from exc

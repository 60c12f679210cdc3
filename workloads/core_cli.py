"""The command `bench-core`: what the proxy costs by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .bench_core.bench import Order, bench_core, sizes
from .bench_core.held import BulkRefused
from .command_line import PROBLEM, Seed, understood
from .servers import ROOT


def add_to(app: typer.Typer) -> None:
    app.command("bench-core")(bench_core_command)


def bench_core_command(
    agents: Annotated[
        str, typer.Option(metavar="LIST", help="Numbers of agents that are known.")
    ] = "1000,10000,100000",
    active: Annotated[
        int, typer.Option(help="Of them, so many call in a step (all, where there are no more).")
    ] = 20_000,
    seed: Seed = 1,
    seconds: Annotated[float, typer.Option(help="The loop is watched for so long, with each number.")] = 15.0,
    json_path: Annotated[Path, typer.Option("--json", help="Results.")] = ROOT / "out" / "bench.json",
) -> None:
    """Measures rounds of planning, how long the loop is held, a bulk update and the bytes of idle agents."""
    with understood():
        order = Order(sizes(agents), active, seed, seconds, json_path)
    try:
        bench_core(order, Console())
    except BulkRefused as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(PROBLEM) from exc

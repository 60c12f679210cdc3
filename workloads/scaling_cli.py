"""The command `bench-engines`: one proxy in front of more and more engines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from . import command_line as common
from .command_line import DEFAULT
from .emulated import EmulatedInstallation
from .program import Impossible
from .scaling.bench import Order, bench_engines
from .servers import ROOT


def add_to(app: typer.Typer) -> None:
    app.command("bench-engines")(bench_engines_command)


def bench_engines_command(
    engines: Annotated[str, typer.Option(metavar="LIST", help="Numbers of engines.")] = "1,2,4,8,12",
    proxies: Annotated[int, typer.Option(min=1, help="With the most engines, also so many of them.")] = 2,
    running: Annotated[int, typer.Option(min=1, help="Calls that an engine runs at once.")] = 16,
    call_ms: Annotated[float, typer.Option(help="How long each takes there.")] = 80.0,
    seconds: Annotated[float, typer.Option(help="Of each measurement of a rate.")] = 5.0,
    scenario: common.ScenarioName = "independent",
    agents: Annotated[int, typer.Option(help="Simulated agents, for each engine.")] = 24,
    steps: common.Steps = 12,
    persona_tokens: common.PersonaTokens = 600,
    room: common.PrefixRoom = 0.25,
    pace: Annotated[float, typer.Option(help="Times that engines with a cache are as fast as a GPU.")] = 20.0,
    seed: common.Seed = 1,
    json_path: Annotated[Path, typer.Option("--json", help="Results.")] = ROOT / "out" / "bench-engines.json",
    out_dir: common.OutDir = None,
    scalesim: common.ProxyCommand = DEFAULT.scalesim,
) -> None:
    """Measures what 1 to 12 emulated engines answer behind one proxy and behind two, and what their caches are worth against Belady's."""
    with common.understood():
        try:
            numbers = [int(word) for word in engines.split(",")]
        except ValueError as exc:
            raise Impossible(f"{engines!r} is not a list of numbers of engines") from exc
        order = Order(
            engines=numbers,
            proxies=proxies,
            running=running,
            call_s=call_ms / 1000,
            seconds=seconds,
            warm_up_s=1.0,
            scenario=scenario,
            wishes=common.wishes(agents, steps, seed, persona_tokens, 16, None),
            share=room,
            seed=seed,
            out_dir=out_dir or common.new_out_dir("bench-engines"),
            json_path=json_path,
            installation=replace(EmulatedInstallation(pace=pace), scalesim=scalesim.absolute()),
        )
    common.finish(bench_engines(order, common.console()))

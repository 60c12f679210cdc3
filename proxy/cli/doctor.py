"""`scalesim doctor`: what is not as it should be, and what to do."""

from __future__ import annotations

import asyncio
import dataclasses

import typer
from rich.table import Table
from rich.text import Text

from ..settings import SettingsError
from .checks.finding import Finding, Level, fault
from .configured import load_settings, refuse, sources_of
from .ending import PROBLEM, UNREACHABLE
from .options import AsJson, Config, Engines
from .output import console, written

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAULT: "bold red"}


def doctor(engine: Engines = None, as_json: AsJson = False, config: Config = None) -> None:
    """Look at everything that a proxy needs, and say what is wrong and what to do.

    Looked at are the settings, ports, keys, engines and front ends, Redis, the clock, limits and the disk; nothing is changed. Ends with
    1 where there is a fault, and with 3 where an engine or Redis does not answer. Warnings are no faults.
    """
    arguments = {"engine": engine, "config": config}
    try:
        settings = load_settings(arguments, needed=())
    except SettingsError as exc:
        if any(problem.startswith("--") for problem in exc.problems):
            refuse(exc)
        found = [
            fault("settings", problem, "mend it; `scalesim settings` lists all of them")
            for problem in exc.problems
        ]
    else:
        # Here, because much of the proxy comes with it: who asks for something else does not wait for that.
        from .checks.everything import look_at_everything

        found = asyncio.run(look_at_everything(settings, sources_of(arguments).config))
    _show(found, as_json)
    faults = [one for one in found if one.level is Level.FAULT]
    if faults:
        raise typer.Exit(UNREACHABLE if any(one.unreachable for one in faults) else PROBLEM)


def _show(found: list[Finding], as_json: bool) -> None:
    counts = {level: sum(one.level is level for one in found) for level in Level}
    if as_json:
        listed = [dataclasses.asdict(one) for one in found]
        told = {
            "ok": not counts[Level.FAULT],
            "faults": counts[Level.FAULT],
            "warnings": counts[Level.WARNING],
        }
        print(written({**told, "findings": listed}))
        return
    shown = Table.grid(padding=(0, 2))
    shown.add_column(no_wrap=True)
    shown.add_column(max_width=20, overflow="fold")
    shown.add_column(overflow="fold")
    for one in found:
        says = Text(one.says)
        if one.todo:
            says.append(f"\n-> {one.todo}")
        shown.add_row(Text(one.level, _STYLES[one.level]), Text(one.about), says)
    output = console()
    output.print(shown)
    output.print(f"\nfaults: {counts[Level.FAULT]}, warnings: {counts[Level.WARNING]}")

"""`scalesim status`: how a running proxy is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from .admin import Admin, Answered, KeyFile, Url, admin_of
from .ending import FINE, PROBLEM, UNREACHABLE, CommandFailed
from .options import Config
from .output import console, percent, span, table, written


def status(
    admin: Url = None,
    key_file: KeyFile = None,
    as_json: Answered = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until Ctrl-C.")] = False,
    every_s: Annotated[
        float, typer.Option("--every", help="Seconds between two looks.", metavar="SECONDS", min=0.1)
    ] = 2.0,
    config: Config = None,
) -> None:
    """Ask a running proxy how it is.

    Ends with 1 while an engine is not up. With `--watch --json`, each look is a line.
    """
    asked = admin_of(admin, key_file, config, answers_json=as_json)
    if watch:
        code = _watch(asked, every_s, as_json)
    else:
        told = asked.get("status")
        problem = _code_of(told)
        if as_json:
            print(written(told))
        else:
            console().print(_shown(told))
        code = problem
    if code:
        raise typer.Exit(code)


def _code_of(told: Mapping[str, Any]) -> int:
    """Raises `CommandFailed` for what no proxy says."""
    try:
        return FINE if all(one["up"] for one in told["engines"]) else PROBLEM
    except (KeyError, TypeError):
        raise CommandFailed(
            "what answers is not the admin listener of a proxy: say where that is (--admin)", UNREACHABLE
        ) from None


def _watch(asked: Admin, every_s: float, as_json: bool) -> int:
    """Until Ctrl-C. The code of the last look. A proxy that is away may come back."""
    code = FINE
    output = console()

    def looks() -> Iterator[Mapping[str, Any] | str]:
        nonlocal code
        while True:
            try:
                told = asked.get("status")
                code = _code_of(told)
                yield told
            except CommandFailed as exc:
                if exc.code not in (PROBLEM, UNREACHABLE):
                    raise
                code = exc.code
                yield str(exc)
            time.sleep(every_s)

    with suppress(KeyboardInterrupt):
        if as_json:
            for told in looks():
                print(json.dumps({"problem": told} if isinstance(told, str) else told), flush=True)
        elif output.is_terminal:
            with Live(console=output, auto_refresh=False) as live:
                for told in looks():
                    live.update(told if isinstance(told, str) else _shown(told), refresh=True)
        else:
            for told in looks():
                output.print(told if isinstance(told, str) else _shown(told), "")
                output.file.flush()
    return code


def _shown(told: Mapping[str, Any]) -> RenderableType:
    lines: list[RenderableType] = [
        Text(
            f"scalesim {told['version']}, up for {span(told['up_s'])}; new simulations: {told['mode']}; policy: {told['policy']}"
        )
    ]
    if (group := told.get("group")) is not None:
        leader = "" if group["role"] == "leads" else f" {group['leader_url'] or 'nobody'}"
        problem = f" ({group['problem']})" if group["problem"] else ""
        lines.append(Text(f"group {group['group']}: {group['role']}{leader}{problem}"))
    lines += ["", engines_shown(told["engines"])]
    if told["simulations"]:
        rows = (
            (
                one["simulation"],
                one["mode"] + (", rests" if one["resting"] else ""),
                one["agents"],
                one["calls"],
                percent(one["prefix_hit_rate"]),
                percent(one["first_call_hit_rate"]),
            )
            for one in told["simulations"]
        )
        columns = ("simulation", "mode", "agents", "calls", "hit rate", "first calls")
        lines += ["", table(*columns, rows=rows, numbers=columns[2:])]
    if told["failures"]:
        places = ", ".join(f"{place} ({count})" for place, count in told["failures"].items())
        lines += ["", Text(f"faults of our own that were survived (the log has more): {places}")]
    return Group(*lines)


def engines_shown(engines: list[Mapping[str, Any]]) -> RenderableType:
    """A table, and below it what has no room in one."""
    if not engines:
        return Text("no engine: register one (scalesim engines add NAME URL)")
    rows = (
        (
            one["engine"],
            one["state"] + ("" if one["breaker"] == "closed" else f", breaker {one['breaker']}"),
            one["agents"],
            one["calls"],
            one["held_tokens"],
            one["capacity_tokens"],
            None if one["guard"] is None else one["guard"]["in_charge"],
        )
        for one in engines
    )
    columns = ("engine", "state", "agents", "calls", "held tokens", "of", "in charge")
    lines: list[RenderableType] = [table(*columns, rows=rows, numbers=columns[2:6])]
    for one in engines:
        lines.append(Text(f"  {one['engine']}: {one['url']}, {one['description']}"))
        if one["problem"]:
            lines.append(Text(f"    {one['problem']}"))
        for behind in one.get("behind") or ():
            if behind.get("problem"):
                lines.append(Text(f"    behind it, {behind['url']}: {behind['problem']}"))
    return Group(*lines)

"""`scalesim replay`: a recorded trace, played on models of GPUs, by one policy or by several side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from .machines import machine, on_machines
from .offline import bar, understood
from .options import AsJson, with_options_of
from .output import console, written
from .predicted import side_by_side


@with_options_of(on_machines)
def replay_command(
    trace: Annotated[
        list[Path],
        typer.Argument(help="Files of one trace, the oldest first.", metavar="FILE..."),
    ],
    policy: Annotated[
        str, typer.Option(help="By which memory leaves; several: side by side.", metavar="NAME,...")
    ] = "stock,nearest_first",
    speed: Annotated[float, typer.Option(help="Times as fast as it was recorded.", metavar="FACTOR")] = 1.0,
    closed: Annotated[
        bool, typer.Option("--closed", help="A caller's next call waits for its last answer.")
    ] = False,
    as_json: AsJson = False,
    **machines: Any,
) -> None:
    """Play a recorded trace on a model of GPUs.

    It plays in virtual time, through the proxy's own core. A trace tells who calls, and not how soon: docs/capacity.md.
    """
    with understood(), bar() as progress:
        # Here, because much comes with it: who asks for something else, or presses TAB, does not wait for that.
        from scalesim.workloads.program import Impossible
        from scalesim.workloads.replay.trace_player import Pace, play_trace
        from scalesim.workloads.replay.traces import read_files

        recorded = read_files(trace)
        agents = len({call.agent for call in recorded.calls})
        on = machine(**machines)
        if not on.adapter_rank and any(call.adapter is not None for call in recorded.calls):
            raise Impossible("calls of this trace use adapters: say of which rank they are (--adapter-rank)")
        names = dict.fromkeys(name.strip() for name in policy.split(",") if name.strip())
        # All before the first is played: a wrong name should not be heard of after minutes.
        settings = {name: replace(on, policy=name).setting(agents) for name in names}
        if not settings:
            raise Impossible("--policy names none")
        pace, calls = Pace(speed, closed), len(recorded.calls)
        played = {
            name: play_trace(recorded, setting, pace, progress.next(name, calls))
            for name, setting in settings.items()
        }
    if as_json:
        told = {name: one.as_json() for name, one in played.items()}
        print(written({"left_out": recorded.left_out(), "policies": told}))
        return
    output = console()
    output.print(f"{calls:,} calls of {agents:,} agents\n")
    output.print(side_by_side(played))
    for line in recorded.left_out():
        typer.echo(f"left out: {line}", err=True)

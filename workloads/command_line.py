"""What the commands have in common: options, and how a command ends."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import scenarios
from .noise import OPTIONS as NOISE
from .options import named_numbers
from .program import Impossible, Wishes, gap_of
from .servers import ROOT, Installation, ServerFailed

DEFAULT = Installation()
PROBLEM = 1
WIDTH_IN_FILES = 130

ScenarioName = Annotated[str, typer.Option(help=f"One of: {', '.join(scenarios.names())}.")]
Agents = Annotated[int, typer.Option(help="Simulated agents.")]
Steps = Annotated[int, typer.Option(help="Simulated steps.")]
Seed = Annotated[int, typer.Option(help="The same seed asks for the same.")]
PersonaTokens = Annotated[int, typer.Option(help="Tokens of each agent's persona.")]
GrowthTokens = Annotated[int, typer.Option(help="Tokens by which a history grows with each call.")]
Active = Annotated[
    float | None, typer.Option(help="Share of the agents that act in a step, about; not of diffusion [0.18].")
]
Calls = Annotated[
    int, typer.Option(help="Calls of each activation; 0: as many as the scenario's chains have.")
]
_OWN_OPTIONS = "; ".join(
    f"{name}: {', '.join(known)}" for name in scenarios.names() if (known := scenarios.scenario(name).OPTIONS)
)
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help=f"One of the scenario's own, as often as needed. There are, of {_OWN_OPTIONS}.",
    ),
]
NoiseOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--noise",
        metavar="NAME=VALUE",
        help=f"Errors in exact distances, as often as needed: {', '.join(NOISE)}.",
    ),
]
PrefixRoom = Annotated[
    float, typer.Option(help="Share of the agents' prefixes that fit into the engine's cache.")
]
Repeats = Annotated[int, typer.Option(min=1, help="Times each configuration plays the program.")]
JsonPath = Annotated[Path | None, typer.Option("--json", help="Results (OUT_DIR/COMMAND.json).")]
PngPath = Annotated[Path | None, typer.Option("--png", help="The picture (beside the JSON).")]
EngineEnv = Annotated[Path, typer.Option(help="The engine's virtual environment, or its interpreter.")]
ProxyCommand = Annotated[Path, typer.Option(help="The proxy's command.")]
OutDir = Annotated[Path | None, typer.Option(help="For logs and raw records (out/COMMAND-TIME).")]


def console() -> Console:
    """As wide as its terminal is, and else wide enough for our tables."""
    made = Console()
    if not made.is_terminal:
        made.width = WIDTH_IN_FILES
    return made


def new_out_dir(name: str) -> Path:
    return ROOT / "out" / f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"


def wishes(
    agents: int,
    steps: int,
    seed: int,
    persona_tokens: int,
    growth_tokens: int,
    option: list[str] | None,
    active: float | None = None,
    calls: int = 0,
) -> Wishes:
    """Raises `Impossible`."""
    wishes = Wishes(
        agents,
        steps,
        seed,
        persona_tokens,
        growth_tokens,
        calls_per_activation=calls,
        options=named_numbers(option or ()),
    )
    return wishes if active is None else replace(wishes, mean_gap_steps=gap_of(active))


@contextmanager
def understood() -> Iterator[None]:
    """What is impossible was a mistake in the command."""
    try:
        yield
    except Impossible as exc:
        raise typer.BadParameter(str(exc)) from exc


def finish(work: Coroutine[object, object, bool]) -> None:
    """Runs it to its end and exits. Ctrl-C, SIGTERM and a closed terminal end it early, in order."""
    # Here, because openai's client comes with it: commands that ask no engine do not wait for that.
    from .engines import EngineUnfit
    from .player import HintRefused
    from .turns import WarmUpFailed

    began_s = time.monotonic()
    problem: str | None = None
    well = False
    try:
        with understood():
            well = asyncio.run(_stoppable(work))
    except (ServerFailed, EngineUnfit, WarmUpFailed, HintRefused) as exc:
        problem = str(exc)
    except (KeyboardInterrupt, asyncio.CancelledError):
        problem = f"stopped after {time.monotonic() - began_s:.0f} s; nothing was written but logs"
    if problem is not None:
        Console(stderr=True).print(problem, style="red", markup=False, highlight=False)
    if not well:
        raise typer.Exit(PROBLEM)


async def _stoppable(work: Coroutine[object, object, bool]) -> bool:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    return await task

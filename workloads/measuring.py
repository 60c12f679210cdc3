"""What every comparison does around its plays: look whether all is installed, show progress, ask the engine afterwards."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from .configurations import Configuration, Lane
from .engines import Engine, EngineUnfit, http_client
from .fleet import Fleet
from .program import Program
from .records import CallKey
from .results import Play
from .servers import Installation, ServerFailed
from .turns import Rules, play_pass


def check_installation(
    installation: Installation, configurations: Iterable[Configuration], *, engines_are_given: bool = False
) -> None:
    """Raises `ServerFailed` with what is missing."""
    needed = [] if engines_are_given else installation.engine_parts
    if any(configuration.mode is not None for configuration in configurations):
        needed.append(installation.scalesim)
    if missing := [str(path) for path in needed if not path.exists()]:
        raise ServerFailed(f"{', '.join(missing)}: missing; `make setup` makes them")


async def play_all(
    program: Program, groups: Sequence[Sequence[Lane]], fleet: Fleet, rules: Rules, console: Console
) -> list[Play]:
    """Pass after pass, with a bar that says how far it is."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    plays: list[Play] = []
    total = sum(len(group) for group in groups) * rules.repeats * len(program.steps)
    # The estimate looks back over all lanes and over steps of all sizes, else it jumps.
    with Progress(*columns, console=console, speed_estimate_period=3600) as progress:
        bar = progress.add_task("starting", total=total)

        def on_step(lane: Lane) -> None:
            progress.update(bar, advance=1, description=f"{lane.name:>10}")

        for index, group in enumerate(groups):
            names = ", ".join(lane.name for lane in group)
            progress.update(bar, description=f"starting {names}")
            plays += await play_pass(program, group, fleet, pass_index=index, rules=rules, on_step=on_step)
    return plays


async def ask_afterwards(
    program: Program, plays: Sequence[Play], engine_url: str
) -> tuple[str, Mapping[CallKey, Sequence[int]] | None, tuple[str, ...]]:
    """The model's name, the token ids of every prompt, and what is to be said of them."""
    async with http_client(engine_url) as http:
        engine = Engine(http)
        try:
            model = await engine.model()
            ids = {
                # An array: long programs ask for a hundred million tokens.
                (step.index, activation.agent, index): array("q", await engine.prompt_ids(call.messages))
                for step, activation, index, call in program.calls()
            }
        except EngineUnfit as exc:
            return "unknown", None, (f"No hit rates: {exc}.",)
    own = list(program.adapters)
    for (_, agent, _), tokens in ids.items():
        # Prefixes are shared by nobody who has an adapter, even where texts begin alike: no token is below 0.
        if agent in program.adapters and tokens:
            tokens[0] = -1 - own.index(agent)
    counts = {
        (call.prompt_tokens, len(ids[call.key]))
        for play in plays
        for call in play.calls
        if call.error is None
    }
    if all(told == counted for told, counted in counts):
        return model, ids, ()
    return model, ids, ("The engine counts prompts otherwise than its tokenizer: hit rates are approximate.",)


def print_errors(plays: Sequence[Play], console: Console, most: int = 5) -> None:
    errors = [(play, call) for play in plays for call in play.calls if call.error is not None]
    for play, call in errors[:most]:
        console.print(
            f"error in {play.configuration}, step {call.step}, {call.agent}: {call.error}", markup=False
        )
    if len(errors) > most:
        console.print(f"and {len(errors) - most} more")

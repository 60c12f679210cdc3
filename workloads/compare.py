"""`compare`: one program, several configurations, one real engine for each, the same for all but what is compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from . import calibration
from .comparison import Comparison
from .configurations import CONFIGURATIONS, Lane, passes
from .engines import Engine, EngineUnfit, http_client
from .fleet import ChildProcesses, Fleet
from .machine import command, commit, machine
from .picture import draw
from .program import Program, Wishes
from .records import CallKey, write_calls
from .results import Play, bounds, compare_texts, speedups, summaries
from .room import room
from .scenarios import scenario
from .servers import Flavour, Installation, ServerFailed, Servers
from .turns import play_pass


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be compared, and where the results go."""

    scenario: str
    wishes: Wishes
    names: tuple[str, ...]
    """Configurations; the first is the reference."""
    room: float
    repeats: int
    most_engines: int
    out_dir: Path
    json_path: Path
    png_path: Path
    installation: Installation = field(default_factory=Installation)
    given: Mapping[Flavour, str] = field(default_factory=dict)
    """URLs of engines that are running already."""


async def compare(order: Order, console: Console) -> bool:
    """Plays, prints and writes everything. True if all went well: no errors, no unexplained difference.

    Raises `Impossible`, `ServerFailed`, `EngineUnfit`, `WarmUpFailed` or `HintRefused`.
    """
    # Refuse what is impossible before anything takes time.
    groups = passes(order.names, order.most_engines, dict.fromkeys(order.given, 1))
    _check_installation(order)
    order.out_dir.mkdir(parents=True, exist_ok=True)
    wishes = replace(order.wishes, chars_per_token=await _chars_per_token(order))
    program = scenario(order.scenario).generate(wishes)
    planned = room(program, wishes, order.room)
    capacity_tokens, capacity = await _given_capacity(order) or (planned.capacity_tokens, str(planned))
    calls = sum(1 for _ in program.calls())
    console.print(f"{calls} calls in {len(program.steps)} steps; room in the cache: {capacity}.")

    with ExitStack() as after:
        servers = after.enter_context(Servers(order.installation, order.out_dir))
        fleet = ChildProcesses(servers, capacity_tokens, order.most_engines, order.given)
        plays = await _play(program, groups, fleet, order.repeats, console)
        urls = await fleet.engines([groups[-1][0].engine])
        model, prompts, notes = await _ask_afterwards(program, plays, urls[groups[-1][0].engine])

    records = order.out_dir / "calls.jsonl"
    write_calls(records, [(play.about(), play.calls) for play in plays])
    told = summaries(plays, prompts, capacity_tokens)
    reference = order.names[0]
    comparison = Comparison(
        command=command(),
        commit=commit(),
        machine=machine(),
        scenario=order.scenario,
        wishes=wishes,
        repeats=order.repeats,
        model=Path(model).name,  # engines name a model by where it lies on their machine
        capacity_tokens=capacity_tokens,
        capacity=capacity,
        summaries={name: told[name] for name in order.names},
        speedup=speedups(plays, reference),
        texts=compare_texts(plays, reference),
        bounds=bounds(told[reference]),
        notes=notes,
    )
    order.json_path.parent.mkdir(parents=True, exist_ok=True)
    order.json_path.write_text(json.dumps(comparison.as_json(), indent=2) + "\n")
    order.png_path.parent.mkdir(parents=True, exist_ok=True)
    draw(comparison, order.png_path)
    comparison.print(console)
    _print_errors(plays, console)
    for path in (order.json_path, order.png_path, records):
        console.print(f"written: {path}", soft_wrap=True)
    return comparison.ok


def _check_installation(order: Order) -> None:
    flavours = {CONFIGURATIONS[name].flavour for name in order.names}
    needed = []
    if flavours - order.given.keys():
        needed += [order.installation.engine_python, order.installation.model]
    if any(CONFIGURATIONS[name].mode is not None for name in order.names):
        needed.append(order.installation.scalesim)
    if missing := [str(path) for path in needed if not path.exists()]:
        raise ServerFailed(f"{', '.join(missing)}: missing; `make setup` makes them")


async def _chars_per_token(order: Order) -> float:
    if not order.given:
        return calibration.of_model(order.installation)
    async with http_client(next(iter(order.given.values()))) as http:
        return await calibration.of_engine(Engine(http))


async def _given_capacity(order: Order) -> tuple[int, str] | None:
    """A running engine has the room it has."""
    if not order.given:
        return None
    capacities = []
    for url in order.given.values():
        async with http_client(url) as http:
            capacities.append(await Engine(http).capacity_tokens())
    capacity = capacities[0]
    if capacities.count(capacity) < len(capacities):
        raise EngineUnfit(
            f"the running engines have different room, {capacities} tokens: they cannot be compared"
        )
    return capacity, f"{capacity:,} tokens, as the running engine has it"


async def _play(
    program: Program, groups: Sequence[Sequence[Lane]], fleet: Fleet, repeats: int, console: Console
) -> list[Play]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    plays: list[Play] = []
    total = sum(len(group) for group in groups) * repeats * len(program.steps)
    # The estimate looks back over all lanes and over steps of all sizes, else it jumps.
    with Progress(*columns, console=console, speed_estimate_period=3600) as progress:
        bar = progress.add_task("starting", total=total)

        def on_step(lane: Lane) -> None:
            progress.update(bar, advance=1, description=f"{lane.name:>10}")

        for index, group in enumerate(groups):
            names = ", ".join(lane.name for lane in group)
            progress.update(bar, description=f"starting {names}")
            plays += await play_pass(
                program, group, fleet, pass_index=index, repeats=repeats, on_step=on_step
            )
    return plays


async def _ask_afterwards(
    program: Program, plays: Sequence[Play], engine_url: str
) -> tuple[str, dict[CallKey, list[int]] | None, tuple[str, ...]]:
    """The model's name, the token ids of every prompt, and what is to be said of them."""
    async with http_client(engine_url) as http:
        engine = Engine(http)
        try:
            model = await engine.model()
            ids = {
                (step.index, activation.agent, index): await engine.prompt_ids(call.messages)
                for step, activation, index, call in program.calls()
            }
        except EngineUnfit as exc:
            return "unknown", None, (f"No hit rates: {exc}.",)
    counts = {
        (call.prompt_tokens, len(ids[call.key]))
        for play in plays
        for call in play.calls
        if call.error is None
    }
    if all(told == counted for told, counted in counts):
        return model, ids, ()
    return model, ids, ("The engine counts prompts otherwise than its tokenizer: hit rates are approximate.",)


def _print_errors(plays: Sequence[Play], console: Console, most: int = 5) -> None:
    errors = [(play, call) for play in plays for call in play.calls if call.error is not None]
    for play, call in errors[:most]:
        console.print(
            f"error in {play.configuration}, step {call.step}, {call.agent}: {call.error}", markup=False
        )
    if len(errors) > most:
        console.print(f"and {len(errors) - most} more")

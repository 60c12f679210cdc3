"""`compare`: one program, several configurations, an engine for each, the same for all but what is compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from . import calibration
from .builds import Flavour
from .comparison import Comparison
from .configurations import AHEAD, ANSWERS, NOISY, Configuration, configurations_for, passes
from .emulated import ABOUT_STOCK, ANSWER_SHARE, EmulatedInstallation
from .engines import Engine, EngineUnfit, http_client
from .estimators import Estimators, Touches
from .fleet import ChildProcesses
from .gap_law import GapLaw
from .in_time import brought_in_time, found_resident, kept_by_mru
from .interactions import interactions
from .machine import command, commit, machine
from .measuring import ask_afterwards, check_installation, play_all, print_errors
from .memory_configurations import refuse_those_of_memory
from .noise import Noise, noisy
from .offline import offline
from .picture import draw
from .program import Impossible, Program, Wishes
from .records import CallKey, write_calls
from .results import Play, Sequel, bounds, compare_texts, sequel, speedups, spread_of_speedups, summaries
from .room import room
from .scenarios import scenario
from .servers import Installation, Servers
from .speech import spoken
from .turns import Rules

ANY_GRAMMAR = ("--grammar-backend", "xgrammar")
"""With which SGLang makes a model say what is asked for. The flag given last counts."""


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
    noise: Noise | None = None
    """In what the configuration `noisy` tells."""

    @property
    def is_emulated(self) -> bool:
        return isinstance(self.installation, EmulatedInstallation)


async def compare(order: Order, console: Console) -> bool:
    """Plays, prints and writes everything. True if all went well: no errors, no unexplained difference.

    Raises `Impossible`, `ServerFailed`, `EngineUnfit`, `WarmUpFailed` or `HintRefused`.
    """
    # Refuse what is impossible before anything takes time.
    refuse_those_of_memory(order.names)
    generate = scenario(order.scenario).generate
    known = _configurations(order, generate(replace(order.wishes, agents=1, steps=1)))
    groups = passes(order.names, order.most_engines, dict.fromkeys(order.given, 1), known)
    check_installation(
        order.installation,
        [known[name] for name in order.names],
        engines_are_given=not {known[name].flavour for name in order.names} - order.given.keys(),
    )
    order.out_dir.mkdir(parents=True, exist_ok=True)
    wishes = replace(order.wishes, chars_per_token=await _chars_per_token(order))
    if order.is_emulated:
        wishes = replace(wishes, output_share=wishes.output_share * ANSWER_SHARE)
    program = generate(wishes)
    if ANSWERS in order.names:
        program = spoken(program)
    planned = room(program, wishes, order.room)
    capacity_tokens, capacity = await _given_capacity(order) or (planned.capacity_tokens, str(planned))
    calls = sum(1 for _ in program.calls())
    console.print(f"{calls} calls in {len(program.steps)} steps; room in the cache: {capacity}.")

    with ExitStack() as after:
        servers = after.enter_context(Servers(order.installation, order.out_dir))
        fleet = ChildProcesses(servers, capacity_tokens, order.most_engines, order.given)
        plays = await play_all(program, groups, fleet, _rules(order, program), console)
        console.print(f"Asking the engine how it tokenizes {calls} prompts.")
        urls = await fleet.engines([groups[-1][0].engine])
        model, prompts, notes = await ask_afterwards(program, plays, urls[groups[-1][0].engine])

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
        configurations=known,
        summaries={name: told[name] for name in order.names},
        speedup=speedups(plays, reference),
        texts=compare_texts(plays, reference),
        bounds=bounds(told[reference]),
        notes=(*notes, *_notes(order)),
        engine="emulated" if order.is_emulated else "sglang",
        calls_by_trigger=program.calls_by_trigger(),
        spread=spread_of_speedups(plays, reference),
        estimators=_estimators(order, program, plays, prompts, known, capacity_tokens),
        interactions=interactions(program),
    )
    order.json_path.parent.mkdir(parents=True, exist_ok=True)
    order.json_path.write_text(json.dumps(comparison.as_json(), indent=2) + "\n")
    order.png_path.parent.mkdir(parents=True, exist_ok=True)
    draw(comparison, order.png_path)
    comparison.print(console)
    print_errors(plays, console)
    for path in (order.json_path, order.png_path, records):
        console.print(f"written: {path}", soft_wrap=True)
    return comparison.ok


def _configurations(order: Order, program: Program) -> Mapping[str, Configuration]:
    """`program` is a small one of the same scenario. Raises `Impossible`."""
    if NOISY in order.names and order.noise is None:
        raise Impossible(f"{NOISY} tells distances with errors: say which, as --noise NAME=VALUE")
    if order.noise is not None and NOISY not in order.names:
        raise Impossible(f"errors are told by the configuration {NOISY}, which does not play")
    if order.is_emulated and order.given:
        raise Impossible("an engine is either emulated or given by its URL")
    known = configurations_for(program, order.noise)
    for name in order.names:
        if name in known and (told := known[name].told) is not None:
            program.must_tell(told)
    if AHEAD in order.names and not order.is_emulated:
        raise Impossible(
            f"{AHEAD} is played on emulated engines; `bench-memory` loads ahead of calls on real ones"
        )
    if ANSWERS in order.names and not order.is_emulated:
        # All are asked for the same answers, so all need what makes a model say them.
        known = {name: replace(one, settings=(*one.settings, *ANY_GRAMMAR)) for name, one in known.items()}
    if order.is_emulated:
        known["stock"] = replace(known["stock"], about=ABOUT_STOCK)
    return known


def _estimators(
    order: Order,
    program: Program,
    plays: Sequence[Play],
    prompts: Mapping[CallKey, Sequence[int]] | None,
    known: Mapping[str, Configuration],
    capacity_tokens: int,
) -> Estimators:
    if prompts is None:
        return Estimators()

    def first_play(name: str) -> Sequel:
        play = next(play for play in plays if play.configuration == name)
        return sequel(play.calls, prompts, play.lead_in_calls)

    touches = {}
    if isinstance(order.installation, EmulatedInstallation):
        for name in order.names:
            if known[name].host_tier:
                played = first_play(name)
                bound = brought_in_time(program, played, capacity_tokens, order.installation.wire)
                touches[name] = Touches(found_resident(played), bound, kept_by_mru(played, capacity_tokens))
    return Estimators(offline(first_play(order.names[0]), GapLaw.of(program), capacity_tokens), touches)


def _rules(order: Order, program: Program) -> Rules:
    instead = {} if order.noise is None else {NOISY: noisy(program, order.noise)}
    # The emulated engine leaves memory control idle time, and how fast it is does not drift.
    return Rules(
        repeats=order.repeats,
        whole_plays=order.is_emulated,
        instead=instead,
        logprobs=not order.is_emulated,
    )


def _notes(order: Order) -> tuple[str, ...]:
    return order.installation.notes() if isinstance(order.installation, EmulatedInstallation) else ()


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

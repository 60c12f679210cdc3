"""The command `placement`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scalesim.proxy.core import placement

from . import command_line as common
from .placement_play import Away, Fleet, Outcome, play
from .program import Impossible, Program
from .robustness_cli import CHARS_PER_TOKEN, OUTPUT_SHARE
from .robustness_play import Prompts
from .room import room
from .scenarios import scenario as scenario_of

HORIZON_STEPS = 20.0
"""Agents farther away may move when a step begins."""


def add_to(app: typer.Typer) -> None:
    app.command("placement")(placement_command)


def placement_command(
    scenario: common.ScenarioName = "independent",
    agents: common.Agents = 200,
    steps: common.Steps = 60,
    seed: common.Seed = 1,
    persona_tokens: common.PersonaTokens = 600,
    growth_tokens: common.GrowthTokens = 4,
    option: common.Options = None,
    share: Annotated[
        float, typer.Option("--room", help="Share of the agents' prefixes that fit into all caches together.")
    ] = 0.5,
    engines: Annotated[int, typer.Option(min=1, help="Of the same size.")] = 4,
    adapters: Annotated[int, typer.Option(min=0, help="LoRA adapters that the agents share.")] = 0,
    away: Annotated[
        str | None,
        typer.Option(
            metavar="FROM:TO", help="Steps between which the first engine is lost; it comes back empty."
        ),
    ] = None,
) -> None:
    """Plays a scenario in virtual time on several engines, with each placement rule: hits, moves, balance."""
    with common.understood():
        told = common.wishes(agents, steps, seed, persona_tokens, growth_tokens, option)
        wishes = replace(told, output_share=OUTPUT_SHARE, chars_per_token=CHARS_PER_TOKEN)
        program = shared(scenario_of(scenario).generate(wishes), adapters)
        capacity = room(program, wishes, share).capacity_tokens // engines
        gone = None if away is None else away_between(away, steps)
    console, prompts = Console(), Prompts()
    console.print(
        f"{scenario}, {agents} agents, {steps} steps, seed {seed}; {engines} engines of {capacity:,} tokens each"
    )
    table = Table(
        "leaves by", "rule", "hits", "first calls", "moves", "busiest / mean", "seconds", "p50 s", "p95 s"
    )
    if adapters:
        table.add_column("engines / adapter")
    if gone is not None:
        table.add_column("calls on it, 4 steps after")
    for by_distance in (False, True):
        for rule in sorted(placement.names(), reverse=True):
            fleet = Fleet(engines, capacity, rule, by_distance, HORIZON_STEPS, away=gone)
            with common.understood():
                outcome = play(program, prompts, fleet)
            table.add_row("distance" if by_distance else "recency", rule, *row(outcome, gone))
    console.print(table)


def shared(program: Program, adapters: int) -> Program:
    """With so many adapters, one for each agent in turn."""
    if not adapters:
        return program
    return program.with_adapters(
        {agent: f"shared-{place % adapters}" for place, agent in enumerate(program.agents)}
    )


def away_between(text: str, steps: int) -> Away:
    """Raises `Impossible`."""
    begin, _, end = text.partition(":")
    if not (begin.isdecimal() and end.isdecimal() and int(begin) < int(end) < steps):
        raise Impossible(
            f"away is {text!r}, and has to be FROM:TO, two steps of 0 to {steps - 1}, the first before"
        )
    return Away(0, int(begin), int(end))


def row(outcome: Outcome, away: Away | None) -> Iterator[str]:
    waits = sorted(outcome.waits_s)
    yield f"{outcome.hits:.3f}"
    yield f"{outcome.first_hits:.3f}"
    yield f"{(outcome.changes + outcome.moved) / outcome.calls:.3f}"
    yield f"{outcome.imbalance:.3f}"
    yield f"{outcome.seconds:.1f}"
    yield f"{waits[len(waits) // 2]:.3f}"
    yield f"{waits[len(waits) * 95 // 100]:.3f}"
    if outcome.adapter_places:
        yield f"{sum(outcome.adapter_places.values()) / len(outcome.adapter_places):.2f}"
    if away is not None:
        yield " ".join(f"{share:.2f}" for share in outcome.shares_back[away.to_step : away.to_step + 4])

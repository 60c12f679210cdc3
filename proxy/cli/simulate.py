"""`scalesim simulate`: what a simulation would do on GPUs that are not there, what holds it up, and what would change that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .ending import PROBLEM
from .machines import machine, on_machines
from .offline import bar, understood
from .options import AsJson, with_options_of
from .output import console, wide_console, written
from .predicted import figures, swept, time_by_cause, what_if_table

if TYPE_CHECKING:
    from scalesim.workloads.planning.plays import Played


@with_options_of(on_machines)
def simulate_command(
    scenario: Annotated[
        str, typer.Option(help="independent, interaction, diffusion or rhythm.", metavar="NAME")
    ] = "independent",
    agents: Annotated[int, typer.Option(help="How many there are.", metavar="N", min=1)] = 1000,
    steps: Annotated[int, typer.Option(help="Of the simulation.", metavar="N", min=1)] = 10,
    lead_in: Annotated[
        int,
        typer.Option(help="Steps before these, that fill memory and are not told of.", metavar="N", min=0),
    ] = 10,
    seed: Annotated[int, typer.Option(help="The same seed asks for the same.", metavar="N")] = 1,
    active: Annotated[
        float | None,
        typer.Option(help="Share of the agents that act in a step, about [0.18].", metavar="SHARE"),
    ] = None,
    calls: Annotated[
        int, typer.Option(help="Of each activation; 0: as the scenario has them.", metavar="N", min=0)
    ] = 0,
    persona_tokens: Annotated[int, typer.Option(help="Of each agent.", metavar="N", min=1)] = 2000,
    growth_tokens: Annotated[
        int, typer.Option(help="By which a history grows with each call.", metavar="N", min=0)
    ] = 64,
    option: Annotated[
        list[str] | None,
        typer.Option(help="One of the scenario's own, as often as needed.", metavar="NAME=VALUE"),
    ] = None,
    told: Annotated[
        str, typer.Option(help="What the simulation tells: exact, plan, ticks, none ...", metavar="WHAT")
    ] = "exact",
    noise: Annotated[
        list[str] | None,
        typer.Option(help="Errors in exact distances, as often as needed.", metavar="NAME=VALUE"),
    ] = None,
    policy: Annotated[
        str, typer.Option(help="By which memory leaves: nearest_first, stock ...", metavar="NAME")
    ] = "nearest_first",
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            help="Play each value, like agents=100,500; of several, all combinations.",
            metavar="NAME=VALUES",
        ),
    ] = None,
    what_if: Annotated[
        bool, typer.Option("--what-if/--no-what-if", help="Play what would change it, too; not of a sweep.")
    ] = True,
    step_within: Annotated[
        float | None,
        typer.Option(
            help="End with 1 unless a step of some case takes no longer, on average.", metavar="SECONDS"
        ),
    ] = None,
    as_json: AsJson = False,
    **machines: Any,
) -> None:
    """Play a simulation on a model of GPUs, and say what holds it up.

    It plays in virtual time, through the proxy's own core, and once more each with another GPU, twice the host link and half the
    persona. What comes out is a prediction: docs/capacity.md says what it leaves out, and how an engine that you have is measured for it.
    """
    with understood(), bar() as progress:
        # Here, because much comes with it: who asks for something else, or presses TAB, does not wait for that.
        from scalesim.workloads.options import named_numbers
        from scalesim.workloads.planning import plays
        from scalesim.workloads.planning.case import Case, Town

        town = Town(
            scenario,
            agents,
            steps,
            lead_in,
            seed,
            persona_tokens,
            growth_tokens,
            calls_per_activation=calls,
            options=named_numbers(option or ()),
            noise=named_numbers(noise or ()),
        )
        case = Case(town, machine(**machines)).told_to("told", told).told_to("policy", policy)
        if active is not None:
            case = case.told_to("active", str(active))
        cases = plays.sweep(case, sweep or ())
        # All before the first is played: what cannot be should not be heard of after minutes.
        for _, one in cases:
            one.machine.setting(one.town.agents)
            one.town.refuse_what_cannot_be()
        others = plays.what_ifs(case) if what_if and not sweep else []
        player = plays.Plays(progress.next)
        played = [player.play(_named(values), one) for values, one in cases]
        changed = [player.play(name, one) for name, one in others]
    if as_json:
        told_of = [one.as_json() for one in played], [one.as_json() for one in changed]
        print(written({"cases": told_of[0], "what_if": told_of[1]}))
    elif sweep:
        wide_console().print(swept([values for values, _ in cases], played))
    else:
        _show(played[0], changed)
    if step_within is not None and not any(one.step_s <= step_within for one in played):
        raise typer.Exit(PROBLEM)


def _named(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _show(played: Played, changed: list[Played]) -> None:
    output, held_up = console(), played.bottleneck
    output.print(figures(played.results))
    output.print(f"\nbottleneck: {held_up.name}, {held_up.share:.0%} of the time")
    output.print(f"  {held_up.means}")
    output.print(f"  what helps: {held_up.helps}\n")
    output.print(time_by_cause(played.results.causes))
    if changed:
        output.print()
        output.print(what_if_table([played, *changed]))

"""The command `robustness`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scalesim.engine_adapters.emulated.tokens import encode

from .command_line import (
    Agents,
    GrowthTokens,
    Options,
    OutDir,
    PersonaTokens,
    ScenarioName,
    Seed,
    Steps,
    finish,
    new_out_dir,
)
from .options import named_numbers
from .program import Impossible, Wishes
from .prose import SAMPLE
from .robustness import Order, robustness

CHARS_PER_TOKEN = len(SAMPLE) / len(encode(SAMPLE))
"""Of the emulated engine's tokenizer."""
OUTPUT_SHARE = 0.1
"""What is generated is never asked for again: it takes time, and little else."""


def add_to(app: typer.Typer) -> None:
    app.command("robustness")(robustness_command)


def robustness_command(
    scenario: ScenarioName = "independent",
    agents: Agents = 200,
    steps: Steps = 120,
    seed: Seed = 1,
    persona_tokens: PersonaTokens = 600,
    growth_tokens: GrowthTokens = 4,
    option: Options = None,
    room: Annotated[
        float, typer.Option(help="Share of the agents' prefixes that fit into the engine's cache.")
    ] = 0.25,
    jobs: Annotated[int, typer.Option(min=1, help="Processes side by side.")] = os.cpu_count() or 1,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Results (OUT_DIR/robustness.json).")
    ] = None,
    png_path: Annotated[Path | None, typer.Option("--png", help="The picture (beside the JSON).")] = None,
    out_dir: OutDir = None,
) -> None:
    """Plays a scenario in virtual time with distances that are wrong: which hits that costs, with the guard and without.

    Exits with 1 if the guard broke its promise.
    """
    json_file = json_path or (out_dir or new_out_dir("robustness")) / "robustness.json"
    try:
        options = named_numbers(option or ())
        wishes = Wishes(
            agents,
            steps,
            seed,
            persona_tokens,
            growth_tokens,
            output_share=OUTPUT_SHARE,
            chars_per_token=CHARS_PER_TOKEN,
            options=options,
        )
        order = Order(scenario, wishes, room, jobs, json_file, png_path or json_file.with_suffix(".png"))
    except Impossible as exc:
        raise typer.BadParameter(str(exc)) from exc
    finish(robustness(order, Console()))

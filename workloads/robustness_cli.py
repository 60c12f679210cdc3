"""The command `robustness`."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console

from scalesim.engine_adapters.emulated.tokens import encode

from . import command_line as common
from .prose import SAMPLE
from .robustness import Order, robustness

CHARS_PER_TOKEN = len(SAMPLE) / len(encode(SAMPLE))
"""Of the emulated engine's tokenizer."""
OUTPUT_SHARE = 0.1
"""What is generated is never asked for again: it takes time, and little else."""


def add_to(app: typer.Typer) -> None:
    app.command("robustness")(robustness_command)


def robustness_command(
    scenario: common.ScenarioName = "independent",
    agents: common.Agents = 200,
    steps: common.Steps = 120,
    seed: common.Seed = 1,
    persona_tokens: common.PersonaTokens = 600,
    growth_tokens: common.GrowthTokens = 4,
    option: common.Options = None,
    room: common.PrefixRoom = 0.25,
    jobs: Annotated[int, typer.Option(min=1, help="Processes side by side.")] = os.cpu_count() or 1,
    json_path: common.JsonPath = None,
    png_path: common.PngPath = None,
    out_dir: common.OutDir = None,
) -> None:
    """Plays a scenario in virtual time with distances that are wrong: which hits that costs, with the guard and without.

    Exits with 1 if the guard broke its promise.
    """
    json_file = json_path or (out_dir or common.new_out_dir("robustness")) / "robustness.json"
    with common.understood():
        told = common.wishes(agents, steps, seed, persona_tokens, growth_tokens, option)
        wishes = replace(told, output_share=OUTPUT_SHARE, chars_per_token=CHARS_PER_TOKEN)
        order = Order(scenario, wishes, room, jobs, json_file, png_path or json_file.with_suffix(".png"))
    common.finish(robustness(order, Console()))

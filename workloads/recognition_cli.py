"""The command `recognition`: hard cases of recognising agents by their prompts alone."""

from __future__ import annotations

import typer
from rich.console import Console

from .command_line import PROBLEM, Seed
from .recognition.suite import run_suite

_WIDTH = 160
"""In files, where nothing else says how much there is room for."""


def add_to(app: typer.Typer) -> None:
    app.command("recognition")(recognition_command)


def recognition_command(seed: Seed = 1) -> None:
    """Plays hard cases through learned recognition and links, and prints pair-counting F1 of each."""
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    if not all(one.passed for one in run_suite(seed, console)):
        raise typer.Exit(PROBLEM)

"""`scalesim settings`: all there are."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from ..settings import listed


def settings_command() -> None:
    """List all settings, each with its default and what it is for.

    On the command line a setting is --idle-after-s where `serve` has such an option, in the environment
    SCALESIM_IDLE_AFTER_S, and in the config file idle_after_s.
    """
    table = Table("setting", "default", "what for", box=None)
    for one in listed():
        table.add_row(one.name, one.default, one.about)
    Console(width=None if sys.stdout.isatty() else 160).print(table, markup=False)

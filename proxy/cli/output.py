"""What commands print: tables that fit a terminal of 80 columns and need no colour, or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

_UNLIMITED = 160
"""Where nobody looks at it on a terminal, a table may be wider: whoever searches it finds whole names."""


def written(answer: object) -> str:
    return json.dumps(answer, indent=2, ensure_ascii=False)


def console() -> Console:
    """For standard output as it is now. Nothing that is printed is taken for markup, or gets colours by what it looks like."""
    return Console(markup=False, highlight=False, emoji=False)


def wide_console() -> Console:
    return Console(
        width=None if sys.stdout.isatty() else _UNLIMITED, markup=False, highlight=False, emoji=False
    )


def table(*columns: str, rows: Iterable[Iterable[object]], numbers: Iterable[str] = ()) -> Table:
    """`numbers`: the columns that stand to the right. What is None is shown as `-`."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    right = frozenset(numbers)
    for column in columns:
        shown.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*("-" if cell is None else str(cell) for cell in row))
    return shown


def percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.1%}"


def span(seconds: float | None) -> str | None:
    """As people say it: `12.3 s`, `5 min`, `3.2 h`, `4.1 days`."""
    if seconds is None:
        return None
    for unit, size, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < limit:
            return f"{seconds / size:.{0 if unit == 'min' else 1}f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def size(count: int | None) -> str | None:
    """Of bytes."""
    if count is None:
        return None
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"

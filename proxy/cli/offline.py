"""Commands that play simulations on models of machines: they ask no proxy and no engine.

What they play is in `scalesim.workloads`, a customer of the proxy that nothing else of it knows. Each command imports it inside of
itself: who asks for something else does not wait for that (docs/decisions/0015).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .ending import USAGE, fail

SHOWN_EVERY = 200
"""Calls between two looks at the bar."""


@contextmanager
def understood() -> Iterator[None]:
    """What is impossible was a mistake in the command."""
    from scalesim.workloads.program import Impossible

    try:
        yield
    except Impossible as exc:
        fail(str(exc), USAGE)


class Bar:
    """How far a play is, on a terminal; nothing where standard error is none."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def next(self, name: str, calls: int) -> Callable[[int, float], None]:
        """What the next play is to tell how many calls have ended."""
        task = self._progress.add_task(name, total=calls)

        def shown(ended: int, _: float) -> None:
            if ended % SHOWN_EVERY == 0 or ended == calls:
                self._progress.update(task, completed=ended)

        return shown


@contextmanager
def bar() -> Iterator[Bar]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    # Where that is a file, even a bar that is taken away leaves lines.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress)

"""Towns for the tests of faults, and one table of what each fault did, at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from scalesim.workloads.checked_calls import Kind
from tests.faults.town import Row, Town, servers

ROWS = pytest.StashKey[list[Row]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> list[Row]:
    """What is put here stands in the table."""
    return request.config.stash[ROWS]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with servers(tmp_path / "town") as running:
        yield Town(running)


def pytest_terminal_summary(config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    table = Table(title="What each fault did")
    table.add_column("fault", overflow="fold")
    for column in ("calls", "right", "refused", "broken", "late", "lost", "wrong", "back after s", "leaked"):
        table.add_column(column, justify="right")
    for row in rows:
        ended = row.endings
        table.add_row(
            row.case,
            *map(str, (row.calls, ended[Kind.RIGHT], ended[Kind.REFUSED])),
            *map(str, (ended[Kind.BROKEN] + ended[Kind.UNREACHED], ended[Kind.LATE], row.lost, row.wrong)),
            "-" if row.recovered_s is None else f"{row.recovered_s:.2f}",
            str(sum(row.leaked.values())),
        )
    Console(width=130).print(table)

"""What the tests of real clients share: where their servers run, and the table of what came out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from scalesim.workloads.servers import ROOT, Installation, Servers

from .scored import Scored, show, write

_ROWS = pytest.StashKey[list[Scored]]()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with Servers(Installation(), tmp_path) as running:
        yield running


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> list[Scored]:
    """What is put in is shown when all tests have ended."""
    return request.config.stash.setdefault(_ROWS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if rows := config.stash.get(_ROWS, []):
        terminalreporter.section("recognition of real clients")
        show(rows, Console(width=200))
        write(rows, ROOT / "out" / "clients.json")

"""The process that watches over workers: which signals it ends by, and what becomes of them when it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


@contextmanager
def workers(code: int = 0) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.proxy.app.some_workers", str(code)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        patience = threading.Timer(PATIENCE_S, process.kill)
        patience.start()
        try:
            yield process
        finally:
            patience.cancel()
            process.kill()


def said(process: subprocess.Popen[str], what: str, count: int) -> set[int]:
    """By these many workers."""
    assert process.stdout is not None
    numbers: set[int] = set()
    while len(numbers) < count:
        line = process.stdout.readline()
        assert line, f"nobody says {what!r} any more"
        if line.startswith(what):
            numbers.add(int(line.split()[1]))
    return numbers


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_all_of_them_finish_what_runs(how: signal.Signals) -> None:
    with workers() as process:
        began = said(process, "began", 2)
        process.send_signal(how)
        assert said(process, "finished", 2) == began
        assert process.wait(PATIENCE_S) == 0


def test_one_that_was_killed_is_started_again_beside_the_other() -> None:
    with workers() as process:
        first, second = said(process, "began", 2)
        os.kill(first, signal.SIGKILL)
        [third] = said(process, "began", 1)
        process.send_signal(signal.SIGTERM)
        assert said(process, "finished", 2) == {second, third}
        assert process.wait(PATIENCE_S) == 0


def test_where_one_says_that_it_cannot_serve_all_end() -> None:
    with workers(3) as process:
        assert process.wait(PATIENCE_S) == 3


def test_they_finish_what_runs_when_nobody_watches_over_them_any_more() -> None:
    with workers() as process:
        began = said(process, "began", 2)
        process.kill()
        assert said(process, "finished", 2) == began

"""The real command: in this process, in one of its own, and as a proxy that serves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from typer.testing import CliRunner, Result

from scalesim.proxy.cli.commands import cli

ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("SCALESIM_") and name != "COLUMNS"
}
NOBODY = "http://127.0.0.1:9"


def invoke(*words: str, environ: Mapping[str, str] | None = None, stdin: str | None = None) -> Result:
    return CliRunner(env=dict.fromkeys(set(os.environ) - set(ENVIRONMENT))).invoke(
        cli, list(words), env=environ, input=stdin
    )


def command(*words: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scalesim.proxy", *words],
        env=ENVIRONMENT | dict(environ or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told_by(words: list[str], environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    process = command(*words, environ=environ)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@contextmanager
def serving(
    *words: str, environ: Mapping[str, str] | None = None, how: str = "serve"
) -> Iterator[tuple[str, str]]:
    """A proxy in a process of its own; yields the URLs that it printed."""
    process = command(how, "--port", "0", "--admin-port", "0", *words, environ=environ)
    assert process.stdout is not None
    try:
        urls = [process.stdout.readline().split()[1] for _ in ("data", "admin")]
        yield urls[0], urls[1]
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "ending" in out
    assert "Traceback" not in err

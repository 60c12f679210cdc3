"""Runs the proxy, for the commands that do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import urlsplit

import typer
import uvloop

from .. import collector
from ..access.key_file import BadKeyFile
from ..access.salts import BadSecret
from ..access.tls import BadCertificate
from ..app import CannotJoin, CannotListen, CannotTrace, Workers, serve
from ..configuration import Configuration
from ..errors import CannotKeep
from ..logs import log_to
from ..recording import CannotRecord
from ..settings import SettingsError
from .configured import refuse, sources_of
from .ending import PROBLEM, USAGE, fail


def run_proxy(arguments: Mapping[str, object]) -> None:
    """`arguments`: those of the command line, by the settings they are. Until the proxy is told to end."""
    try:
        configuration = Configuration.read(sources_of(arguments))
    except SettingsError as exc:
        refuse(exc)
    settings = configuration.settings
    if arguments.get("redis") is not None and urlsplit(settings.redis or "").password is not None:
        fail("--redis: everybody on the machine can read a command line: set SCALESIM_REDIS_PASSWORD", USAGE)
    lines = log_to(None, settings.log_level, settings.log_format)
    run = partial(_run, suppressed_lines=lambda: lines.suppressed)
    if settings.workers == 1:
        code = run(configuration)
    else:
        try:
            code = Workers(configuration, partial(run, shared_port=True)).run()
        except CannotListen as exc:
            fail(str(exc))
    if code:
        raise typer.Exit(code)


def _run(
    configuration: Configuration, *, suppressed_lines: Callable[[], int], shared_port: bool = False
) -> int:
    """Until it is told to end. The exit code."""
    serving = serve(
        configuration,
        ready=lambda _: collector.keep_short(),
        shared_port=shared_port,
        suppressed_lines=suppressed_lines,
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serving)
    except (
        CannotListen,
        CannotRecord,
        CannotTrace,
        CannotJoin,
        CannotKeep,
        BadCertificate,
        BadSecret,
        BadKeyFile,
    ) as exc:
        typer.echo(str(exc), err=True)
        return PROBLEM
    return 0

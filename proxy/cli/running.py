"""Runs the proxy, for the commands that do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from urllib.parse import urlsplit

import typer
import uvloop

from .. import collector
from ..access.salts import BadSecret
from ..access.tls import BadCertificate
from ..app import CannotJoin, CannotListen, Workers, serve
from ..errors import CannotKeep
from ..recording import CannotRecord
from ..settings import Settings
from .configured import settings_of
from .ending import PROBLEM, USAGE, fail


def run_proxy(arguments: Mapping[str, object]) -> None:
    """`arguments`: those of the command line, by the settings they are. Until the proxy is told to end."""
    settings = settings_of(arguments)
    if arguments.get("redis") is not None and urlsplit(settings.redis or "").password is not None:
        fail("--redis: everybody on the machine can read a command line: set SCALESIM_REDIS_PASSWORD", USAGE)
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every look at the engine
    if settings.workers == 1:
        code = _run(settings)
    else:
        try:
            code = Workers(settings, partial(_run, shared_port=True)).run()
        except CannotListen as exc:
            fail(str(exc))
    if code:
        raise typer.Exit(code)


def _run(settings: Settings, *, shared_port: bool = False) -> int:
    """Until it is told to end. The exit code."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, ready=lambda _: collector.keep_short(), shared_port=shared_port))
    except (CannotListen, CannotRecord, CannotJoin, CannotKeep, BadCertificate, BadSecret) as exc:
        typer.echo(str(exc), err=True)
        return PROBLEM
    return 0

"""Serves until it is told to end, and says what it does."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from scalesim.proxy.access.tls import Certificate, Certificates
from scalesim.proxy.engine_status import describe
from scalesim.proxy.runtime import Runtime
from scalesim.proxy.settings import Settings

from .assembly import ServerAddresses as ServerAddresses
from .assembly import assembled

log = logging.getLogger(__name__)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[ServerAddresses]:
    """Both listeners accept connections while the body runs. Port 0 takes a free one. Raises `CannotListen`,
    `CannotRecord`, `BadCertificate` and `BadSecret`."""
    async with assembled(settings, _certificates(settings), hurry=asyncio.Event()) as (addresses, _):
        yield addresses


async def serve(settings: Settings, *, ready: Callable[[ServerAddresses], None] | None = None) -> None:
    """Until SIGINT or SIGTERM; at SIGHUP renewed certificates are read. Calls `ready` once, when both listeners accept.
    Raises as `running` does."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    certificates = _certificates(settings)
    renew = partial(_renew, certificates) if len(certificates) else None
    with _signals(lambda: (hurry if stop.is_set() else stop).set(), renew):
        async with assembled(settings, certificates, hurry=hurry) as (addresses, runtime):
            _say("data", f"{addresses.data}  clients use {addresses.data}/v1")
            _say("admin", f"{addresses.admin}  a dashboard; its API is described at {addresses.admin}/docs")
            _say("mode", f"{settings.mode} for new simulations, policy {settings.policy}")
            if settings.record is not None:
                what = "IN FULL" if settings.record_full_text else "as hashes"
                _say("trace", f"{settings.record}  calls are recorded, prompts and names {what}")
            if ready is not None:
                ready(addresses)
            announcing = asyncio.create_task(_announce_engines(runtime))
            try:
                await stop.wait()
            finally:
                announcing.cancel()
            _say(
                "ending",
                f"running calls have {settings.drain_s:g} s to finish; a second signal ends them now",
            )


def _certificates(settings: Settings) -> Certificates:
    files = {
        "tls": (settings.tls_cert, settings.tls_key),
        "admin_tls": (settings.admin_tls_cert, settings.admin_tls_key),
    }
    data, admin = (
        None if cert is None or key is None else Certificate(setting, Path(cert), Path(key))
        for setting, (cert, key) in files.items()
    )
    return Certificates(data, admin)


def _renew(certificates: Certificates) -> None:
    problems = certificates.renew()
    for problem in problems:
        log.error("the certificate stays as it was: %s", problem)
    if not problems:
        log.info("certificates were read again")


async def _announce_engines(runtime: Runtime) -> None:
    await runtime.looked()
    for one in runtime.engines():
        found = (
            describe(one.capabilities) if one.up and one.capabilities else f"not found yet ({one.problem})"
        )
        _say("engine", f"{one.base_url}  {found}")


def _say(what: str, text: str) -> None:
    print(f"{what:<7} {text}", flush=True)


@contextmanager
def _signals(told: Callable[[], None], renew: Callable[[], None] | None) -> Iterator[None]:
    """Without `renew` a closed terminal ends the process, as ever."""
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGINT: told, signal.SIGTERM: told}
    if renew is not None:
        handlers[signal.SIGHUP] = renew
    for one, handler in handlers.items():
        loop.add_signal_handler(one, handler)
    try:
        yield
    finally:
        for one in handlers:
            loop.remove_signal_handler(one)

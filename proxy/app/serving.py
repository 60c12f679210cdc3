"""Serves until it is told to end, and says what it does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from scalesim.proxy.access.tls import Certificate, Certificates
from scalesim.proxy.configuration import Configuration
from scalesim.proxy.engine_status import describe
from scalesim.proxy.runtime import Runtime
from scalesim.proxy.settings import Settings

from .assembly import ServerAddresses as ServerAddresses
from .assembly import assembled
from .reloading import Reloading


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[ServerAddresses]:
    """Both listeners accept connections while the body runs. Port 0 takes a free one. Raises `CannotListen`,
    `CannotRecord`, `BadCertificate`, `BadSecret`, `CannotJoin` and `CannotKeep`."""
    configuration = Configuration(settings)
    async with assembled(configuration, _certificates(settings), hurry=asyncio.Event()) as (addresses, *_):
        yield addresses


async def serve(
    configured: Settings | Configuration,
    *,
    ready: Callable[[ServerAddresses], None] | None = None,
    shared_port: bool = False,
    suppressed_lines: Callable[[], int] = lambda: 0,
) -> None:
    """Until SIGINT or SIGTERM; at SIGHUP the config file, keys and renewed certificates are read again. Calls `ready` once, when
    both listeners accept. Raises as `running` does."""
    configuration = Configuration(configured) if isinstance(configured, Settings) else configured
    settings = configuration.settings
    stop, hurry = asyncio.Event(), asyncio.Event()
    hung_up = asyncio.Event() if configuration.can_be_read_again else None
    with _signals(lambda: (hurry if stop.is_set() else stop).set(), hung_up):
        async with assembled(
            configuration,
            _certificates(settings),
            hurry=hurry,
            shared_port=shared_port,
            suppressed_lines=suppressed_lines,
        ) as (addresses, runtime, reloading):
            _say("data", f"{addresses.data}  clients use {addresses.data}/v1")
            _say("admin", f"{addresses.admin}  its API is described at {addresses.admin}/docs")
            _say("mode", f"{settings.mode} for new simulations, policy {settings.policy}")
            if settings.redis is not None:
                _say("group", f"{settings.group}  one of the proxies that share this Redis leads")
            if settings.record is not None:
                what = "IN FULL" if settings.record_full_text else "as hashes"
                _say("trace", f"{settings.record}  calls are recorded, prompts and names {what}")
            if ready is not None:
                ready(addresses)
            beside = [asyncio.create_task(_announce_engines(runtime))]
            if hung_up is not None:
                beside.append(asyncio.create_task(_reloaded(reloading, hung_up)))
            try:
                await stop.wait()
            finally:
                for task in beside:
                    task.cancel()
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


async def _reloaded(reloading: Reloading, hung_up: asyncio.Event) -> None:
    """Until cancelled."""
    while True:
        await hung_up.wait()
        hung_up.clear()
        await reloading.at_signal()


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
def _signals(told: Callable[[], None], hung_up: asyncio.Event | None) -> Iterator[None]:
    """Without `hung_up` a closed terminal ends the process, as ever."""
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGINT: told, signal.SIGTERM: told}
    if hung_up is not None:
        handlers[signal.SIGHUP] = hung_up.set
    for one, handler in handlers.items():
        loop.add_signal_handler(one, handler)
    try:
        yield
    finally:
        for one in handlers:
            loop.remove_signal_handler(one)

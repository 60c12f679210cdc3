"""What makes this process one of several: its part of the group's state, and the engines as the group knows them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from scalesim.engine_adapters.front_kinds import KINDS
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.model import EngineId, Owner
from scalesim.proxy.core.plain import Garbled
from scalesim.proxy.engines.fleet import Fleet
from scalesim.proxy.engines.registry import Address, EngineRejected, FrontOf, State
from scalesim.proxy.errors import ScaleSimError
from scalesim.proxy.settings import Settings, is_wildcard

if TYPE_CHECKING:
    # Who runs alone does without Redis, and without what speaks to it.
    from scalesim.proxy.state.file import Keeper
    from scalesim.proxy.state.store import Store

log = logging.getLogger(__name__)


class CannotJoin(ScaleSimError):
    """What is needed to reach Redis cannot be used; the text names it, and never shows a secret."""


class FleetOfGroup:
    """The engines of this process, for the group: what others need to know of them, and what it learns from them. `fleet` is a
    function because the fleet asks the group, too."""

    def __init__(self, fleet: Callable[[], Fleet], clock: Callable[[], float]) -> None:
        self._fleet = fleet
        self._clock = clock
        self._shared: set[EngineId] = set()
        """Those that the leader knew when it was last heard."""

    def key_on(self, owner: Owner, engine: EngineId) -> str:
        return self._fleet().key_on(owner, engine)

    def keys_of(self, owner: Owner) -> Iterable[str]:
        return self._fleet().keys_of(owner)

    def moved(self, keys: Iterable[str]) -> None:
        self._fleet().placer.look_again(keys)

    def known(self) -> Mapping[EngineId, Mapping[str, object]]:
        """What changes with every call is left out: all members would read it again and again."""
        fleet = self._fleet()
        found: dict[EngineId, Mapping[str, object]] = {}
        for entry in fleet.registry:
            address = entry.address
            one: dict[str, object] = {
                "url": address.base_url,
                "weight": address.weight,
                "drains": entry.state is State.DRAINING,
            }
            if entry.configured:
                one["configured"] = True
            if address.front is not None:
                one["front"] = asdict(address.front)
            if entry.state is State.UP:
                one["part"] = fleet.weight_of(address.name)
                if not fleet.models.are_plain:
                    one["models"] = sorted(fleet.models.bases_of(address.name))
            found[address.name] = one
        return found

    def told(self, engines: Mapping[EngineId, Mapping[str, object]]) -> None:
        """Engines that operators registered or removed come and go here, too. Those that the settings name each process knows by its
        own: else one that was taken out of them would come back from whoever was started before."""
        fleet, now = self._fleet(), self._clock()
        for name, one in engines.items():
            url, weight = one.get("url"), one.get("weight")
            entry = fleet.registry.get(name)
            drains = entry is not None and entry.state is State.DRAINING
            if one.get("drains"):
                if entry is not None and not drains:
                    fleet.remove(name, now)
            elif (drains or (entry is None and not one.get("configured"))) and isinstance(url, str):
                size = float(weight) if isinstance(weight, int | float) else None
                try:
                    fleet.add(Address(name, url, size, _front_of(one.get("front"))), now)
                except (EngineRejected, Garbled) as exc:
                    if name not in self._shared:
                        log.warning("the group has an engine that cannot be used here: %s", exc)
        for name in self._shared - engines.keys():
            if fleet.registry.get(name) is not None:
                fleet.remove(name, now)
        self._shared = set(engines)


def _front_of(plain: object) -> FrontOf | None:
    """As another process of the group told it. Raises `Garbled`."""
    match plain:
        case None:
            return None
        case {"kind": str(kind), "engines": [*urls], "hints": [*hints]} if kind in KINDS:
            if all(isinstance(url, str) for url in urls) and all(
                isinstance(hint, list) and len(hint) == 2 for hint in hints
            ):
                return FrontOf(kind, tuple(urls), tuple((name, value) for name, value in hints))
    raise Garbled(f"no front end of a kind that is known here: {plain!r}")


def password_in(settings: Settings) -> str | None:
    """Raises `CannotJoin`."""
    if settings.redis_password_file is None:
        return settings.redis_password
    path = Path(settings.redis_password_file)
    try:
        password = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise CannotJoin(f"redis_password_file: {path}: it cannot be read: {exc}") from exc
    if not password:
        raise CannotJoin(f"redis_password_file: {path}: it is empty")
    return password


def store_of(settings: Settings) -> Store:
    """To be closed. Raises `CannotJoin`."""
    from scalesim.proxy.state.store import Store

    assert settings.redis is not None
    name = f"{socket.gethostname()}:{os.getpid()}"
    try:
        return Store(settings.redis, settings.group, name, password_in(settings))
    except (ValueError, OSError) as exc:
        raise CannotJoin(f"redis: the URL cannot be used (it is not shown): {type(exc).__name__}") from exc


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Store | None]:
    """None without Redis."""
    if settings.redis is None:
        yield None
        return
    store = store_of(settings)
    try:
        yield store
    finally:
        await store.close()


def keeper_of(
    settings: Settings, controller: Controller, fleet: Callable[[], Fleet], clock: Callable[[], float]
) -> Keeper | None:
    if settings.state_file is None:
        return None
    from scalesim.proxy.state.file import Keeper, Registered, StateFile

    def registered() -> list[Registered]:
        stay = (one for one in fleet().registry if not one.configured and one.state is not State.DRAINING)
        return [Registered(one.address.name, one.address.base_url, one.address.weight) for one in stay]

    file = StateFile(Path(settings.state_file))
    return Keeper(file, lambda: controller.keeping, clock, engines=registered, every_s=settings.state_every_s)


def register_again(keeper: Keeper, fleet: Fleet, at: float) -> None:
    """Engines that operators had registered. Those that the settings name stand there already."""
    for one in keeper.engines:
        try:
            fleet.add(Address(one.name, one.url, one.weight), at)
        except EngineRejected as exc:
            log.warning("an engine that was registered before cannot be used: %s", exc)


def admin_url(settings: Settings, listener: socket.socket) -> str:
    """By which the other proxies reach this one."""
    host = settings.group_host or settings.admin_host
    if is_wildcard(host):
        host = socket.gethostname()
    scheme = "http" if settings.admin_tls_cert is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def trusted(settings: Settings) -> ssl.SSLContext:
    """For the admin listeners of the other proxies: each may be its own issuer, and all have the same."""
    context = ssl.create_default_context()
    if settings.admin_tls_cert is not None:
        context.load_verify_locations(settings.admin_tls_cert)
    return context


async def ended(task: asyncio.Task[None]) -> None:
    """Cancels it and waits for its end."""
    task.cancel()
    await asyncio.wait({task})

"""Reads the config file, the keys' file and certificates again while the proxy runs, and gives every part its new values.

No call is dropped for it: what runs goes on as it began, unless a docstring of what takes the values says otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scalesim.proxy.access.key_file import BadKeyFile, StoredKey
from scalesim.proxy.access.keyring import Keyring
from scalesim.proxy.access.tls import Certificates
from scalesim.proxy.configuration import Change, Configuration
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.data_plane.admission import Admissions
from scalesim.proxy.data_plane.door import Door
from scalesim.proxy.data_plane.entrance import Entrance
from scalesim.proxy.data_plane.joining import Joins
from scalesim.proxy.data_plane.relay import Relay
from scalesim.proxy.data_plane.retrying import Retrying
from scalesim.proxy.data_plane.upstream import Upstream
from scalesim.proxy.engines.fleet import Fleet
from scalesim.proxy.engines.registry import EngineRejected
from scalesim.proxy.recognition.ladder import Ladder
from scalesim.proxy.recognition.recipes.shelf import Shelf
from scalesim.proxy.recording.traces import Traces
from scalesim.proxy.settings import GROUPS, Settings, SettingsError

from . import making
from .listeners import Listener

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """Whatever takes new values."""

    controller: Controller
    fleet: Fleet
    admissions: Admissions
    retrying: Retrying
    joins: Joins
    upstream: Upstream
    relay: Relay
    entrance: Entrance
    door: Door
    listeners: tuple[Listener, ...]
    ladder: Ladder
    shelf: Shelf
    keyring: Keyring
    traces: Traces
    clock: Callable[[], float]


class Reloading:
    """From the moment it is made, it is what gives the parts their values."""

    def __init__(self, configuration: Configuration, parts: Parts, certificates: Certificates) -> None:
        self._configuration = configuration
        self._parts = parts
        self._certificates = certificates
        self._stored: tuple[StoredKey, ...] | None = None
        """While it is being read again: the keys' file as it is now."""
        self._takers: Mapping[str, Callable[[Settings, Settings], None]] = {
            "engines": self._engines,
            "aliases": lambda _, now: parts.fleet.models.call(dict(now.aliases)),
            "leaving": self._leaving,
            "queues": lambda _, now: parts.admissions.configure(**making.queue_limits(now)),
            "retries": lambda _, now: parts.retrying.configure(making.retry_rules(now)),
            "breakers": lambda _, now: parts.fleet.breakers.configure(making.breaker_rules(now)),
            "joins": lambda _, now: parts.joins.configure(making.join_rules(now)),
            "bodies": self._bodies,
            "connections to engines": lambda _, now: parts.upstream.configure(**making.upstream_limits(now)),
            "connections of clients": lambda _, now: parts.door.connections.limit(
                most=now.client_connections, most_of_one=now.address_connections
            ),
            "rates": lambda _, now: parts.entrance.limit(**making.rates(now)),
            "keys": self._keys,
            "core": self._core,
            "recognition": lambda _, now: parts.ladder.configure(
                rungs=now.recognise, threshold=now.threshold
            ),
            "recipes": self._recipes,
            "traces": self._traces,
            "log": lambda _, now: logging.getLogger().setLevel(now.log_level.upper()),
        }
        assert self._takers.keys() == GROUPS.keys()
        configuration.apply = self._apply
        configuration.objections = self._objections

    async def __call__(self) -> Change:
        """Raises `NoFile`, `SettingsError` and `BadKeyFile`: then nothing was changed. Certificates are read in any case; what is wrong
        with them is logged."""
        self._renew()
        async with self._parts.keyring.held() as stored:
            self._stored = stored
            try:
                if self._configuration.file is None and self._parts.keyring.file is not None:
                    self._keys(self._configuration.settings, self._configuration.settings)
                    log.info("the keys' file was read again")
                    return Change()
                change = await self._configuration.reload()
            finally:
                self._stored = None
        log.info(
            "the configuration was read again: %s changed, %s need a restart",
            ", ".join(change.applied) or "nothing",
            ", ".join(change.restart) or "none",
        )
        return change

    async def at_signal(self) -> None:
        """As above, for somebody who reads the log."""
        if self._configuration.file is None and self._parts.keyring.file is None:
            self._renew()
            return
        try:
            await self()
        except SettingsError as exc:
            for problem in exc.problems:
                log.error("the configuration stays as it was: %s", problem)
        except BadKeyFile as exc:
            log.error("the configuration stays as it was: %s", exc)

    def _renew(self) -> None:
        problems = self._certificates.renew()
        for problem in problems:
            log.error("the certificate stays as it was: %s", problem)
        if len(self._certificates) and not problems:
            log.info("certificates were read again")

    def _apply(self, before: Settings, now: Settings, changed: frozenset[str]) -> None:
        for group, names in GROUPS.items():
            if changed & names or group == "keys":  # whose file may have changed alone
                self._takers[group](before, now)

    def _objections(self, now: Settings) -> list[str]:
        problems = []
        try:
            self._parts.keyring.check(now, self._stored)
        except BadKeyFile as exc:
            problems.append(str(exc))
        known = {entry.address.name: entry.address for entry in self._parts.fleet.registry}
        here = set(self._configuration.settings.addresses)
        for address in now.addresses:
            other = known.get(address.name)
            if address not in here and other is not None and other.base_url != address.base_url:
                problems.append(
                    f"engines: {address.name!r} is at {other.base_url}: give the one at {address.base_url} a name of its own, or "
                    "start the proxy anew"
                )
        return problems

    def _engines(self, before: Settings, now: Settings) -> None:
        """Those that are gone from the file leave with their last call; those that operators registered stay."""
        fleet, at = self._parts.fleet, self._parts.clock()
        names = {address.name for address in now.addresses}
        for address in before.addresses:
            if address.name not in names:
                fleet.remove(address.name, at)
        for address in now.addresses:
            try:
                fleet.add(address, at, configured=True)
            except EngineRejected as exc:  # an operator has registered that one meanwhile
                log.error("the engine %s of the config file was not added: %s", address.name, exc)

    def _leaving(self, _: Settings, now: Settings) -> None:
        self._parts.fleet.registry.configure(drain_s=now.engine_drain_s)
        for listener in self._parts.listeners:
            listener.drain_s = now.drain_s

    def _bodies(self, _: Settings, now: Settings) -> None:
        self._parts.relay.max_body_bytes = int(now.max_body_mb * 1_000_000)

    def _keys(self, _: Settings, now: Settings) -> None:
        self._parts.keyring.configure(now, self._stored)

    def _core(self, _: Settings, now: Settings) -> None:
        # What cannot change while it runs is what it was.
        self._parts.controller.configure(making.controller_config(now))

    def _recipes(self, _: Settings, now: Settings) -> None:
        self._parts.shelf.folder = None if now.recipes_folder is None else Path(now.recipes_folder)

    def _traces(self, _: Settings, now: Settings) -> None:
        self._parts.traces.rules = making.trace_rules(now)

"""All keys in force: those of the settings, and those of the keys' file, which can be drawn, rotated and revoked here.

Nobody is let in by what happens here and was not meant to: the last key that keeps a door closed cannot be revoked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from scalesim.proxy.core.model import SimulationId

from ..errors import ScaleSimError
from . import key_file
from .key_file import MAX_KEYS, BadKeyFile, Kind, StoredKey
from .keys import Key, Keys, digest_of, drawn


class KeyRefused(ScaleSimError):
    """Nothing was changed."""


class UnknownKey(KeyRefused):
    """There is none of that kind and name."""


class KeyOfSettings(KeyRefused):
    """It stands in the settings, and is to be changed there."""

    def __init__(self, kind: Kind, name: str) -> None:
        super().__init__(f"the {kind} key {name!r} stands in the settings")
        self.kind = kind


class NoKeyFile(KeyRefused):
    """There is no file in which keys could be kept: set `keys_file`."""


class KeyExists(KeyRefused):
    """There is one of that kind and name: take another name, or rotate it."""


class TooManyKeys(KeyRefused):
    """The file holds as many as it may: revoke one."""


class LastKey(KeyRefused):
    """Without it everybody would be let in: draw another one first."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    kind: Kind
    name: str
    simulation: SimulationId | None
    """Whoever sends it is of that one."""
    is_confined: bool
    """It may say no other."""
    created_at: str
    """Empty: not known."""
    is_ours: bool
    """In the keys' file; else in the settings."""


class Configured(Protocol):
    """What the settings say of keys."""

    @property
    def client_keys(self) -> Sequence[Key]: ...

    @property
    def simulation_keys(self) -> Sequence[Key]: ...

    @property
    def admin_keys(self) -> Sequence[str]: ...

    @property
    def keys_file(self) -> str | None: ...


class _All(NamedTuple):
    clients: Sequence[Key]
    simulations: Sequence[Key]
    admins: Sequence[Key]
    stored: tuple[StoredKey, ...]


class Keyring:
    """`clients` and `admins` find keys by what is sent; both are replaced as a whole, and `changed` is told."""

    def __init__(
        self, configured: Configured, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Raises `BadKeyFile`."""
        self.file = None if configured.keys_file is None else Path(configured.keys_file)
        self.changed: Callable[[], None] = lambda: None
        self._now = now
        self._turn = asyncio.Lock()
        self._clients: Sequence[Key] = ()
        self._simulations: Sequence[Key] = ()
        self._admins: Sequence[Key] = ()
        self._stored = self._read()
        self.clients = self.admins = Keys(())
        self._set(self._together(configured, None))

    def sizes(self) -> dict[str, int]:
        return {"stored_keys": len(self._stored)}

    @property
    def is_closed(self) -> bool:
        """Only clients with a key are let in."""
        return bool(self._clients) or any(one.kind is Kind.CLIENT for one in self._stored)

    def listed(self) -> list[KnownKey]:
        """Never what opens anything. In a stable order: those of the settings first."""
        return [
            *(
                KnownKey(kind, one.name, one.simulation, one.confined, "", False)
                for kind, keys in (
                    (Kind.ADMIN, self._admins),
                    (Kind.CLIENT, self._clients),
                    (Kind.SIMULATION, self._simulations),
                )
                for one in keys
            ),
            *(
                KnownKey(one.kind, one.name, one.simulation, one.simulation is not None, one.created_at, True)
                for one in self._stored
            ),
        ]

    def find(self, kind: Kind, name: str) -> KnownKey:
        """Raises `UnknownKey`."""
        found = next((one for one in self.listed() if one.kind is kind and one.name == name), None)
        if found is None:
            raise UnknownKey(f"there is no {kind} key {name!r}")
        return found

    # What comes from outside

    @asynccontextmanager
    async def held(self) -> AsyncIterator[tuple[StoredKey, ...]]:
        """The keys' file as it is now; nothing is drawn or revoked meanwhile. Raises `BadKeyFile`."""
        async with self._turn:
            yield await asyncio.to_thread(self._read)

    def check(self, configured: Configured, stored: tuple[StoredKey, ...] | None) -> None:
        """Raises `BadKeyFile` if a key would be in two places. `stored`: as `held` had it; None: as the file was last read."""
        self._together(configured, stored)

    def configure(self, configured: Configured, stored: tuple[StoredKey, ...] | None) -> None:
        """From the next request on. `stored` as for `check`. Raises `BadKeyFile`, and nothing was changed."""
        self._set(self._together(configured, stored))
        self.changed()

    def _read(self) -> tuple[StoredKey, ...]:
        return () if self.file is None else key_file.read(self.file)

    def _together(self, configured: Configured, stored: tuple[StoredKey, ...] | None) -> _All:
        """Raises `BadKeyFile` if a key is in two places."""
        stored = self._stored if stored is None else stored
        clients, simulations = configured.client_keys, configured.simulation_keys
        admins = [
            Key(f"admin-{number}", digest_of(key)) for number, key in enumerate(configured.admin_keys, 1)
        ]
        digests = [
            *(one.digest for one in (*clients, *simulations, *admins)),
            *(one.digest for one in stored),
        ]
        if len(set(digests)) < len(digests):
            raise BadKeyFile(
                f"keys_file: {self.file}: a key stands there twice, or in the settings as well; each must be another"
            )
        return _All(clients, simulations, admins, stored)

    # What operators do

    async def create(self, kind: Kind, name: str, simulation: SimulationId | None = None) -> str:
        """The key itself, which is kept nowhere. Raises `KeyRefused` and `BadKeyFile`."""
        async with self._turn:
            if any(one.kind is kind and one.name == name for one in self.listed()):
                raise KeyExists(f"there is a {kind} key {name!r} already: take another name, or rotate it")
            if len(self._stored) >= MAX_KEYS:
                raise TooManyKeys(
                    f"the file holds {MAX_KEYS} keys, which is all it may: revoke one that is of no use"
                )
            key = drawn()
            made = StoredKey(kind, name, digest_of(key), simulation, self._moment())
            await self._store((*self._stored, made))
            return key

    async def rotate(self, kind: Kind, name: str) -> str:
        """A new key in its place; the old one opens nothing any more. Raises as `create` does."""
        async with self._turn:
            old = self._own(kind, name)
            key = drawn()
            made = replace(old, digest=digest_of(key), created_at=self._moment())
            await self._store(tuple(made if one is old else one for one in self._stored))
            return key

    async def revoke(self, kind: Kind, name: str, *, lets_all_in: bool = False) -> None:
        """It opens nothing any more. `lets_all_in`: also the last one of clients, and whoever comes is served from then on. Raises as
        `create` does."""
        async with self._turn:
            old = self._own(kind, name)
            others = tuple(one for one in self._stored if one is not old)
            of_settings = {Kind.ADMIN: self._admins, Kind.CLIENT: self._clients}[kind]
            is_last = not of_settings and not any(one.kind is kind for one in others)
            if is_last and not (lets_all_in and kind is Kind.CLIENT):
                raise LastKey(
                    f"{name!r} is the last {kind} key, and without one everybody would be let in: draw another one first"
                )
            await self._store(others)

    def _own(self, kind: Kind, name: str) -> StoredKey:
        """Raises `UnknownKey` and `KeyOfSettings`."""
        own = next((one for one in self._stored if one.kind is kind and one.name == name), None)
        if own is None:
            self.find(kind, name)
            raise KeyOfSettings(kind, name)
        return own

    def _moment(self) -> str:
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def _store(self, stored: tuple[StoredKey, ...]) -> None:
        """On the disk first: what was answered must hold after a crash."""
        if self.file is None:
            raise NoKeyFile(
                "there is no file in which keys could be kept: set keys_file, and start the proxy anew"
            )
        writing = asyncio.create_task(self._kept(self.file, stored))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing  # what is being written must be in force before anybody else writes
            raise

    async def _kept(self, file: Path, stored: tuple[StoredKey, ...]) -> None:
        await asyncio.to_thread(key_file.write, file, stored)
        self._set(_All(self._clients, self._simulations, self._admins, stored))
        self.changed()

    def _set(self, keys: _All) -> None:
        self._clients, self._simulations, self._admins, self._stored = keys
        self.clients = Keys((*_keys(self._stored, Kind.CLIENT), *self._simulations, *self._clients))
        self.admins = Keys((*_keys(self._stored, Kind.ADMIN), *self._admins))


def _keys(stored: Iterable[StoredKey], kind: Kind) -> Iterable[Key]:
    return (
        Key(one.name, one.digest, one.simulation, confined=one.simulation is not None)
        for one in stored
        if one.kind is kind
    )

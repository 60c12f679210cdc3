"""Which engines there are, from the configuration or registered while the proxy runs, and how each is.

Pure: time is told, and what changed is answered as events. An engine is `starting` until it first answers, then `up`; `lost`
when it is silent for long enough, and up again when it answers; `draining` when it is to leave and calls still run on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import urlsplit

from scalesim.proxy.core.model import EngineId

from ..errors import ScaleSimError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_MOST_URL_CHARS = 2_000
MOST_ENGINES = 256


class EngineRejected(ScaleSimError):
    """It cannot be registered as it is; the message says what to change."""


class NameTaken(EngineRejected):
    """Another engine has the name or the address: remove that first."""


class RegistryFull(EngineRejected):
    """There are as many engines as there may be: remove one first."""


class State(StrEnum):
    STARTING = "starting"
    """It has not answered yet."""
    UP = "up"
    DRAINING = "draining"
    """No new calls; it leaves with the last that runs, or when its time is over."""
    LOST = "lost"
    """It has not answered of late."""


@dataclass(frozen=True, slots=True)
class FrontOf:
    """That an address is a distributed front end, with engines of its own."""

    kind: str
    engines: tuple[str, ...] = ()
    """Base URLs of those that are commanded."""
    hints: tuple[tuple[str, int | float | bool | str], ...] = ()
    """What each call says besides, by name; where the front end takes any."""


@dataclass(frozen=True, slots=True)
class Address:
    name: EngineId
    base_url: str
    weight: float | None = None
    """Its size against that of the others; None: by the size of its cache."""
    front: FrontOf | None = None

    @property
    def commanded(self) -> tuple[str, ...]:
        """Base URLs of the engines that control calls go to, or would."""
        return (self.base_url,) if self.front is None else (self.base_url, *self.front.engines)


@dataclass(frozen=True, slots=True)
class Added:
    address: Address


@dataclass(frozen=True, slots=True)
class CameUp:
    engine: EngineId
    boot_id: str | None
    restarted: bool
    """It is another process than the one that answered before: it has forgotten everything."""


@dataclass(frozen=True, slots=True)
class WentSilent:
    engine: EngineId


@dataclass(frozen=True, slots=True)
class Drains:
    engine: EngineId


@dataclass(frozen=True, slots=True)
class Removed:
    engine: EngineId


Change = Added | CameUp | WentSilent | Drains | Removed


@dataclass(slots=True, eq=False)
class Entry:
    address: Address
    configured: bool
    """By the configuration: it stays until an operator removes it, and comes back with the next start."""
    state: State = State.STARTING
    since: float = 0.0
    """When it came into that state."""
    boot_id: str | None = None
    """The last one that it answered; None: none, or it has none."""
    answered: bool = False
    """Ever."""
    silences: int = 0
    """Questions in a row without an answer."""


class Registry:
    """`patience`: an engine that was up is lost when so many questions in a row were not answered. A call that finds nobody at
    its address is such a question. What drains leaves after `drain_s`, whatever still runs."""

    def __init__(self, *, limit: int = MOST_ENGINES, patience: int = 2, drain_s: float = 600.0) -> None:
        self._limit = limit
        self._patience = patience
        self._drain_s = drain_s
        self._entries: dict[EngineId, Entry] = {}
        self._usable: frozenset[EngineId] = frozenset()

    def configure(self, *, drain_s: float) -> None:
        """Of those that leave already, too."""
        self._drain_s = drain_s

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def get(self, engine: EngineId) -> Entry | None:
        return self._entries.get(engine)

    @property
    def usable(self) -> frozenset[EngineId]:
        """Those that are up."""
        return self._usable

    def sizes(self) -> dict[str, int]:
        return {"registered_engines": len(self._entries)}

    def register(self, address: Address, at: float, *, configured: bool = False) -> list[Change]:
        """Raises `EngineRejected`. The same engine again changes nothing, or ends its draining: who registers may do so
        as often as it likes."""
        address = _checked(address)
        entry = self._entries.get(address.name)
        if entry is not None and entry.address.base_url != address.base_url:
            raise NameTaken(
                f"an engine {address.name!r} is registered at {entry.address.base_url}: remove it first, or take another name"
            )
        if entry is None:
            return self._add(address, at, configured)
        if entry.address.front != address.front:
            raise NameTaken(f"{address.name!r} is registered with other engines behind it: remove it first")
        entry.configured = entry.configured or configured
        entry.address = address
        if entry.state is State.DRAINING:
            self._enter(entry, State.STARTING, at)
            entry.silences = 0
        return []

    def remove(self, engine: EngineId, at: float, *, running: int = 0) -> list[Change]:
        """Now, where none of its calls is `running`. Unknown engines are no error: it is gone, as was asked."""
        entry = self._entries.get(engine)
        if entry is None:
            return []
        if running <= 0 or entry.state is State.LOST:
            return [self._drop(engine)]
        if entry.state is State.DRAINING:
            return []
        self._enter(entry, State.DRAINING, at)
        return [Drains(engine)]

    def drained(self, engine: EngineId) -> list[Change]:
        """No call runs there any more."""
        entry = self._entries.get(engine)
        return [self._drop(engine)] if entry is not None and entry.state is State.DRAINING else []

    def answered(self, engine: EngineId, boot_id: str | None, at: float) -> list[Change]:
        """To a question of how it is."""
        entry = self._entries.get(engine)
        if entry is None:
            return []
        entry.silences = 0
        restarted = entry.answered and boot_id != entry.boot_id
        entry.boot_id, entry.answered = boot_id, True
        if entry.state is State.DRAINING or (entry.state is State.UP and not restarted):
            return []
        self._enter(entry, State.UP, at)
        return [CameUp(engine, boot_id, restarted)]

    def silent(self, engine: EngineId, at: float) -> list[Change]:
        """A question, or a connection for a call, was not answered."""
        entry = self._entries.get(engine)
        if entry is None:
            return []
        entry.silences += 1
        if entry.state is not State.UP or entry.silences < self._patience:
            return []
        self._enter(entry, State.LOST, at)
        return [WentSilent(engine)]

    def tidy(self, at: float) -> list[Change]:
        """What time alone brings about."""
        over = [
            name
            for name, entry in self._entries.items()
            if entry.state is State.DRAINING and at - entry.since >= self._drain_s
        ]
        return [self._drop(name) for name in over]

    def _add(self, address: Address, at: float, configured: bool) -> list[Change]:
        for other in self._entries.values():
            for url in address.commanded:
                if url in other.address.commanded:
                    raise NameTaken(
                        f"{url} is registered as {other.address.name!r}: its calls would be counted twice"
                    )
        if len(self._entries) >= self._limit:
            raise RegistryFull(
                f"there are {self._limit} engines, which is all there may be: remove one first"
            )
        self._entries[address.name] = Entry(address, configured, since=at)
        return [Added(address)]

    def _enter(self, entry: Entry, state: State, at: float) -> None:
        entry.state, entry.since = state, at
        self._usable = frozenset(name for name, one in self._entries.items() if one.state is State.UP)

    def _drop(self, engine: EngineId) -> Change:
        del self._entries[engine]
        self._usable -= {engine}
        return Removed(engine)


def _checked(address: Address) -> Address:
    """With its URL in the one form that is compared."""
    if not _NAME.fullmatch(address.name):
        raise EngineRejected(
            f"{address.name[:80]!r} is no name for an engine: letters, digits, '.', '_' and '-', 64 at most,"
            " and a letter or digit first"
        )
    if address.weight is not None and not 0 < address.weight < float("inf"):
        raise EngineRejected(f"the weight of {address.name!r} is {address.weight}, and has to be above 0")
    front = address.front
    if front is not None:
        front = replace(front, engines=tuple(map(_one_form, front.engines)))
    checked = Address(address.name, _one_form(address.base_url), address.weight, front)
    if len(set(checked.commanded)) < len(checked.commanded):
        raise EngineRejected(f"{address.name!r} names an address twice")
    return checked


def _one_form(url: str) -> str:
    wrong = f"{url[:200]!r} is no address of an engine: http://HOST[:PORT][/PATH] or https://..., and nothing after it"
    if (
        len(url) > _MOST_URL_CHARS
        or not url.isascii()
        or not url.isprintable()
        or any(c in url for c in " \\?#@")
    ):
        raise EngineRejected(wrong)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise EngineRejected(wrong) from exc
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise EngineRejected(wrong)
    if parts.path.rstrip("/").endswith("/v1"):
        raise EngineRejected(f"{url[:200]!r} ends with /v1: give the engine's own address without it")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = {"http": 80, "https": 443}[parts.scheme]
    where = host if port in (None, usual) else f"{host}:{port}"
    return f"{parts.scheme}://{where}{parts.path.rstrip('/')}"

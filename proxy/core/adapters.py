"""The adapters that operators registered, and what each is called towards engines.

An engine-side name never means two things: a new path for a known name is a new version with a name of its own, so what
an engine computed or keeps under the old one is never taken for the new one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from .model import AdapterName, SimulationId

LEAVING_LIMIT = 4_096
"""Superseded and forgotten versions that engines may still hold. Beyond it the oldest stays there until they restart."""

CLASH_LIMIT = 16
"""Names that one version gets at most because engines had its others from elsewhere."""


def registered_name(key: AdapterName) -> str:
    """Under which what engines call so was registered: they know versions after the first as NAME@VERSION."""
    return key.partition("@")[0]


@dataclass(slots=True, eq=False)
class Adapter:
    """Agents hold on to it, so a new version reaches all of them at once, and so does its end."""

    name: str
    path: str
    key: AdapterName
    """Of its current version, towards engines."""
    number: int = 0
    """One more than that of the adapter that was registered before it."""
    version: int = 1
    forgotten: bool = False
    clashes: int = 0
    """Names that an engine had from another path already, since it was registered last."""
    assigned: dict[SimulationId, int] = field(default_factory=dict)
    """Agents to which it is assigned, by simulation; none is zero."""

    @property
    def agents(self) -> int:
        return sum(self.assigned.values())

    def assign(self, simulation: SimulationId) -> None:
        self.assigned[simulation] = self.assigned.get(simulation, 0) + 1

    def release(self, simulation: SimulationId) -> None:
        left = self.assigned[simulation] - 1
        if left:
            self.assigned[simulation] = left
        else:
            del self.assigned[simulation]


class Version(NamedTuple):
    """The last one of a name."""

    name: str
    path: str
    key: AdapterName
    version: int


class Kept(NamedTuple):
    """What another process needs to call the same adapters by the same names."""

    current: list[Version]
    forgotten: list[Version]
    leaving: list[AdapterName]


class Adapters:
    """Of the same name and path is the same version, also when it was forgotten in between."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._numbered = 0
        self.current: dict[str, Adapter] = {}
        self.by_key: dict[AdapterName, Adapter] = {}
        """The current ones by what engines call them."""
        self.leaving: OrderedDict[AdapterName, None] = OrderedDict()
        """To be dropped from engines once no call runs on them, the oldest first."""
        self._forgotten: OrderedDict[str, Adapter] = OrderedDict()
        """The last versions of names that nobody shall use, so that theirs are not given away again."""

    def register(self, name: str, path: str) -> Adapter | None:
        """None if there is no room."""
        known = self.current.get(name)
        if known is not None:
            if known.path != path:
                self._leave(known.key)
                self._renumber(known, path)
            known.clashes = 0
            return known
        if len(self.current) >= self.limit:
            return None
        before = self._forgotten.pop(name, None)
        adapter = self._numbered_one(name, path, AdapterName(name))
        if before is not None:
            adapter.key, adapter.version = before.key, before.version
        if (before is not None and before.path != path) or adapter.key in self.by_key:
            self._renumber(adapter, path)
        self.current[name] = self.by_key[adapter.key] = adapter
        self.leaving.pop(adapter.key, None)
        return adapter

    def rename(self, adapter: Adapter, taken: Collection[AdapterName]) -> bool:
        """Its name is something else on an engine: it gets the next one that is not in `taken`. False if that happened
        too often."""
        if adapter.clashes >= CLASH_LIMIT:
            return False
        adapter.clashes += 1
        self._leave(adapter.key)
        self._renumber(adapter, adapter.path, taken)
        return True

    def forget(self, name: str) -> Adapter | None:
        """It is assigned to nobody from then on, whatever is registered later."""
        adapter = self.current.pop(name, None)
        if adapter is not None:
            adapter.forgotten = True
            self._leave(adapter.key)
            self._forgotten[name] = adapter
            if len(self._forgotten) > self.limit:
                self._forgotten.popitem(last=False)
        return adapter

    def gone(self, keys: Iterable[AdapterName]) -> None:
        """No engine holds them any more."""
        for key in keys:
            self.leaving.pop(key, None)

    # For another process

    def kept(self) -> Kept:
        """All that is to be known elsewhere, or later."""
        return Kept(
            [Version(one.name, one.path, one.key, one.version) for one in self.current.values()],
            [Version(one.name, one.path, one.key, one.version) for one in self._forgotten.values()],
            list(self.leaving),
        )

    def restore(self, kept: Kept) -> None:
        """These are all there are. Whoever has one of them assigned keeps it, in its version."""
        before, self.current, self.by_key = self.current, {}, {}
        for one in kept.current[: self.limit]:
            adapter = before.pop(one.name, None) or self._numbered_one(one.name, one.path, one.key)
            adapter.path, adapter.key, adapter.version = one.path, one.key, one.version
            self.current[one.name] = self.by_key[one.key] = adapter
        for gone in before.values():
            gone.forgotten = True
        self._forgotten = OrderedDict(
            (one.name, Adapter(one.name, one.path, one.key, version=one.version, forgotten=True))
            for one in kept.forgotten[: self.limit]
        )
        self.leaving = OrderedDict.fromkeys(kept.leaving[-LEAVING_LIMIT:])

    def _numbered_one(self, name: str, path: str, key: AdapterName) -> Adapter:
        self._numbered += 1
        return Adapter(name, path, key, self._numbered)

    def _leave(self, key: AdapterName) -> None:
        del self.by_key[key]
        self.leaving[key] = None
        if len(self.leaving) > LEAVING_LIMIT:
            self.leaving.popitem(last=False)

    def _renumber(self, adapter: Adapter, path: str, held: Collection[AdapterName] = ()) -> None:
        taken = True
        while taken:  # somebody may have called an adapter `poet@2`
            adapter.version += 1
            adapter.key = AdapterName(f"{adapter.name}@{adapter.version}")
            taken = adapter.key in self.by_key or adapter.key in self.leaving or adapter.key in held
        adapter.path = path
        self.by_key[adapter.key] = adapter

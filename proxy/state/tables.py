"""What all members need to know, as tables of small values that the leader writes and the others follow: by what changed, and as a
whole where they missed too much. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Version(NamedTuple):
    """Of a table. Of another `life` nothing is known, whatever the number."""

    life: int = 0
    """The token of the leader that wrote the whole of it."""
    number: int = 0


class Changes(NamedTuple):
    version: Version
    """After them."""
    fields: dict[str, bytes | None]
    """None: it is not there any more."""


class Table:
    """At most `limit` fields: whoever has no place in it is treated as if nothing were known, and counted."""

    def __init__(self, limit: int) -> None:
        self.version = Version()
        self.refused = 0
        self.is_unsure = False
        """A piece was taken of which nobody knows whether it was written: another leader may have given its number to another."""
        self._limit = limit
        self._fields: dict[str, bytes] = {}
        self._changed: dict[str, bytes | None] = {}

    def __len__(self) -> int:
        return len(self._fields)

    def get(self, name: str) -> bytes | None:
        return self._fields.get(name)

    def fields(self) -> Mapping[str, bytes]:
        return self._fields

    # Who leads

    def put(self, name: str, value: bytes | None) -> None:
        """None takes it out."""
        known = self._fields.get(name)
        if known == value:
            return
        if value is None:
            del self._fields[name]
        elif known is None and len(self._fields) >= self._limit:
            self.refused += 1
            return
        else:
            self._fields[name] = value
        self._changed[name] = value

    @property
    def has_changed(self) -> bool:
        return bool(self._changed)

    def take(self, most: int) -> Changes | None:
        """A piece of what changed, as the next version; None if nothing did."""
        if not self._changed:
            return None
        names = list(self._changed)[:most]
        self.version = self.version._replace(number=self.version.number + 1)
        return Changes(self.version, {name: self._changed.pop(name) for name in names})

    def put_back(self, changes: Changes) -> None:
        """Nobody knows whether they were written. Their number is not used again: who misses it reads the whole table. Only the first of
        a life is: until it is there, what the table held before is."""
        if changes.version.number == 1:
            self.version = self.version._replace(number=0)
        self._changed = {**changes.fields, **self._changed}
        self.is_unsure = True

    def write_anew(self, life: int) -> None:
        """All of it has to be written: what others have is of no use."""
        self.version, self.is_unsure = Version(life), False
        self._changed = dict(self._fields)

    # Who follows

    def apply(self, changes: Changes) -> dict[str, bytes | None]:
        """What it really changed."""
        found = {name: one for name, one in changes.fields.items() if self._fields.get(name) != one}
        for name, one in found.items():
            if one is None:
                del self._fields[name]
            elif name in self._fields or len(self._fields) < self._limit:
                self._fields[name] = one
        self.version = changes.version
        self._changed.clear()
        return found

    def replace(self, version: Version, fields: Mapping[str, bytes]) -> dict[str, bytes | None]:
        """The whole of it, as it was read. What really changed."""
        self.is_unsure = False
        gone: dict[str, bytes | None] = dict.fromkeys(self._fields.keys() - fields.keys())
        return self.apply(Changes(version, {**gone, **fields}))

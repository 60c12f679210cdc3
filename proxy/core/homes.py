"""Which engine each agent's memory is on, and what each engine holds by that. One entry an agent, up to a limit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from .model import AdapterName
from .placing import Site

_Name = TypeVar("_Name", bound=Hashable)


@dataclass(slots=True, eq=False)
class Home:
    key: str
    site: Site
    life: int
    """Of the engine, when it came there."""
    size_tokens: int
    adapter: AdapterName | None
    prefix: str | None


class Homes:
    """Changes the sites that it is given. Every change costs the same, however many agents there are."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._homes: OrderedDict[str, Home] = OrderedDict()
        """Who called last comes last."""
        self._tokens = 0
        """Of all together."""

    def __len__(self) -> int:
        return len(self._homes)

    def __iter__(self) -> Iterator[Home]:
        return iter(self._homes.values())

    @property
    def usual_tokens(self) -> int:
        """What is expected of an agent whose memory has no known size: the mean. As long as none has, agents are counted."""
        return max(1, self._tokens // len(self._homes)) if self._homes else 1

    def of(self, key: str) -> Home | None:
        home = self._homes.get(key)
        if home is not None:
            self._homes.move_to_end(key)
        return home

    def peek(self, key: str) -> Home | None:
        """Without its having called."""
        return self._homes.get(key)

    def is_forgotten(self, home: Home) -> bool:
        """The engine started anew since."""
        return home.life != home.site.life

    def settle(
        self,
        key: str,
        site: Site,
        adapter: AdapterName | None,
        prefix: str | None,
        size_tokens: int | None = None,
    ) -> None:
        """It lives there from now on. Without a size it keeps the one it has, or gets the usual one."""
        old = self._homes.get(key)
        if old is not None:
            if (
                old.site is site
                and (old.adapter, old.prefix) == (adapter, prefix)
                and not self.is_forgotten(old)
            ):
                if size_tokens is not None:
                    self.resize(key, size_tokens)
                return
            size_tokens = old.size_tokens if size_tokens is None else size_tokens
            self.drop(key)
        elif len(self._homes) >= self._limit:
            self.drop(next(iter(self._homes)))
        size = self.usual_tokens if size_tokens is None else size_tokens
        home = self._homes[key] = Home(key, site, site.life, size, adapter, prefix)
        self._count(home, 1)

    def resize(self, key: str, size_tokens: int) -> None:
        home = self._homes.get(key)
        if home is not None and home.size_tokens != size_tokens:
            self._count(home, -1)
            home.size_tokens = size_tokens
            self._count(home, 1)

    def drop(self, key: str) -> None:
        home = self._homes.pop(key, None)
        if home is not None:
            self._count(home, -1)

    def forget(self, site: Site) -> None:
        """It started anew. Who lived there is found out when they call."""
        site.life += 1
        site.held_tokens = 0
        site.adapters.clear()
        site.prefixes.clear()

    def _count(self, home: Home, sign: int) -> None:
        self._tokens += sign * home.size_tokens
        if self.is_forgotten(home):
            return
        site = home.site
        site.held_tokens += sign * home.size_tokens
        _add(site.adapters, home.adapter, sign)
        _add(site.prefixes, home.prefix, sign)


def _add(counts: dict[_Name, int], name: _Name | None, sign: int) -> None:
    if name is None:
        return
    count = counts.get(name, 0) + sign
    if count:
        counts[name] = count
    else:
        counts.pop(name, None)

"""Where agents' memory is, as far as rendezvous hashing does not tell it by itself: the exceptions that all members follow. Pure.

Every member finds the same engine for an agent that is no exception, as long as it has the same engines with the same parts; so
these travel beside the exceptions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

from scalesim.proxy.core.model import EngineId
from scalesim.proxy.core.placing import Site, highest

from .tables import Table

HOMES = 200_000
_MODEL = "\n"
_PIECE = 200
"""Agents that are looked at in one piece when the engines have changed: less than a millisecond."""


class Engines(NamedTuple):
    """Those that are up."""

    parts: Mapping[EngineId, float] = {}
    models: Mapping[EngineId, frozenset[str]] = {}
    """What each serves, where there are several."""


def home_by_rendezvous(key: str, engines: Engines) -> EngineId | None:
    """Behind a line feed the key names a model, if there are several."""
    _, _, model = key.partition(_MODEL)
    sites = [
        Site(name, part)
        for name, part in sorted(engines.parts.items())
        if not model or model in engines.models.get(name, ())
    ]
    return highest(key, sites).engine if sites else None


class Places:
    """Of the leader: it writes `table`."""

    def __init__(self, table: Table, limit: int = HOMES) -> None:
        self._table = table
        self._limit = limit
        self._homes: OrderedDict[str, EngineId] = OrderedDict()
        self._drawn: set[str] = set()
        """Who may have been drawn to others of its kind, so that nobody finds its place by rendezvous: it is always told."""
        self._engines = Engines()
        self._behind = 0
        """Agents that are still to be looked at, from the oldest on."""

    def __len__(self) -> int:
        return len(self._homes)

    @property
    def behind(self) -> bool:
        return self._behind > 0

    def came(self, key: str, engine: EngineId, *, drawn: bool = False) -> bool:
        """An agent's memory is there from now on: whether that is news. `drawn`: it is one that others of its kind draw."""
        is_news = self._homes.get(key) != engine or (drawn and key not in self._drawn)
        if is_news:
            self._homes[key] = engine
            if drawn:
                self._drawn.add(key)
            self._write(key, engine)
        self._homes.move_to_end(key)
        self._keep_within()
        return is_news

    def restored(self, key: str, engine: EngineId, *, drawn: bool = False) -> None:
        """As another leader knew it. Whether the table has it right is looked at by `work`: somebody is to lead soon."""
        self._homes[key] = engine
        if drawn:
            self._drawn.add(key)
        self._keep_within()
        self._behind = len(self._homes)

    def clear(self) -> None:
        """What this process knew has grown old: another has led since. The table stays: it is as that one wrote it."""
        self._homes.clear()
        self._drawn.clear()
        self._behind = 0

    def left(self, key: str) -> None:
        if self._homes.pop(key, None) is not None:
            self._drawn.discard(key)
            self._table.put(key, None)

    def simulation_left(self, prefix: str) -> None:
        for key in [one for one in self._homes if one.startswith(prefix)]:
            self.left(key)

    def engines_are(self, engines: Engines) -> None:
        """These may be used. If they are others than before, `work` has to be done."""
        if engines != self._engines:
            self._engines = engines
            self._behind = len(self._homes)

    def work(self) -> None:
        """A piece: of those who were not looked at for longest."""
        for key in list(islice(self._homes, min(_PIECE, self._behind))):
            self._write(key, self._homes[key])
            self._homes.move_to_end(key)
        self._behind = max(0, self._behind - _PIECE)

    def keep_no_others(self) -> None:
        """All homes are known, but those of agents that call several models, of which only the last is: what else stands in the table is
        of nobody."""
        owners = {key.partition(_MODEL)[0] for key in self._homes}
        for key, engine in list(self._table.fields().items()):
            owner, _, model = key.partition(_MODEL)
            if key not in self._homes:
                if model and owner in owners:
                    self._homes[key] = EngineId(engine.decode())
                    self._drawn.add(key)  # it may be: nobody knows how its prompts to that model begin
                else:
                    self._table.put(key, None)

    def _keep_within(self) -> None:
        if len(self._homes) > self._limit:
            self.left(next(iter(self._homes)))

    def _write(self, key: str, engine: EngineId) -> None:
        usual = None if key in self._drawn else home_by_rendezvous(key, self._engines)
        self._table.put(key, None if engine == usual else engine.encode())

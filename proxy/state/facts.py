"""What every member knows, whoever leads: settings of simulations, adapters, assignments, places of agents, engines. Pure.

The leader notes what events changed; followers turn what they read into events for their own core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, cast

import orjson

from scalesim.proxy.core.events import (
    AdapterAssigned,
    AdapterForgotten,
    AdapterRegistered,
    AgentLeft,
    CallSent,
    CallStarted,
    Event,
    HostCopySet,
    ModeSet,
    ReadingSet,
    Rehomed,
    SimulationEnded,
)
from scalesim.proxy.core.keeping import Keeping, Settings
from scalesim.proxy.core.model import AgentName, EngineId, Owner, SimulationId, owner_of
from scalesim.proxy.core.plain import Forms, Garbled

from .places import Engines, Places, home_by_rendezvous
from .tables import Table

SIMULATIONS, ADAPTERS, ASSIGNED, PLACES, ENGINES = "simulations", "adapters", "assigned", "places", "engines"
CHOICES = "choices"
"""Of operators, that the next leader needs: policies, estimators and pins."""
LIMITS = {SIMULATIONS: 512, ADAPTERS: 1, ASSIGNED: 400_000, PLACES: 200_000, ENGINES: 256, CHOICES: 1}
OPERATORS = (SIMULATIONS, ADAPTERS, ASSIGNED)
"""Tables that hold what operators tell, and each member's own core is to know."""
_ALL = "all"
_BETWEEN = "\0"
_SETTINGS = Forms().of(Settings)

TOLD_TO_ALL = (ModeSet, ReadingSet, HostCopySet, AdapterRegistered, AdapterForgotten, AdapterAssigned)
"""What a member's own core hears at once, whoever leads: its next calls depend on it."""


class Names(Protocol):
    """How agents are called where it is about places: one that calls several models has memory for each."""

    def key_on(self, owner: Owner, engine: EngineId) -> str: ...

    def keys_of(self, owner: Owner) -> Iterable[str]: ...


class OneModel:
    def key_on(self, owner: Owner, engine: EngineId) -> str:
        return owner

    def keys_of(self, owner: Owner) -> Iterable[str]:
        return (owner,)


class Facts:
    def __init__(
        self, names: Names | None = None, moved: Callable[[Iterable[str]], None] = lambda keys: None
    ) -> None:
        """`moved` is told of whom the group may know another place than before."""
        self.tables = {name: Table(limit) for name, limit in LIMITS.items()}
        self.places = Places(self.tables[PLACES])
        self._names = names or OneModel()
        self.moved = moved
        self.unread = 0
        """Fields that could not be read."""
        self._adapters_changed = False
        self._choices: object = None
        """As they were noted last, on this process's clock."""
        self._up: tuple[object, Engines] = (None, Engines())

    def sizes(self) -> dict[str, int]:
        return {
            **{f"shared_{name}": len(table) for name, table in self.tables.items()},
            "homes": len(self.places),
        }

    # Who leads

    def follow(
        self, event: Event, keeping: Keeping, whom: tuple[SimulationId, AgentName] | None = None
    ) -> None:
        """The core has handled it. `whom`: whose call it is of, where it does not say so."""
        match event:
            case CallStarted(simulation=simulation, agent=agent, engine=engine, moves=True) if (
                agent is not None
            ):
                self.came(simulation, agent, engine, keeping)
            case CallSent(engine=engine, moves=True) if whom is not None:
                self.came(*whom, engine, keeping)
            case Rehomed(simulation=simulation, agent=agent, engine=engine):
                # The core knows best: who called meanwhile stayed.
                if keeping.engine_of(simulation, agent) == engine:
                    self.came(simulation, agent, engine, keeping)
            case ModeSet(simulation=simulation) | ReadingSet(simulation=simulation):
                self._note_settings(simulation, keeping)
            case HostCopySet(simulation=simulation, agent=None):
                self._note_settings(simulation, keeping)
            case AdapterRegistered() | AdapterForgotten():
                self._adapters_changed = True
            case AdapterAssigned(simulation=simulation, agent=agent, name=name):
                field = f"{simulation}{_BETWEEN}{agent}"
                self.tables[ASSIGNED].put(field, None if name is None else name.encode())
            case AgentLeft(simulation=simulation, agent=agent):
                self.tables[ASSIGNED].put(f"{simulation}{_BETWEEN}{agent}", None)
                for key in self._names.keys_of(owner_of(simulation, agent)):
                    self.places.left(key)
            case SimulationEnded(simulation=simulation):
                self._end(simulation)

    def restored(
        self, simulation: SimulationId, agent: AgentName, engine: EngineId, keeping: Keeping
    ) -> None:
        """The agent's memory was there, as another leader knew it."""
        key = self._names.key_on(owner_of(simulation, agent), engine)
        self.places.restored(key, engine, drawn=keeping.has_beginning(simulation, agent))

    def came(self, simulation: SimulationId, agent: AgentName, engine: EngineId, keeping: Keeping) -> None:
        """The agent's memory is there from now on."""
        key = self._names.key_on(owner_of(simulation, agent), engine)
        if self.places.came(key, engine, drawn=keeping.has_beginning(simulation, agent)):
            self.moved((key,))

    def note_adapters(self, keeping: Keeping, *, surely: bool = False) -> None:
        """`surely`: also where no event told that there are others."""
        if self._adapters_changed or surely:
            self._adapters_changed = False
            self.tables[ADAPTERS].put(_ALL, orjson.dumps(keeping.adapters()))

    def note_choices(self, keeping: Keeping, shift: float, *, surely: bool = False) -> None:
        """`surely`: also where they are as before."""
        found = keeping.choices(0.0)
        if surely or found != self._choices:
            self._choices = found
            self.tables[CHOICES].put(_ALL, orjson.dumps(keeping.choices(shift)))

    def note_all(self, keeping: Keeping, shift: float) -> None:
        """Nothing is known of what was noted before."""
        for simulation in keeping.simulations():
            self._note_settings(simulation, keeping)
        self.note_adapters(keeping, surely=True)
        self.note_choices(keeping, shift, surely=True)

    def note_engines(self, engines: Mapping[EngineId, Mapping[str, object]]) -> None:
        """What is known of each, as JSON has it. `part`: of rendezvous; those without one are not up. `models`: what it serves,
        where there are several."""
        table = self.tables[ENGINES]
        for gone in table.fields().keys() - engines.keys():
            table.put(gone, None)
        for name, one in engines.items():
            table.put(name, orjson.dumps(one))
        self._up = None, Engines()
        self.places.engines_are(self.up())

    def _note_settings(self, simulation: SimulationId, keeping: Keeping) -> None:
        known = keeping.settings(simulation)
        if known is not None:
            self.tables[SIMULATIONS].put(simulation, orjson.dumps(_SETTINGS.write(known, 0.0)))

    def _end(self, simulation: SimulationId) -> None:
        self.tables[SIMULATIONS].put(simulation, None)
        assigned = self.tables[ASSIGNED]
        for field in [one for one in assigned.fields() if one.startswith(f"{simulation}{_BETWEEN}")]:
            assigned.put(field, None)
        self.places.simulation_left(f"{simulation}/")

    # Who follows

    def events(self, name: str, changed: Mapping[str, bytes | None], at: float) -> Iterable[Event]:
        """What changes in a member's own core by that. Of adapters there are none: `adapters` has them."""
        for field, value in changed.items():
            try:
                if name == SIMULATIONS:
                    yield from _of_settings(SimulationId(field), value, at)
                elif name == ASSIGNED:
                    simulation, _, agent = field.partition(_BETWEEN)
                    told = None if value is None else value.decode()
                    yield AdapterAssigned(at, SimulationId(simulation), AgentName(agent), told)
            except ValueError:  # Garbled, or no JSON
                self.unread += 1

    def adapters(self) -> object:
        """As `Keeping.restore_adapters` takes them; None if nothing is known. Raises `Garbled`."""
        return self._only_one(ADAPTERS)

    def choices(self) -> object:
        """As `Keeping.restore_choices` takes them; None if nothing is known. Raises `Garbled`."""
        return self._only_one(CHOICES)

    def _only_one(self, name: str) -> object:
        known = self.tables[name].get(_ALL)
        try:
            return None if known is None else orjson.loads(known)
        except orjson.JSONDecodeError as exc:
            raise Garbled(f"no {name}: {exc}") from exc

    def all_events(self, at: float) -> Iterable[Event]:
        for name in (SIMULATIONS, ASSIGNED):
            yield from self.events(name, dict(self.tables[name].fields()), at)

    # Everybody

    def engines(self) -> dict[EngineId, dict[str, object]]:
        """As the leader sees them."""
        found: dict[EngineId, dict[str, object]] = {}
        for name, value in self.tables[ENGINES].fields().items():
            try:
                found[EngineId(name)] = dict(orjson.loads(value))
            except ValueError:
                self.unread += 1
        return found

    def up(self) -> Engines:
        """The engines that are, as the leader sees them."""
        table = self.tables[ENGINES]
        state = table.version, table.has_changed
        if self._up[0] != state:
            parts: dict[EngineId, float] = {}
            models: dict[EngineId, frozenset[str]] = {}
            for name, one in self.engines().items():
                part, served = one.get("part"), one.get("models")
                if isinstance(part, (int, float)) and part > 0:
                    parts[name] = float(part)
                    models[name] = frozenset(map(str, served)) if isinstance(served, list) else frozenset()
            self._up = state, Engines(parts, models)
        return self._up[1]

    def home_of(self, key: str, prefix: str | None = None) -> EngineId | None:
        """Where the agent's memory is: by the table, or else by rendezvous. None if no engine is known to be up, or its prompts
        begin with a `prefix` that may draw it to others: of such an agent the table tells, once it is known."""
        told = self.tables[PLACES].get(key)
        if told is not None:
            return EngineId(told.decode())
        return home_by_rendezvous(key, self.up()) if prefix is None else None


def _of_settings(simulation: SimulationId, value: bytes | None, at: float) -> Iterable[Event]:
    if value is None:
        yield SimulationEnded(at, simulation)
        return
    settings = cast("Settings", _SETTINGS.read(orjson.loads(value), 0.0))
    yield ModeSet(at, simulation, settings.mode)
    yield ReadingSet(at, simulation, settings.reading)
    for kind, wanted in settings.host_copy.items():
        yield HostCopySet(at, simulation, None, kind, wanted)

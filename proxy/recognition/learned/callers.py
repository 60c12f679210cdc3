"""The callers that places have named: what they are called, and which of them turned out to be one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from scalesim.proxy.core.model import AgentName

from .families import Families
from .meetings import DOUBLED
from .names import AROUND, alike, digest, name_in, shortened, stands_alone
from .place import Place, Where
from .places import Known, Value

_COMPARED = 6
"""Values whose common beginning is cut off, to find the name in a line: "Now comes the turn of Ann"."""

_COMMON_CHARS = 6
"""So much must lines have in common before a name, to look as if they were there for its sake."""

_SET_OFF = (",", ";", "(", "")

_NEVER = 2
"""Calls in a row in which a value goes with another caller, before the two are taken for one."""

_PLACES = 16
"""Of a caller so many places are kept at which it was named."""

_RENAMED = 4
"""Mergers in a row that are followed from an old name to a new one."""


class Merged(NamedTuple):
    """Two callers turned out to be one: `old` is not named again."""

    old: AgentName
    new: AgentName


@dataclass(slots=True, eq=False)
class _Caller:
    values: dict[Place, str] = field(default_factory=dict)


class Callers:
    def __init__(self, most: int) -> None:
        self._most = most
        self._callers: OrderedDict[AgentName, _Caller] = OrderedDict()
        self._merged_into: OrderedDict[AgentName, AgentName] = OrderedDict()
        self._merges: list[Merged] = []

    @property
    def size(self) -> int:
        return len(self._callers)

    @property
    def merged(self) -> int:
        return len(self._merged_into)

    def merges(self) -> list[Merged]:
        """Those since it was asked last."""
        merges, self._merges = self._merges, []
        return merges

    def of(self, known: Known, value: str, entry: Value, families: Families, beginning: str) -> AgentName:
        """The caller with this value."""
        if entry.caller is not None:
            name = self.resolved(entry.caller)
            if name in self._callers:
                self._callers.move_to_end(name)
                return name
        name = name_of(known, value)
        if name in self._merged_into:
            name = AgentName(f"{name} {digest(value)}")
        firm = known.says > 0 or known.has_support or known.meetings.clean
        if firm and not families.elsewhere(name, beginning):
            for first in entry.firsts:
                if first != name and first not in self._merged_into and first not in self._callers:
                    self.merge(first, name)
        entry.firsts.clear()
        caller = self._callers.get(name)
        if caller is None:
            caller = self._callers[name] = _Caller()
            if len(self._callers) > self._most:
                self._callers.popitem(last=False)
        elif caller.values.get(known.place, value) != value:
            name = AgentName(f"{name} {digest(value)}")
            caller = self._callers.setdefault(name, _Caller())
        if len(caller.values) < _PLACES:
            caller.values[known.place] = value
        return name

    def knows(self, name: AgentName) -> bool:
        return name in self._callers or name in self._merged_into

    def resolved(self, name: AgentName) -> AgentName:
        for _ in range(_RENAMED):
            after = self._merged_into.get(name)
            if after is None:
                break
            name = after
        return name

    def strangers(self, known: Known) -> bool:
        """Hardly anybody at this place is known from another one."""
        known_names = 0
        for value in islice(known.values, _COMPARED):
            caller = self._callers.get(name_of(known, value))
            known_names += caller is not None and known.place not in caller.values
        return known_names <= 1

    def bind(
        self, seen: Sequence[tuple[Known, str]], best: Known, caller: AgentName, ranked: Sequence[Known]
    ) -> None:
        """What else stands in this call belongs to the same caller, if it does so in the next one too."""
        if best.doubled >= DOUBLED:
            return
        for known, value in seen:
            if known is best or (entry := known.values.get(value)) is None:
                continue
            if entry.caller is None:
                if known.says == 2 or known.doubled >= DOUBLED:
                    known.disagreed += value != caller
                elif entry.rival == caller:
                    entry.caller = caller
                    known.agreed += 1
                else:
                    known.disagreed += entry.rival is not None
                    entry.rival = caller
            elif (owner := self.resolved(entry.caller)) == caller:
                known.agreed += 1
                entry.rivalries = 0
            else:
                known.disagreed += 1
                entry.rivalries = entry.rivalries + 1 if entry.rival == caller else 1
                entry.rival = caller
                if (
                    entry.rivalries >= _NEVER
                    and known in ranked
                    and not known.meetings.refuted
                    and self._is_one(owner, caller, best)
                ):
                    self.merge(owner, caller)
                    known.agreed += 2
                    known.disagreed = max(0, known.disagreed - 2)

    def _is_one(self, old: AgentName, new: AgentName, best: Known) -> bool:
        """Named by two places that never stood in one prompt, until now."""
        caller = self._callers.get(old)
        return caller is not None and old != new and best.place not in caller.values

    def merge(self, old: AgentName, new: AgentName) -> None:
        gone = self._callers.pop(old, None)
        kept = self._callers.get(new)
        if gone is not None and kept is not None:
            for place, value in gone.values.items():
                kept.values.setdefault(place, value)
        self._merged_into[old] = new
        if len(self._merged_into) > self._most:
            self._merged_into.popitem(last=False)
        if len(self._merges) < self._most:
            self._merges.append(Merged(old, new))


def name_of(known: Known, value: str) -> AgentName:
    place = known.place
    if place.where is Where.CUE:
        return AgentName(shortened(value))
    if place.where is not Where.KEY:
        rest = value[_start(known, value) :]
        if (name := name_in(rest)) is not None and stands_alone(name, rest):
            return AgentName(shortened(name))
        return AgentName(shortened(rest or value))
    if (name := name_in(value)) is not None:
        return AgentName(shortened(name))
    return AgentName(shortened(f"{place.key} {value}".replace("'", "").replace('"', "").lstrip("{[(")))


def label_of(known: Known, value: str) -> AgentName | None:
    """The name that `name_of` would give it, if it looks like one before anything is known of the place."""
    name = name_in(value)
    if name is not None and value.strip(AROUND) == name:
        return AgentName(shortened(name))
    match known.place.where:
        case Where.AFTER:
            is_set_off = name is not None and value[len(name) : len(name) + 1] in _SET_OFF
        case Where.EDGE if (start := _start(known, value)) >= _COMMON_CHARS:
            name = name_in(value[start:])
            is_set_off = name is not None and stands_alone(name, value[start:])
        case _:
            is_set_off = False
    return AgentName(shortened(name)) if is_set_off and name else None


def _start(known: Known, value: str) -> int:
    """In front of a name stands what does not differ."""
    others = [other for other in islice(known.values, _COMPARED) if other != value]
    return value.rfind(" ", 0, alike(value, others)) + 1

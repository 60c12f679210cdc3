"""How far a leader had come in the stream when something was written down, and what of the stream is to be heard again. Pure.

A leader hears others by the stream, in its order, and itself at once: what it wrote contains all entries up to one, and its own
records up to a number, wherever these are in the stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from scalesim.proxy.core.events import (
    ActionStarted,
    AdapterAssigned,
    AgentLeft,
    CallSent,
    CallStarted,
    DistanceHinted,
    Event,
    HostCopySet,
    Moved,
    Rehomed,
)
from scalesim.proxy.core.model import AgentName, SimulationId

Entry = tuple[int, int]
"""The id of an entry of a stream, as numbers."""
START: Entry = (0, 0)


def entry_of(text: str) -> Entry:
    first, _, second = text.partition("-")
    return int(first), int(second or 0)


def text_of(entry: Entry) -> str:
    return f"{entry[0]}-{entry[1]}"


class Mark(NamedTuple):
    read: Entry = START
    leader: int = 0
    """Who wrote it: the number of a member."""
    told: int = 0
    """The last of its own records."""

    def covers(self, entry: Entry, sender: int, number: int) -> bool:
        return number <= self.told if sender == self.leader else entry <= self.read


class Resumed(NamedTuple):
    """A call that was begun before its agent was written down: it runs, and begins nothing."""

    event: CallStarted


class Again:
    """What is to be heard again after restoring: all that no mark covers. `base` is the mark of everything, `marks` those of agents that
    were written down after it."""

    def __init__(self, base: Mark, marks: Mapping[tuple[SimulationId, AgentName], Mark]) -> None:
        self._base = base
        self._marks = marks

    def heard(
        self,
        event: Event,
        entry: Entry,
        sender: int,
        number: int,
        whom: tuple[SimulationId, AgentName] | None = None,
    ) -> Event | Resumed | None:
        """The event as it is to be handled; None if it is known already. `whom`: whose call it is of, where that is known."""
        if self._base.covers(entry, sender, number):
            return None

        def is_known(simulation: SimulationId, agent: AgentName | None) -> bool:
            mark = None if agent is None else self._marks.get((simulation, agent))
            return mark is not None and mark.covers(entry, sender, number)

        match event:
            case CallStarted(simulation=simulation, agent=agent) if is_known(simulation, agent):
                return Resumed(event)
            case CallSent() if whom is not None and is_known(*whom):
                return replace(event, moves=False)  # it may have moved on since
            case (
                ActionStarted(simulation=simulation, agent=agent)
                | Rehomed(simulation=simulation, agent=agent)
                | AgentLeft(simulation=simulation, agent=agent)
                | AdapterAssigned(simulation=simulation, agent=agent)
                | HostCopySet(simulation=simulation, agent=agent)
            ) if is_known(simulation, agent):
                return None
            case DistanceHinted(simulation=simulation, distances=told):
                new = {name: one for name, one in told.items() if not is_known(simulation, name)}
                return replace(event, distances=new)
            case Moved(simulation=simulation, motions=motions):
                moved = {name: one for name, one in motions.items() if not is_known(simulation, name)}
                return replace(event, motions=moved)
        return event

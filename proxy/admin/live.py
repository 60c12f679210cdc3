"""What changes, as server-sent events: a picture first, and from then on once a second what is not as it was.

It is made once for all who listen, and not at all while nobody does. Of the agents, those are looked at of whom an event told
something, those who call, and a few of all others in turn, since time and plans change what is known of agents of whom nobody
speaks. So a second costs what happened in it, and never more than `LOOKS` agents, however many there are.

Who takes nothing for so long that its queue is full is dropped, and gets a whole picture when it comes again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import orjson

from scalesim.proxy.core.events import (
    ActionStarted,
    Activated,
    AdapterAssigned,
    AgentLeft,
    DistanceHinted,
    Event,
    Interacted,
    Moved,
    SimulationEnded,
)
from scalesim.proxy.core.model import KV_PREFIX, AgentName, Owner, SimulationId
from scalesim.proxy.dashboard.actions import row
from scalesim.proxy.dashboard.field import seen
from scalesim.proxy.dashboard.meter import Meter
from scalesim.proxy.dashboard.patch import Json, patch

from . import channels
from .channels import Channel, Listener
from .desk import Desk
from .overview import overview

log = logging.getLogger(__name__)

EVERY_S = 1.0
SOON_S = 0.02
"""Before the first beat: the picture that is there at once goes first."""
LISTENERS = 32
LINGER_S = 10.0
"""A field without listeners is kept up for so long: a page that lost its connection is back by then."""
LOOKS = 1_000
"""At agents in one beat, of each simulation that is shown."""
ROUND = 250
"""Of these, at agents of whom nobody spoke."""
PIECE = 25
"""Looks between two turns for everybody else: about half a millisecond."""
ROWS = 500
"""Of a field that is filled, in one message."""


class Live:
    """`beat` makes the next picture. It runs by itself, on the loop of whoever listens, as long as anybody does."""

    def __init__(
        self, desk: Desk, *, run: str | None = None, wait: Callable[[float], Any] = asyncio.sleep
    ) -> None:
        """`run` names this process in the ids of events."""
        self._desk = desk
        self._run = run or uuid4().hex[:8]
        self._wait = wait
        self._channels: dict[SimulationId | None, Channel] = {}
        self._number = 0
        self._overview: Json = {}
        self._meter = Meter()
        self._told_actions = 0
        self._stop_hearing: Callable[[], None] | None = None
        self._beats: asyncio.Task[None] | None = None

    def sizes(self) -> dict[str, int]:
        known = self._channels.values()
        return {
            "live_listeners": sum(len(one.listeners) for one in known),
            "live_agents": sum(len(one.shown) for one in known),
            "live_touched": sum(len(one.touched) for one in known),
            **self._meter.sizes(),
        }

    @property
    def is_full(self) -> bool:
        return sum(len(one.listeners) for one in self._channels.values()) >= LISTENERS

    @contextmanager
    def listening(self, simulation: SimulationId | None, last_id: str = "") -> Iterator[Listener]:
        """`last_id`: of the last event that it got, if it has been here before."""
        self._begin()
        channel = self._channel(simulation)
        listener = Listener(self._first(channel, last_id))
        channel.listeners.append(listener)
        try:
            yield listener
        finally:
            if listener in channel.listeners:
                channel.listeners.remove(listener)
            if not channel.listeners:
                channel.left_at = self._desk.clock()

    async def beat(self) -> None:
        """Tells all who listen what changed."""
        now = self._desk.clock()
        before, self._overview = self._overview, self._looked_over()
        changed = patch(before, self._overview)
        actions = self._ended_after(self._told_actions)
        self._told_actions = self._desk.action_log.ends
        for channel in list(self._channels.values()):
            await self._look(channel)
        self._number += 1
        for channel in self._channels.values():
            told: Json = {"at": round(self._desk.clock(), 3)}
            if changed:
                told["overview"] = changed
            if actions:
                told["actions"] = actions
            if channel.simulation is not None:
                told["field"] = {**channel.shown.changes(), **self._standing(channel, channel.simulation)}
            channel.tell(self._number, self._message("change", told, self._number))
        if self._desk.is_ending():
            self._end_all()
        self._leave_alone(now)

    # Beginning and ending

    def _begin(self) -> None:
        if self._stop_hearing is None:
            self._meter, self._told_actions = Meter(), self._desk.action_log.ends
            self._stop_hearing = self._desk.runtime.overhear(self._hear)
            self._overview = self._looked_over()
        if self._beats is None or self._beats.done():
            self._beats = asyncio.create_task(self._go_on())
            self._beats.add_done_callback(_tell_of_failure)

    async def _go_on(self) -> None:
        """As long as there is anybody. If it fails, whoever listened comes again, and begins it anew."""
        try:
            await self._wait(SOON_S)
            while self._channels:
                await self.beat()
                await self._wait(EVERY_S)
        finally:
            self._end_all()
            self._channels.clear()
            self._overview = {}
            if self._stop_hearing is not None:
                self._stop_hearing()
                self._stop_hearing = None

    def _end_all(self) -> None:
        for channel in self._channels.values():
            for listener in channel.listeners:
                listener.end()
            channel.listeners = []

    def _leave_alone(self, now: float) -> None:
        over = [
            name
            for name, one in self._channels.items()
            if not one.listeners and (now - one.left_at >= LINGER_S or self._desk.is_ending())
        ]
        for name in over:
            del self._channels[name]

    def _channel(self, simulation: SimulationId | None) -> Channel:
        channel = self._channels.get(simulation)
        if channel is None:
            channel = self._channels[simulation] = Channel(simulation, left_at=self._desk.clock())
            # What was told before it is in the picture that it begins with.
            channel.kept.append((self._number, b""))
            if simulation is not None:
                self._fill(channel, simulation)
        return channel

    def _fill(self, channel: Channel, simulation: SimulationId) -> None:
        controller = self._desk.controller
        channel.identity = controller.identity(simulation)
        channel.touch(channel.shown.names)
        channel.touch(controller.names(simulation, channels.AGENTS))

    # What is told

    def _first(self, channel: Channel, last_id: str) -> Iterable[bytes]:
        run, _, number = last_id.rpartition("-")
        if run == self._run and number.isdecimal():
            missed = [message for known, message in channel.kept if known > int(number)]
            if any(known == int(number) for known, _ in channel.kept):
                return [b": what you missed follows\n\n", *missed]
        return self._picture(channel, self._number)

    def _picture(self, channel: Channel, number: int) -> Iterator[bytes]:
        """Of a large field in several messages. Only the last has an id: who lost its connection before that begins anew.
        What changes meanwhile is told after it, by beats that come after `number`."""
        told: Json = {
            "at": round(self._desk.clock(), 3),
            "overview": self._overview,
            "actions": self._ended_after(0),
        }
        if channel.simulation is None:
            yield self._message("picture", told, number)
            return
        names = channel.shown.names
        for at in range(0, max(1, len(names)), ROWS):
            rows = channel.shown.picture(names[at : at + ROWS])
            told["field"] = {**rows, **self._standing(channel, channel.simulation)}
            yield self._message(
                "change" if at else "picture", told, number if at + ROWS >= len(names) else None
            )
            told = {"at": round(self._desk.clock(), 3)}

    def _message(self, event: str, told: Json, number: int | None) -> bytes:
        name = "" if number is None else f"id: {self._run}-{number}\n"
        # Words of closed sets are keys, and they are enums.
        data = orjson.dumps(told, option=orjson.OPT_NON_STR_KEYS)
        return f"{name}event: {event}\ndata: ".encode() + data + b"\n\n"

    def _ended_after(self, end: int) -> list[Any]:
        return [row(entry) for entry in self._desk.action_log.ended_after(end)]

    def _looked_over(self) -> Json:
        return {**overview(self._desk), "meter": self._meter.told()}

    def _standing(self, channel: Channel, simulation: SimulationId) -> Json:
        """What goes on by itself: the clocks of the simulation."""
        known = self._desk.controller.clocks(simulation)
        clocks = {clock.value: [round(one.now, 3), round(one.unit_s, 4)] for clock, one in known.items()}
        return {"simulation": simulation, "clocks": clocks, "behind": len(channel.touched)}

    # What is heard and seen

    def _hear(self, event: Event) -> None:
        caller = self._meter.hear(event)
        if caller is not None:
            self._touch(caller[0], (caller[1],))
            return
        match event:
            case DistanceHinted(simulation=simulation, distances=told):
                self._touch(simulation, told)
            case Moved(simulation=simulation, motions=motions):
                self._touch(simulation, motions)
            case Activated(simulation=simulation, agents=agents):
                self._touch(simulation, agents)
            case Interacted(simulation=simulation, pairs=pairs):
                self._touch(simulation, (name for pair in pairs for name in pair))
            case (
                ActionStarted(simulation=simulation, agent=agent)
                | AdapterAssigned(simulation=simulation, agent=agent)
                | AgentLeft(simulation=simulation, agent=agent)
            ):
                self._touch(simulation, (agent,))
            case SimulationEnded(simulation=simulation) if simulation in self._channels:
                channel = self._channels[simulation]
                channel.touch(channel.shown.names)

    def _touch(self, simulation: SimulationId, names: Iterable[AgentName]) -> None:
        channel = self._channels.get(simulation)
        if channel is not None:
            channel.touch(names)

    async def _look(self, channel: Channel) -> None:
        simulation = channel.simulation
        if simulation is None:
            return
        if self._desk.controller.identity(simulation) is not channel.identity:
            self._fill(channel, simulation)
        is_filling = not len(channel.shown)
        self._notice_moves(channel)
        channel.touch(channel.shown.active)
        if not is_filling:
            channel.touch(self._next_of_all(channel))
        looks = channels.AGENTS if is_filling else LOOKS
        sent = 0
        while channel.touched and looks > 0:
            for _ in range(min(PIECE, len(channel.touched))):
                name = next(iter(channel.touched))
                del channel.touched[name]
                self._look_at(channel, simulation, name)
                looks -= 1
            if is_filling and len(channel.shown) - sent >= ROWS and channel.listeners:
                # So that a page shows something before all are there. What is told twice does no harm.
                sent = len(channel.shown)
                self._number += 1
                told = {
                    "at": round(self._desk.clock(), 3),
                    "field": {**channel.shown.changes(), **self._standing(channel, simulation)},
                }
                channel.tell(self._number, self._message("change", told, self._number))
            await self._wait(0)

    def _look_at(self, channel: Channel, simulation: SimulationId, name: AgentName) -> None:
        glance = self._desk.controller.glance(simulation, name)
        if glance is None:
            channel.shown.forget(name)
        elif channel.may_show(name):
            explained = self._desk.callers.explained(simulation, name)
            channel.shown.see(name, seen(glance, None if explained is None else explained.confidence))

    def _next_of_all(self, channel: Channel) -> list[AgentName]:
        found: list[AgentName] = []
        with suppress(StopIteration):
            while len(found) < min(ROUND, len(channel.shown)):
                found.append(next(channel.round))
            return found
        channel.round = iter(channel.shown.names)
        return found

    def _notice_moves(self, channel: Channel) -> None:
        """Whose prefix came to a device or left it. Costs what the engines report, which their sizes bound."""
        prefix, controller = channel.prefix, self._desk.controller
        before, channel.residents = channel.residents, {}
        for engine in self._desk.runtime.engines():
            here = frozenset(
                memory.key
                for memory, known in controller.memories(engine.engine).items()
                if known.device_bytes and memory.kind == KV_PREFIX and memory.key.startswith(prefix)
            )
            channel.residents[engine.engine] = here
            known = before.pop(engine.engine, frozenset())
            for owner in known - here:
                self._meter.left(Owner(owner))
            channel.touch(AgentName(owner.removeprefix(prefix)) for owner in known ^ here)
        for gone in before.values():
            channel.touch(AgentName(owner.removeprefix(prefix)) for owner in gone)


def _tell_of_failure(beats: asyncio.Task[None]) -> None:
    if not beats.cancelled() and (failure := beats.exception()) is not None:
        log.error("the live feed failed", exc_info=failure)

"""What changes, as server-sent events: a picture first, and from then on once a second what is not as it was.

It is made once for all who listen, and not at all while nobody does. Of the agents, those are looked at of whom an event told
something, those who call, and a few of all others in turn, since time and plans change what is known of agents of whom nobody
speaks. So a second costs what happened in it, and never more than `LOOKS` agents, however many there are.

Who takes nothing for so long that its queue is full is dropped, and gets a whole picture when it comes again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any
from uuid import uuid4

import orjson
from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

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
from scalesim.proxy.core.model import KV_PREFIX, AgentName, EngineId, Owner, SimulationId, owner_of
from scalesim.proxy.dashboard.actions import row
from scalesim.proxy.dashboard.field import Field, seen
from scalesim.proxy.dashboard.meter import Meter
from scalesim.proxy.dashboard.patch import Json, patch

from .bodies import SIMULATION_PATTERN
from .desk import Desk
from .overview import overview
from .problems import Problem

log = logging.getLogger(__name__)

EVERY_S = 1.0
SOON_S = 0.02
"""Before the first beat: the picture that is there at once goes first."""
LISTENERS = 32
QUEUED = 30
"""Messages that wait for one listener; with one more it is dropped."""
KEPT = 30
"""Messages that are kept for those who come again."""
LINGER_S = 10.0
"""A field without listeners is kept up for so long: a page that lost its connection is back by then."""
AGENTS = 20_000
"""Of one simulation that are shown: those that became known first."""
LOOKS = 1_000
"""At agents in one beat, of each simulation that is shown."""
ROUND = 250
"""Of these, at agents of whom nobody spoke."""
PIECE = 25
"""Looks between two turns for everybody else: about half a millisecond."""
ROWS = 500
"""Of a field that is filled, in one message."""

_EXAMPLE = (
    'id: 5f0c-1\nevent: picture\ndata: {"at":812.5,"overview":{"simulations":{"town":{"mode":"on","agents":24}}},'
    '"field":{"words":[[0,"engine-0"],[1,"device"],[2,"steps"],[3,"hinted"]],'
    '"agents":[[0,0,0,1,2,17.0,3,null,"Ann"]]}}\n\n'
    'id: 5f0c-2\nevent: change\ndata: {"at":813.5,"overview":{"simulations":{"town":{"calls":311}}}}\n\n'
)


class Listener:
    """One page that looks on."""

    def __init__(self, first: Iterable[bytes]) -> None:
        """`first` is made bit by bit, as it is taken: a whole field at once would hold up everybody else."""
        self.first = first
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUED + 1)
        self.is_over = False

    def put(self, message: bytes) -> bool:
        """False: it takes too little, and gets no more."""
        if self._queue.qsize() >= QUEUED:
            self.end()
            return False
        self._queue.put_nowait(message)
        return True

    def end(self) -> None:
        """What waits is given up if there is no room even for the end."""
        self.is_over = True
        if self._queue.empty():
            self._queue.put_nowait(None)

    async def messages(self) -> AsyncIterator[bytes]:
        for piece in self.first:
            yield piece
            await asyncio.sleep(0)
        while not self.is_over:
            message = await self._queue.get()
            if message is None:
                return
            yield message


@dataclass(slots=True, eq=False)
class Channel:
    """All who look at one simulation, or (None) at none."""

    simulation: SimulationId | None
    shown: Field = field(default_factory=Field)
    listeners: list[Listener] = field(default_factory=list)
    kept: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=KEPT))
    touched: dict[AgentName, None] = field(default_factory=dict)
    """Agents to be looked at."""
    residents: dict[EngineId, frozenset[str]] = field(default_factory=dict)
    """Owners of prefixes on each device, by the last beat."""
    round: Iterator[AgentName] = field(default_factory=lambda: iter(()))
    left_at: float = 0.0
    """When the last listener left."""
    identity: object = None
    """Of the simulation: another one may have the same name."""

    @property
    def prefix(self) -> str:
        """Of its owners."""
        return "" if self.simulation is None else owner_of(self.simulation, AgentName(""))

    def touch(self, names: Iterable[AgentName]) -> None:
        """Whom there is no room for comes in turn, or is not shown at all."""
        for name in names:
            if len(self.touched) < AGENTS and (name in self.shown or len(self.shown) < AGENTS):
                self.touched[name] = None

    def put(self, message: bytes) -> None:
        self.listeners = [one for one in self.listeners if one.put(message)]


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
        channels = self._channels.values()
        return {
            "live_listeners": sum(len(one.listeners) for one in channels),
            "live_agents": sum(len(one.shown) for one in channels),
            "live_touched": sum(len(one.touched) for one in channels),
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
            message = self._message("change", told, self._number)
            channel.kept.append((self._number, message))
            channel.put(message)
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
        channel.touch(controller.names(simulation, AGENTS))

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
        looks = AGENTS if is_filling else LOOKS
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
                message = self._message("change", told, self._number)
                channel.kept.append((self._number, message))
                channel.put(message)
            await self._wait(0)

    def _look_at(self, channel: Channel, simulation: SimulationId, name: AgentName) -> None:
        glance = self._desk.controller.glance(simulation, name)
        if glance is None:
            channel.shown.forget(name)
        elif name in channel.shown or len(channel.shown) < AGENTS:
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


class _Stream(StreamingResponse):
    """Begins to listen when it is sent, and not before; whatever ends it, it listens no more."""

    media_type = "text/event-stream"

    def __init__(self, live: Live, simulation: SimulationId | None, last_id: str) -> None:
        super().__init__(_nothing(), headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        self._listening = live.listening(simulation, last_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._listening as listener:
            self.body_iterator = listener.messages()
            await super().__call__(scope, receive, send)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def live_routes(live: Live) -> APIRouter:
    router = APIRouter(tags=["live"])

    @router.get(
        "/admin/v1/live",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Events, until the client leaves.",
                "content": {"text/event-stream": {"example": _EXAMPLE}},
            },
            503: {"description": "There are as many listeners as there may be. None was dropped."},
        },
    )
    async def changes(
        simulation: Annotated[
            str | None,
            Query(pattern=SIMULATION_PATTERN, description="Whose agents are told; none: nobody's."),
        ] = None,
        last_event_id: Annotated[
            str | None, Header(max_length=64, description="Of the last event that came: go on after it.")
        ] = None,
    ) -> _Stream:
        """Server-sent events: a `picture` first, then a `change` each second. `overview` of a change is a JSON merge patch (RFC
        7396) of that of the picture. `field` holds a row for each agent that is new or not as it was: number, engine, state (0
        idle, 1 between two calls of an activation, 2 calling), place of its prefix, clock, moment on that clock at which its
        next call is expected, who says so, how sure it is who calls, and, if it is new, its name. Words stand in `words`, by
        their numbers; `clocks` are where each clock stands now, and how many seconds one unit of it takes. A simulation that
        is not known yet is waited for."""
        if live.is_full:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{LISTENERS} listeners are there already", limit=LISTENERS
            )
        return _Stream(live, None if simulation is None else SimulationId(simulation), last_event_id or "")

    return router

"""What a leader does: it learns what was written down, hears all members, and writes down what changes.

Its core hears nothing of calls by another way than `_handle`: entries of the stream in their order, and what this very member is told
at once, in both cases each record once.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple, Protocol

import orjson

from scalesim.proxy.core import keeping as kept_form
from scalesim.proxy.core.events import (
    CallEnded,
    CallSent,
    CallStarted,
    EdgesGiven,
    Event,
    GraphCleared,
    SimulationEnded,
    StepTicked,
)
from scalesim.proxy.core.keeping import Keeping
from scalesim.proxy.core.model import AgentName, CallId, EngineId, SimulationId
from scalesim.proxy.core.plain import Garbled

from . import records
from .changes import Changed, Whom
from .clocks import GroupClock
from .facts import Facts
from .head import Head, head_of
from .marks import START, Again, Entry, Mark, Resumed, text_of
from .senders import Running, Senders, Steps
from .store import KEEP_S, Command, StateAway, Store, kept, table_commands

log = logging.getLogger(__name__)

WAIT_S = 0.1
"""For the next entry."""
WRITE_S = 0.25
"""From one writing to the next."""
ENGINES_S = 1.0
SWEEP_S = 5.0
"""From one piece to the next of what is looked through for agents that were forgotten."""
AGAIN_S = 0.1
"""After Redis did not answer."""
_PIECE = 50
"""Agents that are written or restored between two turns of the loop."""
_FIELDS = 250
"""Of a table, in one piece."""
_COMMANDS = 128
OWN = 100_000
"""Records of this member that wait until it leads."""


class Core(Protocol):
    @property
    def keeping(self) -> Keeping: ...

    def clear(self) -> None: ...


class _Found(NamedTuple):
    """An agent as it was written down."""

    simulation: SimulationId
    agent: AgentName
    mark: Mark
    plain: object


class Leading:
    """Of one member, for as long as it lives: what it knows of one time of leading is of use for the next."""

    def __init__(
        self,
        store: Store,
        facts: Facts,
        core: Core,
        post: Callable[[Event], None],
        clock: Callable[[], float],
        group_clock: GroupClock,
        number: int,
        url: str,
        engines: Callable[[], Mapping[EngineId, Mapping[str, object]]],
        unsent: Callable[[], int],
    ) -> None:
        """`unsent`: the number of the first record of this member that is not in the stream."""
        self.senders = Senders()
        self.direct = False
        """What this member is told goes to its core at once."""
        self.token: int | None = None
        """With which this member led last."""
        self.restored_agents = 0
        self.garbled = 0
        """Values that could not be read, or that there was no room for."""
        self.problem = ""
        self._store = store
        self._facts = facts
        self._core = core
        self._post = post
        self._clock = clock
        self._group_clock = group_clock
        self._number = number
        self._url = url
        self._engines = engines
        self._unsent = unsent
        self._steps = Steps()
        self._changed = Changed()
        self._calls: dict[CallId, None] = {}
        """That began or ended since they were written down."""
        self._beside: deque[Command] = deque()
        """What is to be written besides."""
        self._read: Entry = START
        self._base = Mark()
        """All that lies before it is written down."""
        self._own: deque[tuple[int, Event]] = deque(maxlen=OWN)
        self._again: Again | None = None
        self._swept: deque[tuple[SimulationId, str]] = deque()
        self._looked_at = dict.fromkeys(("engines", "head", "sweep", "life"), -math.inf)

    def sizes(self) -> dict[str, int]:
        return {
            **self.senders.sizes(),
            **self._steps.sizes(),
            "unwritten_agents": len(self._changed),
            "unwritten_calls": len(self._calls),
            "unwritten_others": len(self._beside),
            "untold_own": len(self._own),
        }

    def told(self, number: int, event: Event) -> None:
        """This member's own record, while it leads or is about to."""
        if not self.direct:
            self._own.append((number, event))
            return
        self._hear(self._number, number, [event], None)

    async def learn(self, token: int, own_next: int) -> None:
        """Returns once all is known that the group knows. `own_next`: the number of this member's next record. Raises `StateAway`;
        to be called again then."""
        self.direct = False
        self._own.clear()
        value = await self._store.head()
        head = None if value is None else self._head(value)
        if head is None:
            self._write_all(token)
        elif (head.token, head.leader) != (self.token, self._number):  # else nobody has led since
            await self._restore(head)
        await self._catch_up(own_next)
        self.token = token

    async def run(self, token: int) -> None:
        """Hears and writes, until cancelled. Raises `NotTheLeader`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._write_on(token))

    def end(self) -> None:
        """It leads no more."""
        self.direct = False
        self._own.clear()

    def forget(self) -> None:
        """What this process knows of agents is old: another has led since, or what is written down is to be learned anew."""
        self.token = None
        self._core.clear()
        self._facts.places.clear()

    def clock_jumped(self) -> None:
        """Moments that were written down are wrong now."""
        self._everybody()
        self._facts.note_choices(self._core.keeping, self._group_clock.shift, surely=True)

    # Restoring

    def _head(self, value: bytes) -> Head | None:
        try:
            return head_of(value)
        except Garbled as exc:
            log.warning("what the group has written down cannot be used: %s", exc)
            self.garbled += 1
            return None

    async def _restore(self, head: Head) -> None:
        keys, facts = self._store.keys, self._facts
        simulations = {name: value async for name, value in self._fields(keys.learned)}
        graphs = [piece for name in simulations async for piece in self._store.graph(SimulationId(name))]
        found: list[_Found] = []
        for name in simulations:
            for key in keys.agents(SimulationId(name)):
                async for piece in self._store.whole(key):
                    found += await asyncio.to_thread(self._agents, SimulationId(name), piece)
        found.sort(key=lambda one: kept_form.used_at(one.plain))
        calls = {name: value async for name, value in self._fields(keys.calls)}

        self.forget()
        self.senders, self._changed, self._calls = Senders(), Changed(), {}
        self._beside.clear()
        into, at, shift = self._core.keeping, self._clock(), self._group_clock.shift
        try:
            adapters = facts.adapters()
            if adapters is not None:
                into.restore_adapters(adapters)
        except Garbled:
            self.garbled += 1
        for name, value in simulations.items():
            self._count(lambda: into.restore_simulation(SimulationId(name), orjson.loads(value), shift, at))  # noqa: B023
            await asyncio.sleep(0)
        for event in facts.all_events(at):
            self._post(event)
        for told_of_it in graphs:
            for record in told_of_it:
                for told in self._events(record):
                    self._post(replace(told, at=at))
                await asyncio.sleep(0)
        marks: dict[Whom, Mark] = {}
        facts.places.engines_are(facts.up())
        for place, one in enumerate(found):
            self._count(lambda: into.restore_agent(one.simulation, one.agent, one.plain, shift, at))  # noqa: B023
            if one.mark.read > head.mark.read or one.mark.told > head.mark.told:
                marks[one.simulation, one.agent] = one.mark
            engine = into.engine_of(one.simulation, one.agent)
            if engine is not None:
                facts.restored(one.simulation, one.agent, engine, into)
            if place % _PIECE == 0:
                await asyncio.sleep(0)
        self.restored_agents = len(found)
        for sender, number in head.next.items():
            self.senders.expect(sender, number, at)
        for name, value in calls.items():
            self._count(lambda: self._resume(CallId(int(name)), orjson.loads(value), at))  # noqa: B023
        self._count(lambda: (it := facts.choices()) is None or into.restore_choices(it, shift, at))
        into.restored()
        facts.places.keep_no_others()
        for name, table in facts.tables.items():
            # The last of them may have been written without a head that says so.
            for changes in await self._store.changes(name, table.version) or ():
                table.apply(changes)
        self._base, self._read, self._again = head.mark, head.mark.read, Again(head.mark, marks)

    async def _fields(self, key: str) -> AsyncIterator[tuple[str, bytes]]:
        async for piece in self._store.whole(key):
            for name, value in piece.items():
                yield name.decode("utf-8", "surrogatepass"), value

    def _agents(self, simulation: SimulationId, piece: Mapping[bytes, bytes]) -> list[_Found]:
        """In a thread: there may be very many."""
        found = []
        for name, value in piece.items():
            try:
                (ms, place), leader, told, plain = orjson.loads(value)
                mark = Mark((int(ms), int(place)), int(leader), int(told))
            except (ValueError, TypeError):
                self.garbled += 1
                continue
            found.append(_Found(simulation, AgentName(name.decode("utf-8", "surrogatepass")), mark, plain))
        return found

    def _count(self, restore: Callable[[], bool]) -> None:
        try:
            self.garbled += not restore()
        except ValueError:  # Garbled, or no JSON
            self.garbled += 1

    def _resume(self, call: CallId, plain: object, at: float) -> bool:
        into = self._core.keeping
        simulation, agent, engine, adapter = into.calls_of(plain)
        self.senders.resume(CallStarted(at, call, simulation, agent, engine, adapter), at)
        return into.restore_call(call, plain)

    async def _catch_up(self, own_next: int) -> None:
        """Reads on to the end of the stream, and to what this member had told before it came to lead."""
        while True:
            all_sent = self._unsent() >= own_next
            entries = await self._store.hear(self._read, 0.0)
            for one in entries:
                self._entry(one.entry, one.sender, one.first, one.batch)
                await asyncio.sleep(0)
            if all_sent and not entries:
                break
            if not entries:
                await asyncio.sleep(AGAIN_S / 20)  # the last of our own are on their way
        self._again = None
        for number, event in self._own:
            self._hear(self._number, number, [event], None)
        self._own.clear()
        self.direct = True

    # Hearing

    async def _listen(self) -> None:
        while True:
            try:
                entries = await self._store.hear(self._read, WAIT_S)
                self.problem = ""
            except StateAway as exc:
                self.problem = str(exc)
                await asyncio.sleep(AGAIN_S)
                continue
            for one in entries:
                self._entry(one.entry, one.sender, one.first, one.batch)
                await asyncio.sleep(0)
            for heard in self.senders.silent(self._clock()):
                self._handle(heard.event, heard.whom)

    def _entry(self, entry: Entry, sender: int, first: int, batch: bytes) -> None:
        self._read = entry
        try:
            items = records.read(batch, self._group_clock.shift)
        except Garbled as exc:
            self.senders.unread += 1
            log.debug("an entry of the stream was left out: %s", exc)
            return
        self._hear(sender, first, items, entry)

    def _hear(
        self, sender: int, first: int, items: list[Event | Running | None], entry: Entry | None
    ) -> None:
        at = self._clock()
        for heard in self.senders.entry(sender, first, items, at):
            event = heard.event
            if self._again is not None and entry is not None and heard.number:
                new = self._again.heard(event, entry, sender, heard.number, heard.whom)
                if new is None:
                    continue
                if isinstance(new, Resumed):
                    self._go_on(new.event)
                    continue
                event = new
            if isinstance(event, StepTicked) and self._steps.is_repeated(event, sender, at):
                continue
            if event.at > at:
                event = replace(event, at=at)
            self._handle(event, heard.whom)

    def _go_on(self, started: CallStarted) -> None:
        """It runs, and its agent knows that it began."""
        if not self._core.keeping.has_call(started.call):
            running = kept_form.running(started)
            self._count(lambda: self._core.keeping.restore_call(started.call, running))

    def _handle(self, event: Event, whom: Whom | None) -> None:
        edges = self._core.keeping.edges(event.simulation) if isinstance(event, EdgesGiven) else None
        self._post(event)
        self._changed.follow(event)
        if whom is not None:
            self._changed.note(whom[0], (whom[1],))
        self._facts.follow(event, self._core.keeping, whom)
        match event:
            case CallStarted(call=call) | CallSent(call=call) | CallEnded(call=call):
                self._calls[call] = None
            # Edges that the core had no room for are not kept either: a simulation may tell them again and again.
            case EdgesGiven(simulation=simulation) if self._core.keeping.edges(simulation) != edges:
                record = records.written(event, self._group_clock.shift)
                graph = self._store.keys.graph(simulation)
                self._beside += (("RPUSH", graph, records.batch([record])), *kept([graph]))
            case GraphCleared(simulation=simulation):
                self._beside.append(("DEL", self._store.keys.graph(simulation)))
            case SimulationEnded(simulation=simulation):
                self._beside += self._gone(simulation)

    def _events(self, batch: bytes) -> list[Event]:
        try:
            found = records.read(batch, self._group_clock.shift)
        except Garbled:
            self.garbled += 1
            return []
        return [one for one in found if one is not None and not isinstance(one, Running)]

    # Writing

    def _everybody(self) -> None:
        known = self._core.keeping
        self._changed.everybody({name: known.agents(name) for name in known.simulations()})

    def _write_all(self, token: int) -> None:
        """Nothing is written down, or nothing of it can be used."""
        known = self._core.keeping
        self._everybody()
        self._calls.update(dict.fromkeys(known.calls()))
        self._facts.note_all(known, self._group_clock.shift)
        for table in self._facts.tables.values():
            table.write_anew(token)
        self._base, self._read = Mark(), START

    async def _write_on(self, token: int) -> None:
        while True:
            try:
                await self.write(token)
                self.problem = ""
            except StateAway as exc:
                self.problem = str(exc)
            await asyncio.sleep(WRITE_S)

    async def write(self, token: int) -> None:
        """All that changed until now. Raises `StateAway` and `NotTheLeader`, or is cancelled: what was not written is then written by
        the next."""
        now, known, facts = self._clock(), self._core.keeping, self._facts
        mark = self._mark()
        left = len(self._changed)
        await self._write_calls(token)
        while left > 0:
            left -= _PIECE
            await self._write_agents(token)
            await self._say_so(token)
        await self._write_simulations(token)
        await self._write_beside(token)
        self._base = mark
        if self._is_time("engines", ENGINES_S, now):
            facts.note_engines(self._engines())
        facts.note_adapters(known)
        facts.note_choices(known, self._group_clock.shift)
        while facts.places.behind:
            facts.places.work()
            await asyncio.sleep(0)
        for name in facts.tables:
            await self._write_table(token, name)
        self._looked_at["head"] = now - ENGINES_S
        await self._say_so(token)
        if self._is_time("sweep", SWEEP_S, now):
            await self._sweep(token)
        if self._is_time("life", KEEP_S / 8, now):
            await self._keep_alive(token)

    async def _write_agents(self, token: int) -> None:
        agents = self._changed.take_agents(_PIECE)
        with ExitStack() as unless_written:
            unless_written.callback(self._note_again, agents)
            await self._store.write(token, self._agent_commands(agents))
            unless_written.pop_all()

    def _note_again(self, agents: list[Whom]) -> None:
        for simulation, agent in agents:
            self._changed.note(simulation, (agent,))

    async def _write_simulations(self, token: int) -> None:
        """One at a time: what was learned of one is some kilobytes."""
        keys = self._store.keys
        for name in self._changed.simulations():
            await self._put(token, [self._simulation(name), *kept([keys.learned])])
            self._changed.written(name)

    async def _write_calls(self, token: int) -> None:
        calls, self._calls = self._calls, {}
        if not calls:
            return
        with ExitStack() as unless_written:
            unless_written.callback(lambda: self._calls.update(calls))
            await self._put(token, [*self._call_commands(list(calls)), *kept([self._store.keys.calls])])
            unless_written.pop_all()

    async def _write_beside(self, token: int) -> None:
        while self._beside:
            piece = [self._beside.popleft() for _ in range(min(_COMMANDS, len(self._beside)))]
            with ExitStack() as unless_written:
                unless_written.callback(self._beside.extendleft, piece[::-1])
                await self._put(token, piece)
                unless_written.pop_all()

    async def _write_table(self, token: int, name: str) -> None:
        table = self._facts.tables[name]
        while (changes := table.take(_FIELDS)) is not None:
            commands = table_commands(self._store.keys, name, changes, anew=changes.version.number == 1)
            with ExitStack() as unless_written:
                unless_written.callback(table.put_back, changes)
                await self._store.write(token, commands)
                unless_written.pop_all()

    async def _say_so(self, token: int) -> None:
        """Often enough for others to know that somebody leads."""
        now = self._clock()
        if not self._is_time("head", ENGINES_S, now):
            return
        head = Head(
            token,
            self._number,
            self._url,
            now + self._group_clock.shift,
            self._base,
            self.senders.next_of(),
            {name: table.version for name, table in self._facts.tables.items()},
        )
        keys = self._store.keys
        # Of the stream, only what is not written down yet is of use to whoever leads next.
        trim = ("XTRIM", keys.events, "MINID", "~", text_of(self._base.read))
        await self._store.write(token, [("SET", keys.head, head.written()), *kept([keys.head]), trim])

    def _mark(self) -> Mark:
        told = self.senders.next_of().get(self._number, 1) - 1
        return Mark(self._read, self._number, told)

    def _is_time(self, what: str, every_s: float, now: float) -> bool:
        if now - self._looked_at[what] < every_s:
            return False
        self._looked_at[what] = now
        return True

    async def _put(self, token: int, commands: list[Command]) -> None:
        for start in range(0, len(commands), _COMMANDS):
            await self._store.write(token, commands[start : start + _COMMANDS])

    def _agent_commands(self, agents: list[Whom]) -> list[Command]:
        known, mark, keys = self._core.keeping, self._mark(), self._store.keys
        now, shift = self._clock(), self._group_clock.shift
        there: dict[str, list[bytes]] = {}
        gone: dict[str, list[bytes]] = {}
        for simulation, agent in agents:
            key, field = keys.shard(simulation, agent), agent.encode("utf-8", "surrogatepass")
            plain = known.agent(simulation, agent, shift, now)
            if plain is None:
                gone.setdefault(key, []).append(field)
            else:
                value = orjson.dumps([mark.read, mark.leader, mark.told, plain])
                there.setdefault(key, []).extend((field, value))
        commands: list[Command] = [("HSET", key, *parts) for key, parts in there.items()]
        commands += [("HDEL", key, *fields) for key, fields in gone.items()]
        return [*commands, *kept(list(there))]

    def _simulation(self, name: SimulationId) -> Command:
        plain = self._core.keeping.simulation(name, self._group_clock.shift)
        field = name.encode("utf-8", "surrogatepass")
        if plain is None:
            return ("HDEL", self._store.keys.learned, field)
        return ("HSET", self._store.keys.learned, field, orjson.dumps(plain))

    def _call_commands(self, calls: list[CallId]) -> list[Command]:
        key, known = self._store.keys.calls, self._core.keeping
        found: list[Command] = []
        for call in calls:
            plain = known.call(call)
            gone = plain is None
            found.append(("HDEL", key, call) if gone else ("HSET", key, call, orjson.dumps(plain)))
        return found

    def _gone(self, simulation: SimulationId) -> list[Command]:
        keys = self._store.keys
        return [("DEL", key) for key in (*keys.agents(simulation), keys.graph(simulation))]

    async def _sweep(self, token: int) -> None:
        """A piece: takes out whom the core has forgotten for want of room."""
        known, keys = self._core.keeping, self._store.keys
        if not self._swept:
            written = [SimulationId(name) async for name, _ in self._fields(keys.learned)]
            gone = [name for name in written if name not in known.simulations()]
            commands = [one for name in gone for one in (self._simulation(name), *self._gone(name))]
            await self._put(token, commands)
            self._swept.extend((name, key) for name in known.simulations() for key in keys.agents(name))
            running = {str(call) for call in known.calls()}
            ended = [name async for name, _ in self._fields(keys.calls) if name not in running]
            self._calls.update(dict.fromkeys(CallId(int(name)) for name in ended))
            return
        simulation, key = self._swept.popleft()
        agents = known.agents(simulation)
        forgotten = [name async for name, _ in self._fields(key) if name not in agents]
        self._changed.note(simulation, map(AgentName, forgotten))

    async def _keep_alive(self, token: int) -> None:
        """What has not changed for long is still needed."""
        keys, known = self._store.keys, self._core.keeping
        tables = [one for name in self._facts.tables for one in (keys.table(name), keys.log(name))]
        of_all = [one for name in known.simulations() for one in (*keys.agents(name), keys.graph(name))]
        await self._put(token, kept([keys.learned, keys.calls, *tables, *of_all]))

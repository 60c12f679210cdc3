"""Whom to expect on one engine, and when: so that a plan looks at the nearest only, however many agents are known.

An estimate is a moment on a clock, so the passing of time turns nothing around: agents lie in the order of their
moments, for each simulation and clock by itself, and are placed anew only when something was learned of them. Those who
are overdue for long lie apart, because they are far.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence, Set
from heapq import merge, nlargest
from itertools import islice
from operator import itemgetter

from .agent import Agent
from .chunks import SortedChunks
from .engine import Engine
from .estimate import Estimate, Estimator, distance, next_turn_s, seconds_per_step, turns_s
from .model import Clock, Mode, Source
from .simulation import Simulation

Pieces = Generator[int, None, None]
"""Work in pieces: yields how many agents were looked at since it yielded last."""

AT_ONCE = 16
"""Agents that are looked at between two yields: what they cost is small beside a millisecond."""
_CALLED = 256
"""Agents that began or ended a call, of whom one plan takes note."""
_LAPSES = 256
"""Agents of one simulation that one plan finds overdue."""

_Entry = tuple[float, float, float, int, Agent, Estimate]
"""(place, the turn among those of the same place, less for whoever called later, a number of its own so that no two are
equal, the agent, what is known)."""


_Change = tuple[float, int, Agent]
"""(when something else is known of the agent, a number of its own, the agent)."""

Expected = tuple[float, float, float, int, float, float, Agent, Estimate]
"""An agent that is not in an activation: (distance in seconds, to compare what is known on different clocks; three things
as in an entry; distance on the clock of the estimate, in turns the same seconds; by how much of it the passing of
time alone may bring it nearer; the agent; what is known). Plain tuples, because plans look at thousands of them."""


class _Group:
    """Of one simulation, on one clock."""

    __slots__ = ("ahead", "changing", "clock", "foreseen", "overdue", "simulation")

    def __init__(self, simulation: Simulation, clock: Clock) -> None:
        self.simulation = simulation
        self.clock = clock
        self.ahead: SortedChunks[_Entry] = SortedChunks()
        """By the moment, those included that are so little overdue that they count as near."""
        self.overdue: SortedChunks[_Entry] = SortedChunks()
        """By the distance at moment 0 of the clock, with which it grows."""
        self.changing: SortedChunks[_Change] = SortedChunks()
        """Those of them of whom something else is known once that moment is over, by it."""
        self.foreseen: SortedChunks[_Change] = SortedChunks()
        """The same, of whom gaps tell: that it is over is foreseen."""

    def add(self, chunks: SortedChunks[_Entry], entry: _Entry) -> None:
        chunks.add(entry)
        if entry[5].until < math.inf:
            self._changing(entry).add((entry[5].until, entry[3], entry[4]))

    def remove(self, chunks: SortedChunks[_Entry], entry: _Entry) -> None:
        chunks.remove(entry)
        if entry[5].until < math.inf:
            self._changing(entry).remove((entry[5].until, entry[3], entry[4]))

    def _changing(self, entry: _Entry) -> SortedChunks[_Change]:
        return self.foreseen if entry[5].source is Source.GAP else self.changing

    def changed(self, at: float, limit: int) -> Iterator[Agent]:
        """At most so many of each kind of whom something else is known now."""
        simulation, clock = self.simulation, self.clock
        for changing, now in (
            (self.changing, simulation.now(clock, at)),
            (self.foreseen, simulation.foreseen(clock, at)),
        ):
            for until, _, agent in islice(changing, limit):
                if until > now:
                    break
                yield agent

    def lapsed(self, at: float, limit: int) -> Iterator[Agent]:
        """At most so many that have become overdue."""
        now = self.simulation.now(self.clock, at)
        for moment, _, _, _, agent, estimate in islice(self.ahead, limit):
            if moment >= now or distance(estimate, self.simulation, at) == 0.0:
                break
            yield agent

    def nearest(self, at: float) -> Iterator[Expected]:
        """All of them, nearest first. It may not be changed meanwhile."""
        simulation, clock = self.simulation, self.clock
        now = simulation.now(clock, at)
        match clock:
            case Clock.STEPS | Clock.BURSTS:
                pace, shrinks = seconds_per_step(simulation, clock), 0.0
            case Clock.SECONDS:
                pace, shrinks = 1.0, math.inf
            case Clock.TURNS:
                return self._in_turns(at)
        if len(self.overdue):
            return merge(self._ahead(now, pace, shrinks), self._overdue(now, pace))
        return self._ahead(now, pace, shrinks)

    def farthest(self, at: float, limit: int) -> Iterator[tuple[float, Agent]]:
        """At most so many of those to come, and as many of the overdue: each with its distance in seconds, in no order."""
        simulation, clock = self.simulation, self.clock
        now = simulation.now(clock, at)
        first_s = next_turn_s(simulation, at) if clock is Clock.TURNS else 0.0
        pace = 1.0 if clock is Clock.SECONDS else seconds_per_step(simulation, clock)
        for chunks, sign in ((self.ahead, -1.0), (self.overdue, 1.0)):
            for value, _, _, _, agent, _ in islice(reversed(chunks), limit):
                away = max(0.0, value + sign * now)
                if clock is Clock.TURNS:
                    yield first_s + turns_s(away, simulation), agent
                else:
                    yield away * pace, agent

    def _ahead(self, now: float, pace: float, shrinks: float) -> Iterator[Expected]:
        for value, turn, used, number, agent, estimate in self.ahead:
            away = value - now if value > now else 0.0
            yield away * pace, turn, used, number, away, shrinks, agent, estimate

    def _overdue(self, now: float, pace: float) -> Iterator[Expected]:
        for value, turn, used, number, agent, estimate in self.overdue:
            yield (value + now) * pace, turn, used, number, value + now, 0.0, agent, estimate

    def _in_turns(self, at: float) -> Iterator[Expected]:
        simulation = self.simulation
        now, first_s = simulation.turns.turn, next_turn_s(simulation, at)
        # In turns the pace is none of the group's: seconds never fall as turns grow, so the order is the same.
        for turns, turn, used, number, _, _, agent, estimate in merge(
            self._ahead(now, 1.0, 0.0), self._overdue(now, 1.0)
        ):
            seconds = first_s + turns_s(turns, simulation)
            yield seconds, turn, used, number, seconds, first_s, agent, estimate


class Agenda:
    """Of one engine. Placing an agent costs the logarithm of their number, looking at the nearest their own."""

    __slots__ = ("_chained", "_epochs", "_groups", "_number", "_places", "_waiting", "active")

    def __init__(self) -> None:
        self.active: dict[Agent, None] = {}
        """In an activation that goes on."""
        self._groups: dict[tuple[Simulation, Clock], _Group] = {}
        self._places: dict[Agent, tuple[_Group, SortedChunks[_Entry], _Entry] | None] = {}
        """None: in an activation. So that hardly anything is ever deleted from it: to whoever adds as much as is deleted, it
        would be copied as a whole again and again."""
        self._number = 0
        self._waiting: dict[Simulation | None, Iterator[Agent]] = {}
        """Agents to be placed anew: those of whom something was told (None), and all of a simulation of which so much was
        learned that nobody may stay where he is."""
        self._epochs: dict[Simulation, int] = {}
        """Of simulations, as they were when all of their agents were last queued."""
        self._chained: dict[Simulation, list[Agent]] = {}
        """Who was expected by succession at the last plan: others are expected after each beginning."""

    def __len__(self) -> int:
        return len(self._places)

    def is_behind(self, engine: Engine) -> bool:
        """Whether `catch_up` has anything to do."""
        if self._waiting or engine.called or engine.noted:
            return True
        epochs = self._epochs
        return any(epochs.get(one, one.epoch) != one.epoch for one in engine.simulations)

    # Placing

    def bring_up(self, engine: Engine, estimate: Estimator, at: float) -> Pieces:
        """What every plan must know: who calls and who stopped, and what the passing of time has changed."""
        # The first of them: where there are more, they must not hold the plan up, and are known by the next one.
        called = list(islice(engine.called, _CALLED))
        for agent in called:
            del engine.called[agent]
        yield from self._place_all([*called, *self._successors(engine)], engine, estimate, at)
        for group in list(self._groups.values()):
            # What is left of them waits for the next plan: who is first in the order of moments is not the nearest.
            yield from self._place_all(list(group.lapsed(at, _LAPSES)), engine, estimate, at)
            yield from self._place_all(list(group.changed(at, _LAPSES)), engine, estimate, at)

    def catch_up(self, engine: Engine, estimate: Estimator, at: float) -> Pieces:
        """All else that was told or learned."""
        self._queue_simulations(engine)
        called, engine.called = engine.called, {}
        yield from self._place_all(called, engine, estimate, at)
        while self._waiting or engine.noted:
            if engine.noted and None not in self._waiting:
                self._waiting[None] = iter(engine.noted)
                engine.noted = {}
            first, agents = next(iter(self._waiting.items()))
            yield from self._place_all(agents, engine, estimate, at)
            del self._waiting[first]

    def _queue_simulations(self, engine: Engine) -> None:
        for simulation in engine.simulations:
            epoch = self._epochs.setdefault(simulation, simulation.epoch)
            if epoch != simulation.epoch:
                self._epochs[simulation] = simulation.epoch
                # All of it that are here are among both. A copy: who becomes known later, comes or goes is noted for that.
                known, here = simulation.agents, engine.agents
                self._waiting[simulation] = iter(
                    list(here) if len(here) < len(known) else list(known.values())
                )
        for gone in [one for one in self._epochs if one not in engine.simulations]:
            del self._epochs[gone]
            self._waiting.pop(gone, None)
            self._chained.pop(gone, None)

    def _successors(self, engine: Engine) -> Iterator[Agent]:
        """Who was and who is next by succession."""
        for simulation in engine.simulations:
            yield from self._chained.pop(simulation, ())
            names = simulation.turns.next_up()
            if names:
                known = simulation.agents
                agents = self._chained[simulation] = [known[name] for name in names if name in known]
                yield from agents

    def _place_all(self, agents: Iterable[Agent], engine: Engine, estimate: Estimator, at: float) -> Pieces:
        done = 0
        for agent in agents:
            self._place(agent, engine, estimate, at)
            done += 1
            if done == AT_ONCE:
                yield done
                done = 0
        yield done + 1

    def _place(self, agent: Agent, engine: Engine, estimate: Estimator, at: float) -> None:
        is_here = not agent.gone and agent.engine is engine
        if is_here and agent.goes_on(at):
            self._leave(agent)
            self.active[agent] = self._places[agent] = None
            return
        known = estimate(agent, at) if is_here else None
        if known is None or known.moment.value == math.inf:
            self._remove(agent)
            return
        simulation, clock, value = agent.simulation, known.moment.clock, known.moment.value
        now = simulation.now(clock, at)
        overdue = distance(known, simulation, at) if value < now else 0.0
        had = self._places.get(agent)
        if had is not None:
            group, chunks, entry = had
            # Most of those of whom something may be known anew: they keep their place, and leave nothing to be collected.
            if (
                entry[5] == known
                and entry[2] == -agent.used_at
                and (chunks is group.overdue) is (overdue > 0.0)
            ):
                return
        self._leave(agent)
        at_home = self._groups.get((simulation, clock))
        if at_home is None:
            at_home = self._groups[simulation, clock] = _Group(simulation, clock)
        group = at_home
        self._number += 1
        place = overdue - now if overdue else value
        entry = place, known.turn, -agent.used_at, self._number, agent, known
        chunks = group.overdue if overdue else group.ahead
        group.add(chunks, entry)
        self._places[agent] = group, chunks, entry

    def _remove(self, agent: Agent) -> None:
        self._leave(agent)
        self._places.pop(agent, None)

    def _leave(self, agent: Agent) -> None:
        """Its place, for another one."""
        self.active.pop(agent, None)
        place = self._places.get(agent)
        if place is not None:
            group, chunks, entry = place
            group.remove(chunks, entry)
            if not group.ahead and not group.overdue:
                del self._groups[group.simulation, group.clock]

    # Reading

    def farthest(self, modes: Set[Mode], at: float, limit: int) -> list[Agent]:
        """At most `limit` that are not in an activation, of simulations in these modes that do not rest, the farthest first. As it was
        when plans last looked."""
        groups = [
            group
            for (simulation, _), group in self._groups.items()
            if simulation.mode in modes and not simulation.resting
        ]
        found = (one for group in groups for one in group.farthest(at, limit))
        return [agent for _, agent in nlargest(limit, found, key=itemgetter(0))]

    def nearest(self, modes: Set[Mode], at: float, limit: int) -> Iterator[Expected]:
        """At most `limit` that are not in an activation, of simulations in these modes that do not rest. Each simulation's
        nearest have a place, however near those of others are. Nothing may be placed meanwhile."""
        groups: dict[Simulation, list[Iterator[Expected]]] = {}
        for (simulation, _), group in self._groups.items():
            if simulation.mode in modes and not simulation.resting:
                groups.setdefault(simulation, []).append(group.nearest(at))
        each = [merge(*one) if len(one) > 1 else one[0] for one in groups.values()]
        return islice(each[0], limit) if len(each) == 1 else _shared_out(each, limit)


def _shared_out(each: Sequence[Iterator[Expected]], limit: int) -> Iterator[Expected]:
    share = limit // max(1, len(each))
    for one in each:
        taken = list(islice(one, share))
        limit -= len(taken)
        yield from taken
    yield from islice(merge(*each), limit)

"""Who is sent next to an engine that may run so many calls at once: a bounded queue, fair among simulations.

A place that becomes free goes to the simulation that has the fewest calls running for its weight; of several, to the one
whose turn it is (start-time fair queueing). So one that sends a thousand calls at once, or calls that run for minutes, takes
no more than its share of the places while others wait; and turns alone decide where an engine runs one call at a time.
Calls of one simulation are sent in the order in which they came. When the queue is full, who comes takes the place of
the last call of the simulation with the most waiting, if it has fewer itself; else it is refused.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

_SHORTEST_RETRY_S = 1.0
_LONGEST_RETRY_S = 120.0
"""OpenAI's clients do not wait for longer: they give up."""
_SMOOTHING = 0.1
"""How much of the mean time between two ends is the latest one's."""
_IDLE_KEPT = 1024


class Place(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    DISPLACED = "displaced"
    """The queue was full, and others had waited for less."""
    DONE = "done"


@dataclass(slots=True, eq=False)
class Ticket:
    """Of one call. To be given back by `done`, whatever happens."""

    simulation: str
    place: Place
    came_at: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The queue is full, and the simulation has its share of it."""

    retry_after_s: float


@dataclass(slots=True, eq=False)
class _Line:
    """Of one simulation."""

    simulation: str
    weight: float
    waiting: OrderedDict[Ticket, None] = field(default_factory=OrderedDict)
    running: int = 0
    turn: float = 0.0
    """When its next call is due, in the time of the queue: one call of weight 1 takes 1."""
    version: int = 0
    """Entries of the heap of another version no longer count."""


class FairQueue:
    """In front of one engine. Times are of one clock, in seconds; every operation takes O(log n) at most."""

    def __init__(
        self, *, capacity: int, max_waiting: int, weight: Callable[[str], float] = lambda simulation: 1.0
    ) -> None:
        """`capacity` is how many calls may run at once. `weight` is above 0, and asked once while a simulation has calls."""
        self._capacity = capacity
        self._max_waiting = max_waiting
        self._weight = weight
        self._lines: dict[str, _Line] = {}
        # Those without calls whose next turn is still to come: who comes back soon is not put first for it.
        self._idle: OrderedDict[str, float] = OrderedDict()
        self._ready: list[tuple[float, float, int, _Line, int]] = []
        self._with_waiting = 0
        self._order = itertools.count()
        self._by_length: dict[int, dict[_Line, None]] = {}
        self._longest = 0
        self._waiting = 0
        self._running = 0
        self._now = 0.0
        self._pace = _Pace()

    def limit(self, max_waiting: int) -> None:
        """Of those that come from now on. Whoever waits goes on waiting."""
        self._max_waiting = max_waiting

    def sizes(self) -> dict[str, int]:
        """How much is held right now."""
        return {
            "queue_waiting": self._waiting,
            "queue_running": self._running,
            "queue_simulations": len(self._lines) + len(self._idle),
        }

    def resize(self, capacity: int) -> None:
        """What runs goes on, also if it is more than that. Call `next` afterwards."""
        self._capacity = capacity

    def come(self, simulation: str, at: float) -> tuple[Ticket, Ticket | None] | Refused:
        """A ticket that is running or waiting, and the one that had to make room for it, which is done."""
        if not self._waiting and self._running < self._capacity:
            line = self._line(simulation)
            ticket = Ticket(simulation, Place.RUNNING, at)
            self._start(line)
            return ticket, None
        displaced = None
        if self._waiting >= self._max_waiting:
            displaced = self._make_room(simulation)
            if displaced is None:
                return Refused(self.retry_after_s(simulation, at))
        line = self._line(simulation)
        ticket = Ticket(simulation, Place.WAITING, at)
        if not self._waiting:
            self._pace.begin(at)
        line.waiting[ticket] = None
        self._lengthened(line)
        if len(line.waiting) == 1:
            self._with_waiting += 1
            line.turn = max(line.turn, self._now)
            self._push(line)
        return ticket, displaced

    def next(self, at: float) -> Ticket | None:
        """The ticket that has begun to run by this, if there is a place and one waits. To be called until there is none."""
        if not self._waiting or self._running >= self._capacity:
            return None
        while True:
            _, _, _, line, version = heapq.heappop(self._ready)
            if version == line.version and line.waiting:
                break
        ticket, _ = line.waiting.popitem(last=False)
        self._shortened(line)
        if not line.waiting:
            self._with_waiting -= 1
        ticket.place = Place.RUNNING
        self._start(line)
        return ticket

    def done(self, ticket: Ticket, at: float) -> None:
        """The call has ended, or nobody waits for its place any more. Call `next` afterwards."""
        place, ticket.place = ticket.place, Place.DONE
        match place:
            case Place.RUNNING:
                line = self._lines[ticket.simulation]
                line.running -= 1
                self._running -= 1
                if self._waiting:
                    self._pace.ended(at)
                if line.waiting:
                    self._push(line)
                self._forget_if_idle(line)
            case Place.WAITING:
                self._take_out(self._lines[ticket.simulation], ticket)
            case Place.DISPLACED | Place.DONE:
                pass

    def retry_after_s(self, simulation: str, at: float) -> float:
        """About how long until one more call of it would be sent, by the rate at which calls end."""
        own = self._lines.get(simulation)
        own_waiting = len(own.waiting) if own is not None else 0
        sharing = self._with_waiting + (own_waiting == 0)
        ends = min(self._waiting + 1, (own_waiting + 1) * sharing)
        return min(_LONGEST_RETRY_S, max(_SHORTEST_RETRY_S, ends * self._pace.interval_s(at)))

    def _line(self, simulation: str) -> _Line:
        line = self._lines.get(simulation)
        if line is None:
            line = self._lines[simulation] = _Line(simulation, self._weight(simulation))
            line.turn = max(self._now, self._idle.pop(simulation, 0.0))
        return line

    def _start(self, line: _Line) -> None:
        self._running += 1
        line.running += 1
        # What was due long ago is not made up for: it would then keep others from their turns.
        self._now = max(self._now, line.turn)
        line.turn = self._now + 1.0 / line.weight
        if line.waiting:
            self._push(line)

    def _make_room(self, simulation: str) -> Ticket | None:
        own = self._lines.get(simulation)
        own_waiting = len(own.waiting) if own is not None else 0
        if own_waiting + 1 >= self._longest:
            return None
        lines = self._by_length[self._longest]
        line, _ = lines.popitem()  # unlike a look at the last one, this never passes by what was deleted
        lines[line] = None
        last = next(reversed(line.waiting))
        self._take_out(line, last)
        last.place = Place.DISPLACED
        return last

    def _take_out(self, line: _Line, ticket: Ticket) -> None:
        del line.waiting[ticket]
        self._shortened(line)
        if not line.waiting:
            self._with_waiting -= 1
            line.version += 1
            self._tidy()
            self._forget_if_idle(line)

    def _push(self, line: _Line) -> None:
        line.version += 1
        entry = (line.running / line.weight, line.turn, next(self._order), line, line.version)
        heapq.heappush(self._ready, entry)
        self._tidy()

    def _tidy(self) -> None:
        # One entry of each line counts. The others cost nothing until there are more of them.
        if len(self._ready) > 2 * self._with_waiting + 64:
            self._ready = [one for one in self._ready if one[4] == one[3].version and one[3].waiting]
            heapq.heapify(self._ready)

    def _lengthened(self, line: _Line) -> None:
        self._waiting += 1
        length = len(line.waiting)
        if length > 1:
            self._leave_length(line, length - 1)
        self._by_length.setdefault(length, {})[line] = None
        self._longest = max(self._longest, length)

    def _shortened(self, line: _Line) -> None:
        self._waiting -= 1
        length = len(line.waiting)
        self._leave_length(line, length + 1)
        if length:
            self._by_length.setdefault(length, {})[line] = None
        if self._longest == length + 1 and length + 1 not in self._by_length:
            self._longest = length  # it is there itself, or none is

    def _leave_length(self, line: _Line, length: int) -> None:
        lines = self._by_length[length]
        del lines[line]
        if not lines:
            del self._by_length[length]

    def _forget_if_idle(self, line: _Line) -> None:
        if line.waiting or line.running:
            return
        line.version += 1
        del self._lines[line.simulation]
        if not self._lines:
            self._idle.clear()
            self._ready.clear()
            self._now = 0.0
            return
        if line.turn > self._now:
            self._idle[line.simulation] = line.turn
            if len(self._idle) > _IDLE_KEPT:
                self._idle.popitem(last=False)


@dataclass(slots=True)
class _Pace:
    """How often calls end while others wait."""

    mean_s: float = math.nan
    since: float = 0.0

    def begin(self, at: float) -> None:
        """Somebody waits again: the time before says nothing."""
        self.since = at

    def ended(self, at: float) -> None:
        interval_s = max(0.0, at - self.since)
        self.since = at
        if math.isnan(self.mean_s):
            self.mean_s = interval_s
        else:
            self.mean_s += _SMOOTHING * (interval_s - self.mean_s)

    def interval_s(self, at: float) -> float:
        """An engine that stands still is not told by what it did before."""
        so_far_s = max(0.0, at - self.since)
        return so_far_s if math.isnan(self.mean_s) else max(self.mean_s, so_far_s)

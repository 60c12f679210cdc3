"""The load queue of one engine: one over all kinds of memory, nearest first.

Every plan replaces what waits in it. What flies is bounded in number and bytes; a nearer load may have a farther one
stopped. Whatever is started ends with its own `Settled`, and only then does it count as ended.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from copy import copy
from dataclasses import dataclass, replace
from itertools import islice

from .actions import Load, StopLoad
from .flights import Flight, Lane, Rest
from .kinds import Way
from .model import EngineId, LoadResult, LoadState, MemoryId, MemoryReport
from .prefetch import Want

MAX_IN_FLIGHT = 4
MAX_BYTES_IN_FLIGHT = 512 << 20
TABLE_LIMIT = 4096
"""Of loads that wait, and of memories whose loads failed. More than that many are not loaded before the next plan."""

_RETRY_AFTER_S = 0.5
_FAILURE_LIMIT = 3
_LOOK_AGAIN_S = 1.0
"""The engine's next report shows by then what it holds: asked sooner, it could only say the same again."""
_PAUSE_S = 0.25
"""After the engine ended a load by itself: something there is more urgent, or nearer. That may be over soon."""
_NO_ROOM_LIMIT_S = 1.0
"""Of the waits after refusals for want of room, which double: a device may be full for long."""
_REPORTS_OF_END = 2
"""Reports in a row that show a load's memory whole, after which its acknowledgement is taken to be lost. The first of
them may have been asked for before the load was."""
_LONGEST_S = 600.0
"""For a load that is of use at any time."""


@dataclass(slots=True)
class LoadCounters:
    """Since the proxy's start."""

    started: int = 0
    loaded: int = 0
    """Ended usable, whether or not anything had to be moved."""
    stopped: int = 0
    failed: int = 0
    refused: int = 0
    """There was no copy, or no room."""
    moved_bytes: int = 0


class LoadQueue:
    def __init__(
        self,
        engine: EngineId,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_bytes: int = MAX_BYTES_IN_FLIGHT,
    ) -> None:
        """At most so many copies fly at once, of so many bytes (a single one may be larger), and one recomputation."""
        self.counters = LoadCounters()
        self._engine = engine
        self._max_in_flight = max_in_flight
        self._max_bytes = max_bytes
        self._plans = 0
        self._waiting: tuple[Want, ...] = ()
        """Wanted, and not in flight. Nearest first."""
        self._wanted: frozenset[MemoryId] = frozenset()
        self._held: dict[Way, float] = {}
        """The nearest that the last plan could not start for want of room in its lane."""
        self._flights: dict[MemoryId, Flight] = {}
        self._stops: dict[MemoryId, StopLoad] = {}
        self._abandoned: deque[Load | StopLoad] = deque(maxlen=64)
        """In flight when the engine was lost, or over by its reports. Their ends may come later and look like those of new
        ones."""
        self._rests: dict[MemoryId, Rest] = {}
        self._elsewhere: frozenset[MemoryId] = frozenset()
        """On their way by the engine's last report, and not on our behalf as far as we know."""
        self._wake_at = math.inf

    def plan(
        self, wants: Sequence[Want], at: float, *, idle: bool, preempt: bool
    ) -> tuple[list[Load | StopLoad], bool]:
        """Replaces the queue by `wants` (of all pools); what to do now, and whether that is all: False if something has
        to wait for what is in flight. What flies and is not among `wants` is stopped.

        `idle`: the engine has nothing else to do. `preempt`: a nearer load may have a farther one stopped.
        """
        self._plans += 1
        wanted = self._take_over(wants, at)
        stops = [
            self._stop(flight)
            for memory, flight in self._flights.items()
            if not flight.stopping and (memory not in wanted or (flight.way is Way.RECOMPUTE and not idle))
        ]
        starts: list[Load] = []
        complete = True
        for way in Way:
            ready: list[Want] = []
            for want in self._waiting:
                if want.way is way and self._may_start(want, at, idle):
                    if want.memory in self._stops:
                        complete = False  # or the stop might reach the new load instead of the old one
                    else:
                        ready.append(want)
            more_stops, more_starts = self._fill(way, ready, at, preempt)
            stops += more_stops
            starts += more_starts
            complete = complete and way not in self._held
        self._waiting = tuple(want for want in self._waiting if want.memory not in self._flights)
        # What is wanted again while it is being stopped waits for its end.
        stopping = any(flight.stopping and memory in wanted for memory, flight in self._flights.items())
        return [*stops, *starts], complete and not stopping

    def copied(self) -> LoadQueue:
        """One with which may be planned what is not to be done."""
        other = copy(self)
        other.counters = replace(self.counters)
        other._flights = {memory: replace(flight) for memory, flight in self._flights.items()}
        other._stops = dict(self._stops)
        return other

    def settle(
        self, action: Load | StopLoad, error: str | None, result: LoadResult | None, at: float
    ) -> bool:
        """True if it was one of ours in flight. Others (from before the engine was lost) say nothing of its present."""
        for number, lost in enumerate(self._abandoned):
            if lost is action:
                del self._abandoned[number]
                return False
        if isinstance(action, StopLoad):
            if self._stops.get(action.memory) != action:
                return False
            # Failed or not, the load ends with its own `Settled`: it has a deadline. The next plan may stop it again.
            del self._stops[action.memory]
            flying = self._flights.get(action.memory)
            if error is not None and flying is not None:
                flying.stopping = False
            return True
        flight = self._flights.get(action.memory)
        if flight is None or flight.load != action:
            return False
        del self._flights[action.memory]
        rest = self._ended(flight, error, result, at)
        if action.memory in self._wanted and not rest.for_good:
            self._wake_at = min(self._wake_at, max(at, rest.until))
        return True

    def renew(self, memory: MemoryId) -> None:
        """Its agent called, or it was registered anew: what failed or was absent may be tried again, though not before
        the present wait is over, or each call of many agents would repeat the failure of what they share."""
        rest = self._rests.get(memory)
        if rest is not None:
            rest.failures, rest.refusals, rest.for_good = 0, 0, False

    def has_given_up(self, memory: MemoryId) -> bool:
        """Whether it is not loaded before it is renewed: no room is to be kept for it."""
        rest = self._rests.get(memory)
        return rest is not None and rest.for_good

    def was_refused(self, memory: MemoryId) -> bool:
        """Whether its last load failed or found no copy or no room, and no call used it since."""
        rest = self._rests.get(memory)
        return rest is not None and (rest.for_good or rest.failures > 0 or rest.refusals > 0)

    def is_wanted(self, memory: MemoryId) -> bool:
        """By the last plan."""
        return memory in self._wanted

    def is_coming(self, memory: MemoryId) -> bool:
        """Whether it is on its way, on whose behalf ever, or waits for its turn."""
        if memory in self._flights or memory in self._elsewhere:
            return True
        return memory in self._wanted and not self.was_refused(memory)

    def heal(
        self, loading: AbstractSet[MemoryId], memories: Mapping[MemoryId, MemoryReport], at: float
    ) -> bool:
        """Takes over what the engine reports to be on its way, and to have. True if a plan may start something that it
        could not.

        What we have in flight is left to its own end, as the report may be from before it; unless reports go on showing
        that it is over. An answer that comes after all then says nothing.
        """
        ended = False
        for memory, flight in list(self._flights.items()):
            known = memories.get(memory)
            # What is computed again is never missing to the engine: it does not know that there was more.
            whole = known is not None and known.device_bytes > 0 and not known.missing_bytes
            is_over = whole and memory not in loading and flight.way is Way.COPY
            flight.seen_whole = flight.seen_whole + 1 if is_over else 0
            if flight.seen_whole >= _REPORTS_OF_END:
                del self._flights[memory]
                self._abandoned.append(flight.load)
                self._ended(flight, None, None, at)
                ended = True
        before = self._elsewhere
        self._elsewhere = frozenset(islice(loading - self._flights.keys(), TABLE_LIMIT))
        return ended or not before <= self._elsewhere

    def forget(self) -> None:
        """The engine started anew or cannot be reached: nothing in flight counts. To what flew it is a failure: a load
        on which an engine dies would otherwise be its end each time."""
        self._abandoned.extend(self.in_flight)
        failures = {memory: rest.failures for memory, rest in self._rests.items() if rest.failures}
        for memory in self._flights:
            failures[memory] = failures.pop(memory, 0) + 1
        kept = islice(reversed(failures.items()), TABLE_LIMIT)
        self._rests = {
            memory: Rest(failures=count, for_good=count >= _FAILURE_LIMIT)
            for memory, count in reversed(list(kept))
        }
        self._flights.clear()
        self._stops.clear()
        self._waiting, self._wanted, self._held = (), frozenset(), {}
        self._elsewhere = frozenset()
        self._wake_at = math.inf

    @property
    def in_flight(self) -> tuple[Load | StopLoad, ...]:
        """What was asked for and is not settled yet."""
        return (*(flight.load for flight in self._flights.values()), *self._stops.values())

    @property
    def loading(self) -> frozenset[MemoryId]:
        """Whose load is in flight."""
        return frozenset(self._flights)

    def size_bytes(self, memory: MemoryId) -> int:
        """What its load in flight is to move; 0 if there is none."""
        flight = self._flights.get(memory)
        return 0 if flight is None else flight.size_bytes

    @property
    def in_flight_bytes(self) -> int:
        """Of the copies in flight."""
        return self._lane(Way.COPY).bytes

    @property
    def wake_at(self) -> float:
        """When something that waits for time alone may start: plan again then. Inf: nothing does."""
        return self._wake_at

    def sizes(self) -> dict[str, int]:
        """How full its tables are, by their names."""
        return {
            "loads_waiting": len(self._waiting),
            "loads_in_flight": len(self._flights),
            "loads_resting": len(self._rests),
            "loads_elsewhere": len(self._elsewhere),
        }

    def check(self) -> None:
        """Raises `AssertionError` if an invariant is broken."""
        for way in Way:
            assert self._lane(way).within(), "bounded in number and bytes"
            begun = [flight.distance for flight in self._flights.values() if _is_of(flight, way, self._plans)]
            assert max(begun, default=0.0) <= self._held.get(way, math.inf), "the nearest starts first"
        waiting = [want.memory for want in self._waiting]
        assert len(set(waiting)) == len(waiting) <= TABLE_LIMIT, "queued once"
        assert self._flights.keys().isdisjoint(waiting), "one load per memory"
        distances = [want.distance for want in self._waiting]
        assert distances == sorted(distances), "nearest first"
        assert len(self._rests) <= TABLE_LIMIT
        for memory in self._stops.keys() & self._flights.keys():
            assert self._flights[memory].stopping, "what is being stopped was not started after"

    def _take_over(self, wants: Sequence[Want], at: float) -> AbstractSet[MemoryId]:
        """What is wanted from now on. Fills the queue with what of it does not fly."""
        wanted: dict[MemoryId, Want] = {}
        for want in sorted(wants, key=lambda want: (want.distance, want.deadline, want.memory)):
            if want.deadline > at:
                wanted.setdefault(want.memory, want)
        for memory, flight in self._flights.items():
            if memory in wanted:
                flight.distance = wanted[memory].distance
        waits = (want for memory, want in wanted.items() if memory not in self._flights)
        self._waiting = tuple(islice(waits, TABLE_LIMIT))
        self._wanted = frozenset(wanted)
        self._held = {}
        rests = (self._rests.get(want.memory) for want in self._waiting)
        ends = (rest.until for rest in rests if rest is not None and not rest.for_good)
        self._wake_at = min((until for until in ends if until > at), default=math.inf)
        return self._wanted

    def _may_start(self, want: Want, at: float, idle: bool) -> bool:
        """As far as it does not depend on what is in flight."""
        rest = self._rests.get(want.memory)
        rested = rest is None or (rest.until <= at and not rest.for_good)
        return rested and want.memory not in self._elsewhere and (idle or want.way is Way.COPY)

    def _fill(
        self, way: Way, ready: Sequence[Want], at: float, preempt: bool
    ) -> tuple[list[StopLoad], list[Load]]:
        """Starts what fits. From the first that does not fit on, room is only kept or made, so that none of them
        waits behind a farther one."""
        stops: list[StopLoad] = []
        starts: list[Load] = []
        now, soon = self._lane(way), self._lane(way, staying=True)
        for want in ready:
            if way not in self._held and now.fits(want.size_bytes):
                starts.append(self._start(want, at))
                now.add(want.size_bytes)
            else:
                self._held.setdefault(way, want.distance)
                if not soon.fits(want.size_bytes):
                    given = self._give(way, want, soon) if preempt else []
                    if not given:
                        break
                    stops += map(self._stop, given)
            soon.add(want.size_bytes)
        return stops, starts

    def _give(self, way: Way, want: Want, soon: Lane) -> list[Flight]:
        """The farthest flights whose end makes room for it, all of them farther; none if that is not enough. Takes
        farther ones out of `soon`, of which nothing more is asked if that was in vain."""
        flights = (flight for flight in self._flights.values() if flight.way is way and not flight.stopping)
        farther = [flight for flight in flights if flight.distance > want.distance]
        farther.sort(key=lambda flight: (-flight.distance, flight.load.memory))
        for number, flight in enumerate(farther, 1):
            soon.count -= 1
            soon.bytes -= flight.size_bytes
            if soon.fits(want.size_bytes):
                return farther[:number]
        return []

    def _lane(self, way: Way, staying: bool = False) -> Lane:
        """With what flies; `staying`: without what is being stopped."""
        lane = Lane(self._max_in_flight, self._max_bytes) if way is Way.COPY else Lane(1, math.inf)
        for flight in self._flights.values():
            if flight.way is way and not (staying and flight.stopping):
                lane.add(flight.size_bytes)
        return lane

    def _start(self, want: Want, at: float) -> Load:
        within_s = min(want.deadline - at, _LONGEST_S)
        load = Load(self._engine, want.memory, want.distance, within_s, want.way is Way.RECOMPUTE)
        self._flights[want.memory] = Flight(load, want.way, want.size_bytes, want.distance, self._plans)
        self.counters.started += 1
        return load

    def _stop(self, flight: Flight) -> StopLoad:
        flight.stopping = True
        stop = StopLoad(self._engine, flight.load.memory, flight.load.recompute)
        self._stops[stop.memory] = stop
        return stop

    def _ended(self, flight: Flight, error: str | None, result: LoadResult | None, at: float) -> Rest:
        memory, counters = flight.load.memory, self.counters
        rest = self._rests.pop(memory, None) or Rest()
        state = LoadState.LOADED if result is None else result.state
        counters.moved_bytes += 0 if result is None else result.moved_bytes
        if error is not None:
            counters.failed += 1
            rest.failures += 1
            rest.until = at + _RETRY_AFTER_S * 2.0 ** (rest.failures - 1)
            rest.for_good = rest.failures >= _FAILURE_LIMIT
        else:
            match state:
                case LoadState.LOADED | LoadState.RESIDENT:
                    counters.loaded += 1
                    rest = Rest(at + _LOOK_AGAIN_S)
                case LoadState.STOPPED:
                    counters.stopped += 1
                    rest.until = at if flight.stopping else at + _PAUSE_S
                case LoadState.ABSENT:
                    counters.refused += 1
                    rest.until, rest.for_good = at, True
                case LoadState.NO_ROOM:
                    counters.refused += 1
                    # To try again costs a copy nothing; what is computed again is lost once more.
                    first_s = _PAUSE_S if flight.way is Way.COPY else _LOOK_AGAIN_S
                    rest.until = at + min(_NO_ROOM_LIMIT_S, first_s * 2.0 ** min(rest.refusals, 10))
                    rest.refusals += 1
        if rest.for_good or rest.failures or rest.until > at:
            self._drop_oldest_rests(at)
            self._rests[memory] = rest
        return rest

    def _drop_oldest_rests(self, at: float) -> None:
        while self._rests:
            memory = next(iter(self._rests))
            oldest = self._rests[memory]
            kept_until = oldest.until + (_NO_ROOM_LIMIT_S if oldest.refusals else 0.0)
            over = kept_until <= at and not oldest.failures and not oldest.for_good
            if len(self._rests) < TABLE_LIMIT and not over:
                break
            del self._rests[memory]


def _is_of(flight: Flight, way: Way, plan: int) -> bool:
    return flight.way is way and flight.plan == plan

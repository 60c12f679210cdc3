"""What somebody who makes no mistakes would have in the cache when agents come back, with the link and the room there are. Pure.

It knows of the future what a simulation of this kind can know when a step begins: the exact distances of the program. For news
these are those of the waves that have begun. It loads one memory at a time, whole, the nearest that is not there; it gives
up the farthest, and never a nearer one for a farther. Of whom nothing is known leaves first, the longest unused before
others. What agents hold that are active in a step stays until their last call in it has ended.

Memories are those of agents: what the first call of an activation can find has to be there when it comes. A load that would
come too late is not begun. The memory of an agent's first activation is nowhere yet, and does not count.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from .belady import most_recent, unlimited
from .program import Program
from .results import Sequel


@dataclass(frozen=True, slots=True)
class Wire:
    """Between host memory, where everything has a copy, and the device."""

    tokens_per_s: float
    overhead_s: float = 0.0
    """Of each load."""

    def seconds(self, tokens: int) -> float:
        return self.overhead_s + tokens / self.tokens_per_s


@dataclass(frozen=True, slots=True)
class InTime:
    """Of touches: first calls of activations after an agent's first."""

    touches: int
    resident: int

    @property
    def share(self) -> float | None:
        return self.resident / self.touches if self.touches else None


RESIDENT = 0.95
"""From this share of what there was to find on, a touch found its memory: the rest is a block or two at the end."""


def found_resident(played: Sequel) -> InTime:
    """What the engine had on the device itself."""
    return _touched(played, [call.cached_tokens - call.host_tokens for call in played.calls])


def kept_by_mru(played: Sequel, capacity: int) -> InTime:
    """What an engine would have had that gives up first what was used last, and loads nothing ahead."""
    return _touched(played, most_recent(played.recorded, capacity).tokens)


def _touched(played: Sequel, found: Sequence[int]) -> InTime:
    there_is = unlimited(played.recorded).tokens
    touches = [
        found[index] >= RESIDENT * there_is[index]
        for index in range(len(found))
        if played.measured[index] and played.first[index]
    ]
    return InTime(len(touches), sum(touches))


def brought_in_time(program: Program, played: Sequel, capacity: int, wire: Wire | None) -> InTime:
    """Without a wire, nothing is loaded ahead of calls: what is kept is all there is."""
    return _Foresight(program, _visits(played), capacity, wire).run()


@dataclass(slots=True)
class _Visit:
    """An activation as it was played."""

    agent: str
    step: int
    begins_s: float = math.inf
    ends_s: float = 0.0
    runs_tokens: int = 0
    """The most that its calls hold."""
    finds_tokens: int = 0
    """What its first call can find."""
    counts: bool = False


def _visits(played: Sequel) -> list[_Visit]:
    there_is = unlimited(played.recorded).tokens
    visits: dict[tuple[int, str], _Visit] = {}
    for index, call in enumerate(played.calls):
        visit = visits.setdefault((call.step, call.agent), _Visit(call.agent, call.step))
        recorded = played.recorded[index]
        visit.begins_s = min(visit.begins_s, call.started_s)
        visit.ends_s = max(visit.ends_s, recorded.end)
        visit.runs_tokens = max(visit.runs_tokens, len(recorded.prompt) + recorded.output_tokens)
        if call.index == 0:
            visit.finds_tokens = there_is[index]
            visit.counts = played.measured[index] and played.first[index]
    return list(visits.values())


@dataclass(slots=True)
class _Next:
    """The visits of an agent that have not begun."""

    coming: list[_Visit] = field(default_factory=list)
    """The last one first."""

    @property
    def visit(self) -> _Visit | None:
        return self.coming[-1] if self.coming else None


class _Foresight:
    def __init__(self, program: Program, visits: Sequence[_Visit], capacity: int, wire: Wire | None) -> None:
        self._distances = {step.index: step.distances for step in program.steps}
        self._acts_for = {
            (step.index, activation.agent): activation.acts_for_steps
            for step in program.steps
            for activation in step.activations
        }
        self._capacity = capacity
        self._wire = wire
        self._next: dict[str, _Next] = defaultdict(_Next)
        for visit in sorted(visits, key=lambda visit: -visit.step):
            self._next[visit.agent].coming.append(visit)
        begins: dict[int, float] = {}
        for visit in visits:
            begins[visit.step] = min(visit.begins_s, begins.get(visit.step, math.inf))
        # At the same moment: room is given back, then what a step brings is known, then calls come.
        self._events: list[tuple[float, int, int, _Visit | None]] = sorted(
            [
                *((visit.ends_s, 0, visit.step, visit) for visit in visits),
                *((at, 1, step, None) for step, at in begins.items()),
                *((visit.begins_s, 2, visit.step, visit) for visit in visits),
            ],
            key=lambda event: event[:3],
        )
        self._running: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        """By agent: tokens on the device, the longest unused first."""
        self._due_step: dict[str, float] = {}
        """By agent: the step of its next activation, as far as that is known."""
        self._seen: set[str] = set()
        self._loading: tuple[str, float, int] | None = None
        """Whose memory is on its way, until when, and how large it is."""

    def run(self) -> InTime:
        touches = resident = 0
        now = 0.0
        for at, kind, step, visit in self._events:
            self._load(now, at)
            now = at
            if visit is None:
                self._due_step = {agent: step + distance for agent, distance in self._distances[step].items()}
            elif kind == 0:
                self._end(visit)
            else:
                found = self._begin(visit)
                touches += visit.counts
                resident += visit.counts and found
        return InTime(touches, resident)

    def _begin(self, visit: _Visit) -> bool:
        agent = visit.agent
        self._next[agent].coming.pop()
        found = self._kept.pop(agent, 0) >= visit.finds_tokens > 0
        if self._loading is not None and self._loading[0] == agent:
            self._loading = None  # too late: the call loads it itself
        self._running[agent] = visit.runs_tokens
        self._make_room(0, math.inf, forced=True)
        return found

    def _end(self, visit: _Visit) -> None:
        del self._running[visit.agent]
        self._seen.add(visit.agent)
        self._due_step[visit.agent] = visit.step + self._acts_for[visit.step, visit.agent]
        coming = self._next[visit.agent].visit
        if coming is not None:
            self._kept[visit.agent] = coming.finds_tokens

    def _due(self, agent: str) -> tuple[float, float]:
        """The step of the agent's next activation, as far as it is known, and the moment in it."""
        step = self._due_step.get(agent, math.inf)
        coming = self._next[agent].visit
        return step, coming.begins_s if coming is not None and coming.step == step else math.inf

    def _free(self) -> int:
        flying = self._loading[2] if self._loading is not None else 0
        return self._capacity - sum(self._running.values()) - sum(self._kept.values()) - flying

    def _make_room(self, tokens: int, nearer_than: float, *, forced: bool = False) -> bool:
        """Gives up memories that are farther than that, if that is enough; `forced`: as many as there are."""
        missing = tokens - self._free()
        leaving = []
        # Sorted by a stable sort: of those that are equally far, the longest unused goes first.
        for agent in sorted(self._kept, key=self._due, reverse=True) if missing > 0 else ():
            if missing <= 0 or not (forced or self._due(agent)[0] > nearer_than):
                break
            leaving.append(agent)
            missing -= self._kept[agent]
        if missing > 0 and not forced:
            return False
        for agent in leaving:
            del self._kept[agent]
        return True

    def _load(self, now: float, until: float) -> None:
        """What the link does between two moments."""
        while self._wire is not None:
            if self._loading is None:
                wanted = self._nearest_absent(now)
                if wanted is None or not self._make_room(wanted.finds_tokens, self._due(wanted.agent)[0]):
                    return
                done_s = now + self._wire.seconds(wanted.finds_tokens)
                self._loading = wanted.agent, done_s, wanted.finds_tokens
            agent, done_s, tokens = self._loading
            if done_s > until:
                return
            self._loading, now = None, done_s
            self._kept[agent] = tokens

    def _nearest_absent(self, now: float) -> _Visit | None:
        """Of the visits that are known to come, and that a load can be done before."""
        if self._wire is None:
            return None
        absent = [
            (self._due(agent), agent)
            for agent in self._seen - self._kept.keys() - self._running.keys()
            if (coming := self._next[agent].visit) is not None
            and coming.step == self._due_step[agent]
            and coming.finds_tokens > 0
            and now + self._wire.seconds(coming.finds_tokens) <= coming.begins_s
        ]
        return self._next[min(absent)[1]].visit if absent else None

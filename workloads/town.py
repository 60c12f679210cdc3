"""A town whose people walk about, after Generative Agents: whoever comes near somebody else talks. Pure; calls come later.

A tick is 10 simulated seconds, in which a walker gets one tile further. A step is 300 seconds, so 30 ticks pass in it. It
begins with those whose action is over: they begin another one. Then everybody moves, and of all who are free, two that
are within the radius of each other meet, unless the same two have met less than a cooldown ago. They stand where they
met until the step ends, and then begin something else.

Free is who neither begins an action in this step, nor sleeps or is on the way to bed, nor has met somebody in this step. So
nobody is active twice in a step.

A plan says what people do (`plans`), and how long. For a new plan, a changed one or a move they choose another place, to
sleep they go home; for anything else they stay. Nobody goes to places that the original town would not have had room for,
and an action that is too short for the way ends on the way: nobody walks when the action is over. They walk straight.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from .plans import Plan, gap_steps, is_sleep, under_way
from .program import Place

TICKS_PER_STEP = 30
TILES_PER_TICK = 1.0
ORIGINAL_TILES = (100.0, 140.0)
"""The town of 25 people. Its sides grow with the people, so that a tile is as busy as there."""
ORIGINAL_PEOPLE = 25
TALK_CALLS = (4, 16)
"""Of the two together."""


@dataclass(frozen=True, slots=True)
class Rules:
    radius: float = 4.0
    """In tiles."""
    tiles_per_person: float = ORIGINAL_TILES[0] * ORIGINAL_TILES[1] / ORIGINAL_PEOPLE
    cooldown_ticks: int = 800


@dataclass(frozen=True, slots=True)
class Meeting:
    tick: int
    """Of all ticks; those of step 0 begin at 0."""
    pair: tuple[int, int]
    """The smaller number first."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody does who is active in a step."""

    person: int
    meets: bool
    """Whether a meeting is why; else an action is over."""
    kind: str
    chain: tuple[str, ...]
    """The names of the calls that it takes."""
    lasts_steps: int
    """How long the person is busy with what comes then, counted from this step, if nobody comes between."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is to be seen when a step begins, by person."""

    positions: tuple[Place, ...]
    destinations: tuple[Place, ...]
    left_steps: tuple[int, ...]
    """Until the action is over."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A step of the town."""

    step: int
    before: Scene
    deeds: tuple[Deed, ...]
    """By number of the person."""
    meetings: tuple[Meeting, ...]


class Town:
    """People by number. What happens does not depend on how many steps are asked for."""

    def __init__(self, people: int, seed: int, scale: float, rules: Rules) -> None:
        """`scale` is that of durations, see `plans`. Steps pass until those who begin near each other have met and may
        meet again; step 0 is the first one after that."""
        self._rules = rules
        self._seed = seed
        self._scale = scale
        self._met: dict[tuple[int, int], int] = {}
        self._step = -math.ceil(rules.cooldown_ticks / TICKS_PER_STEP)
        grown = math.sqrt(people * rules.tiles_per_person / (ORIGINAL_TILES[0] * ORIGINAL_TILES[1]))
        sides = (ORIGINAL_TILES[0] * grown, ORIGINAL_TILES[1] * grown)
        self._people = [_Person(number, seed, sides, self._step, scale) for number in range(people)]
        while self._step < 0:
            self.pass_step()

    def pass_step(self) -> Passed:
        before = Scene(
            tuple(person.place for person in self._people),
            tuple(person.destination for person in self._people),
            tuple(person.ends - self._step for person in self._people),
        )
        deeds = []
        free = []
        for person in self._people:
            if person.ends == self._step:
                kind, chain = person.plan.next()
                lasts = person.begin(self._step, self._scale, kind, late_steps=0)
                deeds.append(Deed(person.number, False, kind, chain, lasts))
            elif not person.asleep:
                free.append(person)
        meetings = self._move(free)
        for meeting in meetings:
            deeds += self._talk(meeting)
        passed = Passed(
            self._step, before, tuple(sorted(deeds, key=lambda deed: deed.person)), tuple(meetings)
        )
        self._step += 1
        return passed

    def _move(self, free: Sequence[_Person]) -> list[Meeting]:
        meetings = []
        near = _Neighbourhood(self._rules.radius, free)
        walkers = [person for person in self._people if person.ticks_left]
        # A cooldown may have ended between two who stand, so at first everybody looks around. Then who moves does.
        looking: Iterable[_Person] = free
        for tick in range(self._step * TICKS_PER_STEP, (self._step + 1) * TICKS_PER_STEP):
            for person in looking:
                other = near.nearest(person, partial(self._may_meet, tick, person))
                if other is not None:
                    pair = _pair(person, other)
                    meetings.append(Meeting(tick, pair))
                    self._met[pair] = tick
                    for one in (person, other):
                        near.remove(one)
                        one.ticks_left = 0
            for walker in walkers:
                walker.walk()
                near.moved(walker)
            looking = [walker for walker in walkers if near.has(walker)]
            walkers = [walker for walker in walkers if walker.ticks_left]
        return meetings

    def _may_meet(self, tick: int, person: _Person, other: _Person) -> bool:
        last = self._met.get(_pair(person, other))
        return last is None or tick - last >= self._rules.cooldown_ticks

    def _talk(self, meeting: Meeting) -> list[Deed]:
        """One of the two begins, and has the odd call."""
        lot = random.Random(f"{self._seed}/{meeting.pair}/{meeting.tick}")
        calls = lot.randint(*TALK_CALLS)
        deeds = []
        for number, own in zip(meeting.pair, (calls - calls // 2, calls // 2), strict=True):
            person = self._people[number]
            changed = person.plan.changed()
            lasts = person.begin(self._step, self._scale, "changed", late_steps=1)
            deeds.append(Deed(number, True, "conversation", ("utterance",) * own + changed, lasts))
        return deeds


def _pair(one: _Person, other: _Person) -> tuple[int, int]:
    return min(one.number, other.number), max(one.number, other.number)


WALKING = frozenset({"plan", "changed", "move"})


class _Person:
    __slots__ = (
        *("number", "plan", "asleep", "ends", "place", "destination", "ticks_left"),
        *("_rng", "_home", "_across", "_down", "_per_tick"),
    )

    def __init__(self, number: int, seed: int, sides: Place, step: int, scale: float) -> None:
        """Somewhere inside an action at that step, as if this had been going on for long."""
        self.number = number
        self._rng = rng = random.Random(f"{seed}/{number}/town")
        self.plan = Plan(rng)
        self._home: Place = (rng.uniform(0, sides[0]), rng.uniform(0, sides[1]))
        self._across = _window(self._home[0], ORIGINAL_TILES[0], sides[0])
        self._down = _window(self._home[1], ORIGINAL_TILES[1], sides[1])
        quantile = under_way(rng, scale)
        self.asleep = is_sleep(quantile)
        self.ends = step + rng.randrange(gap_steps(quantile, scale))
        self.place = self._home if self.asleep else self._somewhere()
        self.destination = self.place
        self.ticks_left = 0
        self._per_tick: Place = (0.0, 0.0)

    def begin(self, step: int, scale: float, kind: str, late_steps: int) -> int:
        """Another action, `late_steps` after this step begins. How many steps it lasts, counted from this step."""
        quantile = self._rng.random()
        lasts = gap_steps(quantile, scale)
        self.ends = step + lasts
        self.asleep = is_sleep(quantile)
        if self.asleep or kind in WALKING:
            self._go(self._home if self.asleep else self._somewhere(), (lasts - late_steps) * TICKS_PER_STEP)
        else:
            self._go(self.place, 0)
        return lasts

    def walk(self) -> None:
        """One tick further, if there is still a way to go."""
        if self.ticks_left == 1:
            self.place = self.destination
        elif self.ticks_left:
            self.place = (self.place[0] + self._per_tick[0], self.place[1] + self._per_tick[1])
        self.ticks_left = max(0, self.ticks_left - 1)

    def _somewhere(self) -> Place:
        return (self._rng.uniform(*self._across), self._rng.uniform(*self._down))

    def _go(self, place: Place, most_ticks: int) -> None:
        way = math.dist(self.place, place)
        share = min(1.0, most_ticks * TILES_PER_TICK / way) if way else 0.0
        on = ((place[0] - self.place[0]) * share, (place[1] - self.place[1]) * share)
        self.destination = (self.place[0] + on[0], self.place[1] + on[1])
        ticks = way * share / TILES_PER_TICK
        self.ticks_left = min(most_ticks, math.ceil(ticks))
        self._per_tick = (on[0] / ticks, on[1] / ticks) if ticks else (0.0, 0.0)


def _window(home: float, length: float, side: float) -> tuple[float, float]:
    """As long as that, or as the side, and around home as far as it lies inside."""
    length = min(length, side)
    begin = min(max(0.0, home - length / 2), side - length)
    return begin, begin + length


class _Neighbourhood:
    """Who is where, by cells as wide as the radius. Only those in it are seen."""

    def __init__(self, radius: float, people: Iterable[_Person]) -> None:
        self._radius = radius
        self._cells: defaultdict[tuple[int, int], dict[int, _Person]] = defaultdict(dict)
        self._cell_of: dict[int, tuple[int, int]] = {}
        for person in people:
            self._put(person)

    def has(self, person: _Person) -> bool:
        return person.number in self._cell_of

    def remove(self, person: _Person) -> None:
        del self._cells[self._cell_of.pop(person.number)][person.number]

    def moved(self, person: _Person) -> None:
        if self.has(person) and self._cell(person) != self._cell_of[person.number]:
            self.remove(person)
            self._put(person)

    def nearest(self, person: _Person, suits: Callable[[_Person], bool]) -> _Person | None:
        """Of those within the radius who suit."""
        if not self.has(person):
            return None
        column, row = self._cell_of[person.number]
        found = [
            (distance, other.number, other)
            for x in (column - 1, column, column + 1)
            for y in (row - 1, row, row + 1)
            if (x, y) in self._cells
            for other in self._cells[x, y].values()
            if other is not person
            and (distance := math.dist(person.place, other.place)) <= self._radius
            and suits(other)
        ]
        return min(found)[2] if found else None

    def _put(self, person: _Person) -> None:
        cell = self._cell(person)
        self._cell_of[person.number] = cell
        self._cells[cell][person.number] = person

    def _cell(self, person: _Person) -> tuple[int, int]:
        return math.floor(person.place[0] / self._radius), math.floor(person.place[1] / self._radius)

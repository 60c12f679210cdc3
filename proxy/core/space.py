"""Where a simulation's agents are and where they head for, and from that when each comes within reach of another.

Pure. What is told is only noted; `search` looks around those whom it concerns, a few neighbours at a time, on a uniform
grid: what an agent costs depends on who is around it, never on how many there are.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from .mean import Mean
from .model import AgentName, Clock

NEIGHBOURS = 128
"""Around one agent so many others are looked at, cell by cell outwards. In a denser crowd a meeting with somebody
farther off is found as they come nearer, or when the other one looks around."""
FEW = 64
"""With no more agents than that it is cheaper to look at all than at cells."""
_MISSED = 1 / 12
"""Of the horizon: two who should have met so long ago do not meet before the horizon is over."""
_JUDGED = 16
"""Meetings that came or did not, after which it is believed how many come."""
_MEMORY = 1 / 64
"""The weight of the newest of them."""
RESTS = 16
"""Of one agent, pairs whose cooldown is kept. Beyond it the one that ends first is forgotten."""
HORIZON = {Clock.STEPS: 12.0, Clock.SECONDS: 120.0}
"""What is farther ahead makes no difference to what is loaded."""
_RINGS = 12
"""Cells from an agent to whom it can meet within the horizon, if both have the default speed."""
_CELLS = [
    [(x, y) for x in range(-ring, ring + 1) for y in range(-ring, ring + 1) if max(abs(x), abs(y)) == ring]
    for ring in range(_RINGS + 3)
]
LEAST, _MOST = 1e-6, 1e12
"""Of a radius and a horizon; of all numbers."""
_LOOKING = 4
"""What it costs to look around at all, in neighbours looked at."""
_WORKING_OUT = 2
"""What it costs besides to work a meeting out."""
_CELLS_A_NEIGHBOUR = 8
"""Cells that are walked in the time that it takes to look at a neighbour."""
_SPEEDS = 4
"""Steps from a speed to twice that, in which the speeds of those that move are counted."""
_ROUNDING = 1e-9
"""Relative. Who stops exactly at the radius is within it."""

Point = tuple[float, float]
_Cell = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SpaceRules:
    """All on one clock, and in whatever length the simulation measures."""

    clock: Clock
    radius: float
    """Two agents that are not farther apart may interact."""
    speed: float
    """Of those that head for a destination and of whom no other was told."""
    cooldown: float
    """For so long two that have interacted do not do so again."""
    horizon: float
    """So far ahead meetings are looked for, and velocities are believed."""

    @property
    def are_sound(self) -> bool:
        lengths = (self.radius, self.horizon)
        return all(LEAST <= one <= _MOST for one in lengths) and all(
            0.0 <= one <= _MOST for one in (self.speed, self.cooldown)
        )


class Motion(NamedTuple):
    """Of one agent, from now on. Without a destination or a velocity it stands."""

    position: Point | None
    """None: where it has come to by what was told before."""
    destination: Point | None = None
    """It goes there straight, and stops."""
    velocity: Point | None = None
    speed: float | None = None
    """To the destination. None: the space's."""


class _Body:
    """An agent in space: from `since` to `stops` it moves, and before and after that it stands."""

    __slots__ = (
        *("called", "cell", "meets", "name", "partner", "placed", "resting"),
        *("searched", "since", "speed", "stops", "suitors", "vx", "vy", "x", "y"),
    )

    def __init__(self, name: AgentName) -> None:
        self.name = name
        self.since = self.stops = 0.0
        self.x = self.y = self.vx = self.vy = self.speed = 0.0
        self.cell: _Cell | None = None
        self.placed = 0.0
        """When `cell` was where it is."""
        self.called = self.searched = -math.inf
        self.meets = math.inf
        self.partner: _Body | None = None
        """Whom it meets then."""
        self.suitors: dict[AgentName, _Body] | None = None
        """Whose partner it is."""
        self.resting: dict[AgentName, float] | None = None
        """With whom it cannot interact, and until when."""

    def at(self, now: float) -> Point:
        moved = min(now, self.stops) - self.since
        return self.x + self.vx * moved, self.y + self.vy * moved


class Space:
    """`now` is on the clock of the rules, and never goes back. `neighbours` and `few` are others in tests only."""

    def __init__(self, rules: SpaceRules, *, neighbours: int = NEIGHBOURS, few: int = FEW) -> None:
        self.rules = rules
        self._few = few
        self._neighbours = neighbours
        self._bodies: dict[AgentName, _Body] = {}
        self._cell = max(rules.radius, (rules.radius + 2.0 * rules.speed * rules.horizon) / _RINGS)
        self._cells: dict[_Cell, dict[AgentName, _Body]] = {}
        self._moving: OrderedDict[AgentName, _Body] = OrderedDict()
        """Those who may have left their cell; who was put into it longest ago stands first."""
        self._speeds: dict[int, int] = {}
        """How many of these are how fast: the logarithm of the speed, rounded up."""
        self._fastest = 0.0
        """Of these at least, and by less than a fifth more."""
        self._waiting: OrderedDict[AgentName, _Body] = OrderedDict()
        """Who has to look around."""
        self._changed: dict[AgentName, float] = {}
        """Whose meeting was another one when `changed` was last asked for, and when it was to be."""
        self._under_way = -math.inf
        """When somebody last called for a second time: whoever is to call in that step has had time to."""
        self._came = {late: Mean(_MEMORY) for late in (False, True)}
        """How many of the meetings came for which an agent was waited for; and of those that were late, how many all the same."""

    def __len__(self) -> int:
        return len(self._bodies)

    def __contains__(self, agent: object) -> bool:
        return agent in self._bodies

    @property
    def searching(self) -> bool:
        """Something that was told has consequences that `search` has not drawn yet."""
        return bool(self._waiting)

    def meeting(self, agent: AgentName) -> float | None:
        """When the agent comes within reach of another one that it may interact with. None: not within the horizon."""
        body = self._bodies.get(agent)
        return None if body is None or body.meets == math.inf else body.meets

    def due(self, meeting: float) -> float:
        """When the call that a meeting makes is due. Whoever meets in the course of a step calls as the step does."""
        return meeting // 1.0 if self.rules.clock is Clock.STEPS and meeting < math.inf else meeting

    def is_late(self, meeting: float) -> bool:
        """The step into which it falls is under way, and who was to meet has not called."""
        return self.rules.clock is Clock.STEPS and self.due(meeting) <= self._under_way

    def costs(self, meeting: float) -> float:
        """For how long agents with such a meeting are waited for in vain, per one that it comes to; infinite if none came."""
        came = self._came[self.is_late(meeting)]
        if came.count < _JUDGED:
            return 0.0
        return self.rules.horizon * _MISSED * (1.0 - came.value) / came.value if came.value else math.inf

    def move(self, agent: AgentName, motion: Motion, now: float) -> bool:
        """False if it makes no sense: what is no number of a sane size, or no position was ever told."""
        known = self._bodies.get(agent)
        position = motion.position or (None if known is None else known.at(now))
        if position is None or not _are_sane(position, motion.destination, motion.velocity):
            return False
        speed = self.rules.speed if motion.speed is None else motion.speed
        if not 0.0 <= speed <= _MOST:
            return False
        velocity, stops = (0.0, 0.0), now
        if motion.destination is not None:
            way = math.dist(position, motion.destination)
            if way > LEAST * self.rules.radius and speed > 0.0:
                velocity = _towards(position, motion.destination, speed / way)
                stops = now + way / speed
        elif motion.velocity is not None:
            velocity, stops = motion.velocity, now + self.rules.horizon
        if known is not None and self._is_as_expected(known, position, velocity, stops, now):
            return True
        body = known or _Body(agent)
        self._bodies[agent] = body
        self._stop(body)
        body.since, body.stops = now, stops
        (body.x, body.y), (body.vx, body.vy) = position, velocity
        body.speed = math.hypot(*velocity)
        self._place(body, now)
        self._void(body, now)
        return True

    def rest(self, one: AgentName, other: AgentName, now: float) -> bool:
        """They have interacted. False if no position of them is known, or they are one."""
        first, second = self._bodies.get(one), self._bodies.get(other)
        if first is None or second is None or first is second:
            return False
        self._keep_apart(first, second, now, now + self.rules.cooldown)
        for body in (first, second):
            self._waiting[body.name] = body
        return True

    def _keep_apart(self, one: _Body, other: _Body, now: float, until: float) -> None:
        for body, partner in ((one, other), (other, one)):
            if body.resting is None or len(body.resting) >= RESTS:
                running = {name: end for name, end in (body.resting or {}).items() if end > now}
                if len(running) >= RESTS and partner.name not in running:
                    del running[min(running, key=running.__getitem__)]
                body.resting = running
            body.resting[partner.name] = max(until, body.resting.get(partner.name, until))

    def use(self, agent: AgentName, now: float) -> None:
        """The agent calls: a meeting that was to be by now, or in this step, has been."""
        body = self._bodies.get(agent)
        if body is not None and self.due(body.meets) <= now:
            self._note(body, came=True)
            self._meet(body, None, math.inf)
        if body is not None:
            if body.called == now:
                self._under_way = now
            body.called = now

    def remove(self, agent: AgentName) -> None:
        body = self._bodies.pop(agent, None)
        if body is not None:
            self._forget(body)

    def _forget(self, body: _Body) -> None:
        self._void(body, -math.inf)
        del self._waiting[body.name]
        self._stop(body)
        self._meet(body, None, math.inf)
        self._leave_cell(body)

    def changed(self) -> Iterator[AgentName]:
        """Of whom another meeting is expected, or none, than when this was last asked for."""
        changed, self._changed = self._changed, {}
        bodies = self._bodies
        return (agent for agent, met in changed.items() if agent in bodies and bodies[agent].meets != met)

    def motion_of(self, agent: AgentName, now: float) -> Motion | None:
        """What would have to be told of it now to have it go on as it does; None of whom there is no position."""
        body = self._bodies.get(agent)
        if body is None:
            return None
        position = body.at(now)
        if body.stops <= now:
            return Motion(position)
        return Motion(position, destination=body.at(body.stops), speed=body.speed)

    def search(self, budget: int, now: float) -> None:
        """Draws conclusions until about `budget` neighbours were looked at."""
        # Where there are more that move fast than can be kept up with, the grid is not exact, but there is an end.
        placing = budget // 2
        while placing > 0 and self._waiting and self._moving:
            first = next(iter(self._moving.values()))
            if (now - first.placed) * self._fastest <= self._cell:
                break
            self._place(first, now)  # nobody is farther than a cell from where the grid has it
            placing -= 1
            budget -= 1
        while budget > 0 and self._waiting:
            _, body = self._waiting.popitem(last=False)
            budget -= self._look_around(body, now)

    def dissolve(self, budget: int) -> int:
        """Forgets a part of it, for good: to forget a large space at once takes long. Returns what is left of the budget."""
        while budget > 0 and self._bodies:
            budget -= 1
            self._forget(self._bodies.popitem()[1])
        self._changed.clear()
        return budget

    # Meetings

    def _note(self, body: _Body, *, came: bool) -> None:
        """The meeting that was due came, or did not."""
        is_late = self.is_late(body.meets)
        self._came[False].add(float(came and not is_late))
        if is_late:
            self._came[True].add(float(came))

    def _look_around(self, body: _Body, now: float) -> int:
        """Returns how much it cost, in neighbours looked at."""
        body.searched = now
        horizon = self.rules.horizon
        partner, missed = body.partner, now - horizon * _MISSED
        if partner is not None and self.due(body.meets) <= missed:
            self._note(body, came=False)
            # Neither has called: something that we do not know of keeps them from it, as sleep does.
            self._keep_apart(body, partner, now, now + horizon)
            if partner.partner is body and self.due(partner.meets) <= missed:
                self._note(partner, came=False)
                self._meet(partner, None, math.inf)
                self._waiting[partner.name] = partner
        self._meet(body, None, math.inf)
        (x, y), moves = body.at(now), body.stops > now
        square = self.rules.radius**2 * (1.0 + 4.0 * _ROUNDING)
        others, cells = self._around(body, now)
        cost = _LOOKING + len(others) + cells // _CELLS_A_NEIGHBOUR
        for other in others:
            if other is body:
                continue
            # Most stand, or pass by at a distance. That must cost next to nothing: it is why all this is written out.
            passed = (now if now < other.stops else other.stops) - other.since
            right, up = other.x + other.vx * passed - x, other.y + other.vy * passed - y
            if right * right + up * up > square and not (moves and other.stops > now):
                if not moves and other.stops <= now:
                    continue
                vx, vy = (body.vx, body.vy) if moves else (-other.vx, -other.vy)
                if right * vx + up * vy < 0.0 or (right * vy - up * vx) ** 2 > square * (vx * vx + vy * vy):
                    continue  # its way leads away, or past
            self._try(body, other, now)
            cost += _WORKING_OUT
        return cost

    def _around(self, body: _Body, now: float) -> tuple[Collection[_Body], int]:
        """The nearest of those that it might meet within the horizon, cell by cell outwards, and how many cells that took."""
        if len(self._bodies) <= self._few:
            return self._bodies.values(), 0
        others: list[_Body] = []
        walked = 0
        rules, (x, y) = self.rules, body.at(now)
        speed = self._fastest + (body.speed if body.stops > now else 0.0)
        reach = rules.radius + speed * rules.horizon + self._cell
        column, row = self._cell_of((x, y))
        for ring in _CELLS[: int(min(reach / self._cell, _RINGS + 1)) + 2]:
            for right, up in ring:
                walked += 1
                cell = self._cells.get((column + right, row + up))
                if cell is not None:
                    others.extend(islice(cell.values(), self._neighbours + 1 - len(others)))
            if len(others) > self._neighbours:
                break
        return others, walked

    def _try(self, one: _Body, other: _Body, now: float) -> None:
        horizon = self.rules.horizon
        start = now
        if one.resting is not None:
            start = max(now, one.resting.get(other.name, now))
        # Only what is earlier than what either of them knows makes a difference.
        known = max(one.meets, other.meets) if other.meets >= now else math.inf
        until = max(min(known, now + horizon), start)
        (x, y), (z, w) = one.at(now), other.at(now)
        near = self.rules.radius + (one.speed + other.speed) * (until - now)
        if (z - x) ** 2 + (w - y) ** 2 > near * near * (1.0 + _ROUNDING):
            return
        meets = first_meeting(one, other, start, self.rules.radius)
        if meets > max(now + horizon, start):
            return
        if meets < one.meets:
            self._meet(one, other, meets)
        if meets < other.meets or other.meets < now:
            self._meet(other, one, meets)

    def _meet(self, body: _Body, partner: _Body | None, meets: float) -> None:
        if body.partner is not None and body.partner.suitors is not None:
            body.partner.suitors.pop(body.name, None)
        self._changed.setdefault(body.name, body.meets)
        body.partner, body.meets = partner, meets
        if partner is not None:
            if partner.suitors is None:
                partner.suitors = {}
            partner.suitors[body.name] = body

    def _void(self, body: _Body, now: float) -> None:
        """It moves otherwise, or not at all: who was to meet it must look around anew, and so must it."""
        self._waiting[body.name] = body
        for suitor in (body.suitors or {}).values():
            if suitor.meets >= now:
                self._waiting[suitor.name] = suitor

    def _is_as_expected(
        self, body: _Body, position: Point, velocity: Point, stops: float, now: float
    ) -> bool:
        """Nothing new was told, and what was found out is good for a while: most agents stand, and are told of again
        and again."""
        if body.meets < now or now - body.searched > self.rules.horizon / 4.0:
            return False
        moves = body.stops > now
        is_same_way = stops <= now and not moves
        if stops > now and moves:
            turn = math.dist(velocity, (body.vx, body.vy)) * self.rules.horizon
            is_same_way = turn <= LEAST * self.rules.radius and abs(stops - body.stops) <= LEAST
        return is_same_way and math.dist(position, body.at(now)) <= LEAST * self.rules.radius

    # The grid

    def _cell_of(self, point: Point) -> _Cell:
        return int(point[0] // self._cell), int(point[1] // self._cell)

    def _place(self, body: _Body, now: float) -> None:
        cell = self._cell_of(body.at(now))
        if cell != body.cell:
            self._leave_cell(body)
            body.cell = cell
            self._cells.setdefault(cell, {})[body.name] = body
        body.placed = now
        self._stop(body)
        if body.stops > now:
            self._moving[body.name] = body
            speed = _bound_of(body.speed)
            self._speeds[speed] = self._speeds.get(speed, 0) + 1
            self._fastest = max(self._fastest, 2.0 ** (speed / _SPEEDS))

    def _stop(self, body: _Body) -> None:
        """It does not move any more, or is about to do so otherwise."""
        if self._moving.pop(body.name, None) is None:
            return
        speed = _bound_of(body.speed)
        self._speeds[speed] -= 1
        if not self._speeds[speed]:
            del self._speeds[speed]
            self._fastest = 2.0 ** (max(self._speeds) / _SPEEDS) if self._speeds else 0.0

    def _leave_cell(self, body: _Body) -> None:
        if body.cell is not None:
            del self._cells[body.cell][body.name]
            if not self._cells[body.cell]:
                del self._cells[body.cell]
            body.cell = None


def first_meeting(one: _Body, other: _Body, start: float, radius: float) -> float:
    """The first moment from `start` on at which they are no farther apart than `radius`; infinite if there is none.

    Between the moments at which one of them stops, their distance is that of a straight line to a point.
    """
    square = radius * radius
    now = start
    for end in (min(one.stops, other.stops), max(one.stops, other.stops), math.inf):
        if end <= now:
            continue
        (ax, ay), (bx, by) = one.at(now), other.at(now)
        x, y = bx - ax, by - ay
        outside = x * x + y * y - square
        if outside <= square * _ROUNDING:
            return now
        vx = (other.vx if other.stops > now else 0.0) - (one.vx if one.stops > now else 0.0)
        vy = (other.vy if other.stops > now else 0.0) - (one.vy if one.stops > now else 0.0)
        approach = -(x * vx + y * vy)
        root = approach * approach - (vx * vx + vy * vy) * outside
        if approach > 0.0 and root >= 0.0:
            then = now + outside / (approach + math.sqrt(root))
            if then <= end:
                return then
        now = end
    return math.inf


def _bound_of(speed: float) -> int:
    """The logarithm of the least speed in steps that is not below. Whoever moves, however slowly, has one."""
    return math.ceil(math.log2(max(speed, LEAST)) * _SPEEDS)


def _towards(start: Point, end: Point, factor: float) -> Point:
    return (end[0] - start[0]) * factor, (end[1] - start[1]) * factor


def _are_sane(*points: Point | None) -> bool:
    return all(abs(value) <= _MOST for point in points if point is not None for value in point)

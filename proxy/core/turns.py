"""The order in which agents begin, learned from nothing but the beginnings of their activations.

Three structures are looked for, and an agent's next turn is told by the first of them that held of late:

- a round: every agent begins the same number of beginnings after its last one, as in a simulation that asks Ann, Bob and
  Cleo in turn, also if a game master speaks in between;
- steps: agents begin in bursts with a barrier after each, an agent every so many steps, at about the same place of a burst;
- succession: after Ann usually comes Bob.

Whether a structure holds is measured by what it would have said of the beginnings that came. Positions are counted in
beginnings, so a simulation that pauses changes nothing, and all of them can be compared, whatever told them.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from .average import Average
from .bursts import Bursts
from .mean import Mean
from .model import AgentName
from .successors import Successors

_MEMORY = 1 / 32
"""Weight of the newest sample where it is measured how well a structure holds."""

_ROUND_ERROR = 0.15
"""A round holds up to this mean error, as a part of the round. In an order that is shuffled every round it is .33."""
_ROUND_ERROR_KEPT = 0.2
"""One that held goes on up to this: whenever that changes, all agents have to be placed anew."""

_ROUND_CHECKS = 2, 64
"""Before a round is believed in it must have told that many turns: all of one round, within these bounds."""

_REGULAR = 0.25
"""An agent is regular if it strays by no more than this part of its period."""

_STEP_ERROR = 0.25
_STEP_CHECKS = 2

_SURE = 0.5
"""A successor is told of while the chain that leads to it is at least so likely."""

_SUCCESSION_HITS = 0.6
_SUCCESSION_CHECKS = 4
_CHAIN = 8
"""Agents ahead, at most, of which succession tells."""

_PAUSE = 8.0
"""A pause between two turns counts as at most this many usual ones in the pace."""


class Structure(StrEnum):
    ROUND = "round"
    STEPS = "steps"
    SUCCESSION = "succession"


class Expected(NamedTuple):
    """The number of the beginning that is the agent's; `Turns.turn` is that of the next one of all."""

    position: float
    spread: float
    """How far off it usually is, in beginnings."""
    structure: Structure


@dataclass(slots=True, eq=False)
class Habit:
    """Of an agent that began more than once."""

    turn: int
    """The number of its last beginning."""
    step: int | None = None
    gap: Average = field(default_factory=Average)
    """Beginnings from one of its own to the next."""
    share: float = 1.0
    """What that was of a round at that time: it stays the same where the round grows or shrinks."""
    period: Average | None = None
    """The same in learned steps, where these are likely."""
    place: float = 0.0
    """In a burst: 0 the first, 1 the last."""
    successors: Successors | None = None
    """Where there are no steps."""


class _Link(NamedTuple):
    position: int
    sure: float


class Turns:
    """Of one simulation. An agent costs half a kilobyte from its second beginning on, and before it the number of the first;
    whoever forgets an agent has to say so here. Every call costs the same however many agents there are."""

    __slots__ = (
        "_agents",
        "_at",
        "_chain",
        "_held",
        "_hits",
        "_last",
        "_pace",
        "_place_error",
        "_round",
        "_round_error",
        "_round_holds",
        "_step_error",
        "steps",
        "tells",
        "turn",
    )

    def __init__(self) -> None:
        self.tells = False
        """Whether any structure holds. If so, others come nearer by each beginning."""
        self.turn = 0
        """Beginnings so far, and so the number of the next one."""
        self.steps = Bursts()
        self._agents: dict[AgentName, int | Habit] = {}
        self._at = 0.0
        self._last: AgentName | None = None
        """Who began last."""
        self._pace = Mean(_MEMORY)
        """Seconds from one beginning to the next."""
        self._round = Average()
        """Beginnings in a round."""
        self._round_error = Mean(_MEMORY)
        self._round_holds = False
        self._held = False, False, False
        """Which structures hold: of rounds, steps and succession. Only a beginning changes that."""
        self._step_error = Mean(_MEMORY)
        self._place_error = Mean(_MEMORY)
        self._hits = Mean(_MEMORY)
        """How often the likeliest successor came."""
        self._chain: dict[AgentName, _Link] | None = None
        """Who comes next by succession; None until somebody asks."""

    def sizes(self) -> dict[str, int]:
        return {"turn_agents": len(self._agents)}

    @property
    def alone(self) -> bool:
        """There is one agent, and so no order: its turn is always the next."""
        return len(self._agents) < 2

    def began(self, agent: AgentName, at: float) -> None:
        """An activation of the agent begins. An `at` that is no number, or before the last one, counts as the last one."""
        if not self._at <= at < math.inf:
            at = self._at
        turn, known = self.turn, self._agents.get(agent)
        opens = self.steps.began(turn, at)
        if turn > 0:
            # Pauses of the simulation are no pace: one of them would slow the next dozens of turns down.
            elapsed = at - self._at
            self._pace.add(min(elapsed, _PAUSE * self._pace.value) if self._pace.value > 0.0 else elapsed)
        self._follow(agent)
        if known is None:
            self._agents[agent] = turn
        else:
            last = known.turn if isinstance(known, Habit) else known
            if not opens:
                self.steps.repeated(last >= self.steps.opened_turn)
            self._check_round(known, turn - last)
            if not isinstance(known, Habit):
                known = self._agents[agent] = Habit(last, self.steps.step_of(last))
            self._learn(known, turn)
        self._round_holds = self._is_round()
        self._held = self._round_holds, self._steps_hold, self._succession_holds
        self.tells = any(self._held)
        self.turn, self._at, self._last, self._chain = turn + 1, at, agent, None

    def expected(self, agent: AgentName) -> Expected | None:
        """None where no structure holds, the agent is not part of it, or has missed its turn by a whole period."""
        known = self._agents.get(agent) if self.tells else None
        if known is None:
            return None
        in_round, in_steps, in_succession = self._held
        found = self._in_round(known) if in_round else None
        if found is None and in_steps:
            found = self._in_steps(known)
        if found is None and in_succession:
            found = self._in_succession(agent)
        return found

    def next_up(self) -> Collection[AgentName]:
        """Of whom succession tells, the next one first: others after each beginning, and never many."""
        return self._succession()

    @property
    def holding(self) -> tuple[bool, ...]:
        """Which structures hold. If that changes, so does what is expected of all agents."""
        return (*self._held, self.alone)

    def moment_s(self, position: float) -> float:
        """When that turn is expected, in seconds on the clock of `at`, by the measured pace.

        It never falls as the position grows, so order is kept. Unlike positions it moves with every beginning.
        """
        if self.steps.recognised:
            return self.steps.moment_s(position)
        return self._at + (position - self.turn + 1) * self._pace.value

    def forget(self, agent: AgentName) -> None:
        if self._agents.pop(agent, None) is not None:
            self._chain = None
            if self._last == agent:
                self._last = None

    def known_of(self, agent: AgentName) -> int | Habit | None:
        """What is kept of it, for another process; `restore` takes it."""
        return self._agents.get(agent)

    def restore(self, agent: AgentName, known: int | Habit) -> None:
        self._agents[agent] = known
        self._chain = None

    # Learning

    def _learn(self, habit: Habit, turn: int) -> None:
        gap = turn - habit.turn
        habit.gap.add(gap)
        if self._round.count:
            habit.share += (gap / self._round.mean - habit.share) * max(0.25, 1 / habit.gap.count)
        self._round.add(gap)
        steps, step = self.steps, self.steps.step
        if steps.likely:
            place = min((turn - steps.opened_turn) / steps.size.mean, 1.0)
            if habit.period is None:
                habit.period, habit.place = Average(), place
            if habit.step is not None and step > habit.step:
                period = step - habit.step
                if _is_regular(habit.period):
                    self._step_error.add(min(abs(period - habit.period.mean) / habit.period.mean, 1.0))
                    self._place_error.add(abs(place - habit.place))
                habit.period.add(period)
                habit.place += (place - habit.place) / 4
        habit.turn, habit.step = turn, step

    def _check_round(self, known: int | Habit, gap: int) -> None:
        expected = self._round_gap(known)
        if expected is not None:
            self._round_error.add(min(abs(gap - expected) / expected, 1.0))

    def _follow(self, agent: AgentName) -> None:
        before = None if self._last is None else self._agents.get(self._last)
        if not isinstance(before, Habit):
            return
        if self.steps.recognised:
            # Who begins after whom in a burst is chance, or told by the place in it.
            before.successors = None
            return
        if before.successors is None:
            before.successors = Successors()
        guess = before.successors.likeliest(_SURE)
        if guess is not None:
            self._hits.add(guess == agent)
        before.successors.came(agent)

    # What the structures tell

    def _is_round(self) -> bool:
        error, (fewest, most) = self._round_error, _ROUND_CHECKS
        limit = _ROUND_ERROR_KEPT if self._round_holds else _ROUND_ERROR
        return error.value <= limit and error.count >= max(fewest, min(self._round.mean - 1, most))

    @property
    def _steps_hold(self) -> bool:
        error = self._step_error
        return error.count >= _STEP_CHECKS and error.value <= _STEP_ERROR and self.steps.recognised

    @property
    def _succession_holds(self) -> bool:
        return self._hits.count >= _SUCCESSION_CHECKS and self._hits.value >= _SUCCESSION_HITS

    def _round_gap(self, known: int | Habit) -> float | None:
        """Beginnings from one of the agent's to its next, as a round would have it."""
        if not self._round.count:
            return None
        # Whoever begins about once a round does so exactly once: what counts is then only who began longest ago, and no
        # coming or going of others can turn that around.
        if not isinstance(known, Habit) or abs(known.share - 1.0) <= _REGULAR:
            return self._round.mean
        return known.gap.mean if _is_regular(known.gap) else None

    def _in_round(self, known: int | Habit) -> Expected | None:
        gap = self._round_gap(known)
        last = known.turn if isinstance(known, Habit) else known
        if gap is None or self.turn - last > 2 * gap:
            return None
        return Expected(last + gap, gap * self._round_error.value, Structure.ROUND)

    def _in_steps(self, known: int | Habit) -> Expected | None:
        if not isinstance(known, Habit) or known.period is None or known.step is None:
            return None
        steps, period = self.steps, known.period
        if not _is_regular(period) or steps.step - known.step > 2 * period.mean:
            return None
        ahead = round(known.step + period.mean) - steps.step
        size = steps.size.mean
        return Expected(
            steps.opened_turn + (ahead + known.place) * size,
            size * max(period.deviation, self._place_error.value),
            Structure.STEPS,
        )

    def _in_succession(self, agent: AgentName) -> Expected | None:
        link = self._succession().get(agent)
        if link is None:
            return None
        turns = link.position - self.turn + 1
        return Expected(link.position, turns / link.sure - turns, Structure.SUCCESSION)

    def _succession(self) -> dict[AgentName, _Link]:
        if self._chain is None:
            self._chain = self._chained()
        return self._chain

    def _chained(self) -> dict[AgentName, _Link]:
        chain: dict[AgentName, _Link] = {}
        if not self._succession_holds:
            return chain
        name, sure = self._last, 1.0
        for position in range(self.turn, self.turn + _CHAIN):
            habit = None if name is None else self._agents.get(name)
            if not isinstance(habit, Habit) or habit.successors is None or not habit.successors.names:
                break
            name = habit.successors.names[0]
            sure *= habit.successors.shares[0]
            if sure < _SURE or name in chain:
                break
            chain[name] = _Link(position, sure)
        return chain


def _is_regular(average: Average) -> bool:
    return average.count > 0 and average.deviation <= _REGULAR * average.mean

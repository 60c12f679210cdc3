"""What is known of one simulation."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .accuracy import Accuracy
from .agent import Agent
from .authority import Authority
from .average import Average
from .barriers import Barriers
from .clock import StepClock
from .counters import Counters
from .durations import Reading
from .graph import Graph
from .handovers import Handovers
from .idle import Idle
from .model import AgentName, Clock, Mode, Moment, SimulationId, Source
from .periods import Period
from .recent import Recent
from .residuals import Residuals
from .space import Space
from .turns import Turns

if TYPE_CHECKING:
    from .choosing import Chosen

_FIRST_PAUSE_S = 2.0
_PAUSES_WAITED = 4.0
_PAUSE_MIN_S, _PAUSE_MAX_S = 0.2, 30.0
_LULL_MIN_S = 0.05
_LULL_DEVIATIONS = 4.0
_LULL_PAUSES = 16
"""Pauses by which it is known how long they are."""
_USE_HALF_LIFE_S = 600.0

_STEPS, _SECONDS, _BURSTS, _TURNS = Clock.STEPS, Clock.SECONDS, Clock.BURSTS, Clock.TURNS
"""To name a member by its class takes ten times as long, and moments are asked for a thousand times in a plan."""


@dataclass(slots=True, eq=False)
class Simulation:
    id: SimulationId
    mode: Mode
    seen_at: float
    steps: StepClock = field(default_factory=StepClock)
    agents: dict[AgentName, Agent] = field(default_factory=dict)
    idle: Idle = field(default_factory=Idle)
    """Agents without a running call, an assigned adapter and an operator's pin: any of them may be given up."""
    pausing: OrderedDict[AgentName, Agent] = field(default_factory=OrderedDict)
    """Agents between two calls of an activation, or after its last: by the end of their last call."""
    lulling: OrderedDict[AgentName, Agent] = field(default_factory=OrderedDict)
    """Those of them that were last seen to go on."""
    running: int = 0
    resting: bool = False
    """Nothing was seen of it for so long that it is in no plan, until something is."""
    epoch: int = 0
    """Raised whenever something else may be known of all its agents at once."""
    told_before: int = 0
    """What was told up to this number counts no longer: it came to rest after that."""
    assigned: int = 0
    """Agents to which an adapter is assigned."""
    pinned: int = 0
    """Agents that operators pinned."""
    pause_s: float = _FIRST_PAUSE_S
    """An activation is over when its agent has not called for so long, or when `handovers` or `barriers` say so."""
    lull_s: float = _FIRST_PAUSE_S
    """For so long memory is kept for the next call of an activation: never longer than that. What ends too soon spoils what is
    learned, so no pause is very short; to expect an agent like any other for a moment costs little."""
    counters: Counters = field(default_factory=Counters)
    host_copy: dict[str, bool] = field(default_factory=dict)
    """By kind, where it was set; else there is a copy in host memory."""
    reading: Reading | None = None
    """Of its answers, where it was set."""
    estimator: Chosen | None = None
    """Who alone is asked when its agents call, where an operator chose one."""
    graph: Graph | None = None
    """Along which activations spread, where it was given."""
    space: Space | None = None
    """In which its agents move, where it was set."""
    turns: Turns = field(default_factory=Turns)
    """The order in which its agents begin."""
    gaps: Residuals = field(default_factory=Residuals)
    """How long its agents stay away, on its clock."""
    period: Period = field(default_factory=Period)
    """After which they come again, in its steps."""
    handovers: Handovers = field(default_factory=Handovers)
    barriers: Barriers = field(default_factory=Barriers)
    accuracy: Accuracy = field(default_factory=Accuracy)
    """Of what was told and learned of its agents."""
    authority: Authority = field(default_factory=Authority)
    """What follows from that."""
    use: Recent = field(default_factory=lambda: Recent(_USE_HALF_LIFE_S))
    """Of engines, in activations: its weight where it shares one with other simulations."""
    _pause: Average = field(default_factory=Average)

    @property
    def clock(self) -> Clock:
        """Its own one where it ticks, or one of which the ticks show in its traffic."""
        if self.steps.ticked:
            return _STEPS
        return _BURSTS if self.turns.steps.recognised else _SECONDS

    @property
    def unfinished(self) -> bool:
        """Something was told that is not worked out yet."""
        return (self.graph is not None and self.graph.searching) or (
            self.space is not None and self.space.searching
        )

    @property
    def in_charge(self) -> Source | None:
        """Whose word goes before that of one with more authority, because it was right more often; None: nobody's."""
        return self.authority.in_charge

    def now(self, clock: Clock, at: float) -> float:
        if clock is _STEPS:
            return self.steps.passed
        if clock is _SECONDS:
            return at
        return self.turns.turn if clock is _TURNS else self.turns.steps.clock.passed

    def foreseen(self, clock: Clock, at: float) -> float:
        """The same, as of when room is made next: calls of a step make it at once when it begins, before any plan that is made
        then has arrived. Whoever calls in that step needs no order, because a running call keeps its memory. So in the middle of
        a step the order becomes that of those who do not call in the next one."""
        if clock is _STEPS:
            return self.steps.foreseen(at)
        if clock is _SECONDS or clock is _TURNS:
            return self.now(clock, at)
        return self.turns.steps.clock.foreseen(at)

    def foresees_after(self, at: float) -> float:
        """When what is foreseen changes next by the passing of time alone; inf: not by that."""
        match self.clock:
            case Clock.STEPS:
                foresees_at = self.steps.foresees_at
            case Clock.BURSTS:
                foresees_at = self.turns.steps.clock.foresees_at
            case Clock.TURNS | Clock.SECONDS:
                foresees_at = math.inf
        return foresees_at if foresees_at > at else math.inf

    def moment(self, at: float) -> Moment:
        clock = self.clock
        return Moment(clock, self.now(clock, at))

    def forget_gaps(self) -> None:
        """Its clock is another one."""
        self.gaps, self.period = Residuals(), Period()

    def called_again(self, agent: AgentName) -> None:
        """Or its activation is over: it is between two calls no more."""
        self.pausing.pop(agent, None)
        self.lulling.pop(agent, None)

    def learn_pause(self, pause_s: float) -> None:
        pause = self._pause
        pause.add(pause_s)
        usual = pause.mean * _PAUSES_WAITED
        self.pause_s = self.lull_s = min(max(usual, _PAUSE_MIN_S), _PAUSE_MAX_S)
        if pause.count >= _LULL_PAUSES:
            lull = max(usual, pause.mean + _LULL_DEVIATIONS * pause.deviation, _LULL_MIN_S)
            self.lull_s = min(lull, self.pause_s)

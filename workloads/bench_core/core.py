"""What the core costs by itself: the CPU time of its rounds of planning, and the memory of an agent that does nothing.

Time is virtual: a round every 50 ms, as in the proxy, and a step every 40 rounds, in which all calls of the step begin.
A step of 20,000 calls takes an engine 20 s or more; here it is over in 2 s, so that the beginning of a step, which costs
most, is one round in forty and counts in the 99th percentile."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from scalesim.proxy.core.actions import Action
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import (
    CallEnded,
    CallStarted,
    DistanceHinted,
    EngineFound,
    Event,
    Idled,
    Reported,
    Settled,
    StepTicked,
    Ticked,
)
from scalesim.proxy.core.model import (
    AgentName,
    CallId,
    Clock,
    Outcome,
    SimulationId,
    Usage,
    owner_of,
)

from .crowd import Crowd
from .engine import CAPABILITIES, ENGINE, MEMORY_TOKENS, Engine

TOWN = SimulationId("bench")
ROUND_S = 0.05
ROUNDS_A_STEP = 40
ROUNDS_A_REPORT = 10
STEPS = 4
WARM_UP_ROUNDS = 10
"""At the beginning, that are not measured: the engine is still empty."""
LEAST_ROUNDS = ROUNDS_A_STEP
"""In these a step begins."""
USAGE = Usage(MEMORY_TOKENS - 100, 0, 100)


@dataclass(slots=True)
class Rounds:
    """In milliseconds of CPU time."""

    first_ms: float = 0.0
    """The first round of all, of a crowd nothing of which was planned for before."""
    ticks_ms: list[float] = field(default_factory=list)
    """What was done in each round until its orders were out: a report if one was due, `Ticked`, and the first `Idled`."""
    whole_ms: list[float] = field(default_factory=list)
    """The same, and all `Idled` until nothing was left: what was told of agents that no plan waits for."""
    pieces_ms: list[float] = field(default_factory=list)
    """Of that, each event by itself."""


def begin(crowd: Crowd, post: Callable[[Event], object], at: float) -> None:
    """Each agent is told of and calls once, and then acts until its first step."""
    for chunk in range(0, len(crowd.names), 200):
        names = crowd.names[chunk : chunk + 200]
        post(DistanceHinted(at, TOWN, Clock.STEPS, dict.fromkeys(names, 0.0)))
        for number, name in enumerate(names, chunk):
            call = CallId(-1 - number)
            post(CallStarted(at, call, TOWN, name, ENGINE))
            acts_for = (float(crowd.left[name]), Clock.STEPS)
            post(CallEnded(at, call, Outcome.DONE, USAGE, acts_for))


class _Play:
    """A crowd, an engine and a core, in virtual time."""

    def __init__(self, agents: int, active: int, seed: int) -> None:
        self.at = 0.0
        self.core = Controller(ControllerConfig())
        self.engine = Engine()
        self.crowd = Crowd(agents, active, seed)
        self.rounds = Rounds()
        self._calls = map(CallId, count())
        self._running: deque[tuple[CallId, AgentName, float]] = deque()
        self.core.handle(EngineFound(self.at, ENGINE, CAPABILITIES))

    def begin(self) -> None:
        begin(self.crowd, self.core.handle, self.at)

    def step(self) -> None:
        """All of a step but the planning."""
        self.core.handle(StepTicked(self.at, TOWN))

    def call(self, name: AgentName, acts_for: float) -> None:
        call = next(self._calls)
        self.core.handle(CallStarted(self.at, call, TOWN, name, ENGINE))
        self._running.append((call, name, acts_for))

    def end_calls(self) -> None:
        while self._running:
            call, name, acts_for = self._running.popleft()
            self.core.handle(CallEnded(self.at, call, Outcome.DONE, USAGE, (acts_for, Clock.STEPS)))
            self.engine.use(owner_of(TOWN, name))

    def round(self, *, report: bool) -> tuple[float, float]:
        """Returns its CPU time in milliseconds: until its orders were out, and until nothing was left to work out."""
        self.at += ROUND_S
        actions: list[Action] = []
        spent_ms = ordered_ms = 0.0
        events: deque[Event] = deque([Ticked(self.at)])
        if report:
            events.appendleft(Reported(self.at, ENGINE, self.engine.looked_at()))
        while events:
            event = events.popleft()
            began = time.thread_time()
            ordered = self.core.handle(event)
            piece_ms = (time.thread_time() - began) * 1e3
            self.rounds.pieces_ms.append(piece_ms)
            actions += ordered
            spent_ms += piece_ms
            if ordered or isinstance(event, Ticked):
                ordered_ms = spent_ms
            if not events and self.core.behind:
                events.append(Idled(self.at))
        for action in actions:
            self.core.handle(Settled(self.at, action, result=self.engine.do(action)))
        return ordered_ms, spent_ms


def rounds(agents: int, active: int, seed: int, *, within_s: float = 20.0, steps: int = STEPS) -> Rounds:
    """Of so many steps, or of less if they take more than `within_s` of CPU time, but always of `LEAST_ROUNDS`."""
    play = _Play(agents, active, seed)
    play.begin()
    _, first_ms = play.round(report=True)
    ends = time.thread_time() + within_s
    for number in range(steps * ROUNDS_A_STEP):
        if number % ROUNDS_A_STEP == 0:
            callers = play.crowd.next_step()
            play.step()
        if number == WARM_UP_ROUNDS:
            play.rounds = Rounds(first_ms)
        play.end_calls()
        for name, acts_for in callers[number % ROUNDS_A_STEP :: ROUNDS_A_STEP]:
            play.call(name, acts_for)
        ordered_ms, spent_ms = play.round(report=number % ROUNDS_A_REPORT == 0)
        play.rounds.ticks_ms.append(ordered_ms)
        play.rounds.whole_ms.append(spent_ms)
        if number >= WARM_UP_ROUNDS + LEAST_ROUNDS and time.thread_time() > ends:
            break
    return play.rounds


def bytes_per_idle_agent(agents: int, seed: int) -> float:
    """Of agents that were told of and called once, their names included. What they share with all others is left out as
    far as it is there before them."""
    play = _Play(1, 1, seed)
    play.begin()
    play.round(report=True)
    gc.collect()
    tracemalloc.start()
    try:
        play.crowd = Crowd(agents, agents, seed)
        names, left = play.crowd.names, play.crowd.left
        begin(play.crowd, play.core.handle, play.at)
        play.at += 60.0  # all of their activations are over
        play.round(report=True)
        play.crowd = Crowd(1, 1, seed)
        del names, left
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return held / agents

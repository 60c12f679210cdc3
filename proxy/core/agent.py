"""What is known of one agent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .adapters import Adapter
from .average import Average
from .misses import LastCall
from .model import AdapterName, AgentName, Mode, Moment, Owner, Usage
from .periods import Hours

if TYPE_CHECKING:
    from .engine import Engine
    from .simulation import Simulation


_OFF = Mode.OFF


class Told(NamedTuple):
    """A moment that the simulation told; the higher `number` was told later."""

    moment: Moment
    number: int
    since: float | None = None
    """When it was told, on the same clock, if a call of the agent ran."""

    def outlives(self, now: float) -> bool:
        """Whether it stands though an activation begins at `now`: it was told during one, of which this may be the rest that
        we took for another, and less than half of the way is over."""
        since, moment = self.since, self.moment.value
        return since is not None and moment < math.inf and now - since < (moment - since) / 2


class Asked(NamedTuple):
    """An operator wants it on the device now."""

    at: float
    until: float


@dataclass(slots=True, eq=False)
class Agent:
    name: AgentName
    owner: Owner
    simulation: Simulation
    number: int = 0
    """One more than that of the agent that became known before it."""
    engine: Engine | None = None
    """Where its last call went, and so its memory is."""
    running: int = 0
    activated: bool = False
    acts_next: bool = False
    """It was said to act, while a call of it ran: the activation ends with that call."""
    activations: int = 0
    called: int | None = None
    """The simulation's calls by its last one, those of unknown callers left out."""
    barrier: int = 0
    """The simulation's barriers by its last call."""
    began: Moment | None = None
    """The last activation."""
    gap: Average | None = None
    """Between beginnings of activations, on the clock of `began`."""
    hours: Hours | None = None
    """The last of these, where they are in steps."""
    hinted: Told | None = None
    action: Told | None = None
    """The end of what it does in the simulated world."""
    said: Told | None = None
    """The same as the LLM has it: read in an answer of this activation, the last in which it stood."""
    used_at: float = 0.0
    ended_at: float = 0.0
    size_tokens: int | None = None
    requested: AdapterName | None = None
    """What its last request named of its own accord."""
    beginning: str | None = None
    """A name for how its prompts begin, by the last one that had one."""
    assigned: Adapter | None = None
    """By an operator. It may have been forgotten since."""
    asked: Asked | None = None
    """Until it calls, or the time of that is over, it is taken to call next."""
    pinned: bool = False
    """By an operator (`pins.py`)."""
    host_copy: dict[str, bool] | None = None
    """By kind, where it was set for this agent: it overrides its simulation's."""
    last_call: LastCall | None = None
    """That was answered whole."""
    older: Agent | None = None
    """Before and behind it among those of its simulation that are idle."""
    newer: Agent | None = None
    gone: bool = False
    """In no table any more, while calls of it may still run."""

    @property
    def assigned_adapter(self) -> AdapterName | None:
        return None if self.assigned is None or self.assigned.forgotten else self.assigned.key

    @property
    def adapter(self) -> AdapterName | None:
        """On which its next call is expected to run."""
        return self.requested or (None if self.assigned is None else self.assigned_adapter)

    def standing(self, told: Told | None) -> Told | None:
        """`told`, unless its simulation has rested since."""
        return None if told is None or told.number <= self.simulation.told_before else told

    def has_host_copy(self, kind: str) -> bool:
        told = self.simulation.host_copy
        if self.host_copy is not None and kind in self.host_copy:
            told = self.host_copy
        return told.get(kind, True) if told else True

    def in_activation(self, at: float) -> bool:
        if self.running > 0 or not self.activated:
            return self.running > 0
        simulation = self.simulation
        return at - self.ended_at <= simulation.pause_s and self.barrier == simulation.barriers.count

    def goes_on(self, at: float) -> bool:
        """Whether its memory is kept for its activation: a call runs, or the next one is likely to come at once. Who is in one
        and does not is expected like anybody else."""
        if self.running > 0:
            return True
        # Of nearly all agents the first of these is false: it is asked of each whom a plan looks at.
        return self.activated and at - self.ended_at <= self.simulation.lull_s and self.in_activation(at)

    def is_free(self, at: float) -> bool:
        """Nothing holds its memory where it is: no activation, and no operator."""
        return not (self.pinned or self.asked or self.in_activation(at))

    def begin_activation(self, at: float) -> None:
        began = self.simulation.moment(at)
        if self.began is not None and self.began.clock is began.clock:
            self.gap = self.gap or Average()
            self.gap.add(began.value - self.began.value)
            self.simulation.gaps.add(began.value - self.began.value)
        else:
            self.gap = self.hours = None
        self.began = began
        self.activated = True
        self.activations += 1
        self.simulation.counters.activations += 1
        self.simulation.use.add(at)
        # What was told of this activation says nothing of the one after it.
        hinted, self.action, self.said = self.hinted, None, None
        if hinted is not None and not hinted.outlives(self.simulation.now(hinted.moment.clock, at)):
            self.hinted = None

    def end_activation(self) -> None:
        self.activated = self.acts_next = False
        self.simulation.called_again(self.name)

    def learn_size(self, usage: Usage) -> None:
        # A short call between long ones says nothing of what the long ones left behind; only slowly does size shrink.
        size = self.size_tokens or 0
        self.size_tokens = max(usage.prompt + usage.output, size - size // 8)

    def assign(self, adapter: Adapter | None) -> None:
        """None takes away what was assigned."""
        simulation = self.simulation
        if self.assigned is not None:
            self.assigned.release(simulation.id)
            simulation.assigned -= 1
        self.assigned = adapter
        if adapter is not None:
            adapter.assign(simulation.id)
            simulation.assigned += 1
        self._be_idle()

    def pin(self, pinned: bool) -> None:
        """False takes away an operator's pin."""
        self.simulation.pinned += pinned - self.pinned
        self.pinned = pinned
        self._be_idle()

    @property
    def is_kept(self) -> bool:
        """An operator told of it what nobody would tell again, were it forgotten."""
        return self.assigned is not None or self.pinned

    def _be_idle(self) -> None:
        idle = self.simulation.idle
        if self.is_kept:
            idle.remove(self)
        elif not self.running and self not in idle:
            idle.add(self)

    def move(self, engine: Engine) -> None:
        """Its memory is on that engine from now on."""
        if self.engine is engine:
            return
        if self.engine is not None:
            self.mark()
            self.engine.let_go(self)
        self.engine = engine
        engine.take_in(self)

    def mark(self, *, called: bool = False) -> None:
        """Something else is known of it, or it will not be found any more; or it `called`, began or stopped."""
        engine = self.engine
        if engine is not None:
            (engine.called if called else engine.noted)[self] = None
            engine.dirty = engine.dirty or self.simulation.mode is not _OFF

"""Steps that a simulation does not tell of, read off its traffic: many agents begin at nearly the same time, then comes a
barrier until the last of them is done.

A barrier is a pause that is long beside those inside a burst. Where such pauses do not part the traffic into steps in
which an agent begins once, none are recognised.
"""

from __future__ import annotations

import math

from .average import Average
from .clock import StepClock
from .mean import Mean

_BARRIER = 12.0
"""How many times longer a barrier is than the typical pause inside a burst. Pauses of traffic without any structure are
so long only once in 800 (their typical one, the geometric mean, is .56 of their mean)."""

_FRACTION_OF_BARRIER = 0.25
"""A pause is one only if it is that long beside the barriers before it: whatever waits for a place in a burst begins in
pauses that are longer than those of its start, and shorter than a barrier."""

_OUTLIER = 4.0
"""A barrier that is longer by more counts as so long: a simulation that was stopped for an hour goes on at its pace."""

_RESOLUTION_S = 1e-4
"""What is nearer counts as at the same time."""

_BURSTS_NEEDED = 2
_REPEATS_ALLOWED = 1 / 8
"""Of all beginnings, those of agents that began in the same step already."""


class Bursts:
    """Told of every beginning, in order. Costs the same however many agents there are, and holds nothing of any of them."""

    __slots__ = (
        "_barrier_s",
        "_before_turn",
        "_last_at",
        "_recognised",
        "_repeats",
        "_span",
        "_within",
        "clock",
        "opened_at",
        "opened_turn",
        "size",
    )

    def __init__(self) -> None:
        self.clock = StepClock()
        """One tick per learned step, so `passed` is the number of the current one."""
        self.size = Average()
        """Beginnings in a step."""
        self.opened_turn = 0
        """Of the current step: the number of its first beginning, counted over all steps from 0."""
        self.opened_at = 0.0
        self._before_turn = 0
        """The `opened_turn` of the step before."""
        self._last_at = 0.0
        self._within = Mean(1 / 16)
        """Of the logarithms of pauses inside bursts: a mean would be that of the barriers that were missed."""
        self._barrier_s = 0.0
        self._span = Average()
        """Seconds from the first beginning of a step to its last."""
        self._repeats = Mean(1 / 64)
        self._recognised: bool | None = None
        """None: not worked out since the last beginning."""

    @property
    def step(self) -> int:
        return int(self.clock.passed)

    @property
    def likely(self) -> bool:
        """Enough to start learning on: there was a burst and a barrier."""
        return self.size.count > 0 and self.size.mean >= 2.0

    @property
    def recognised(self) -> bool:
        # Asked a dozen times in a call.
        if self._recognised is None:
            self._recognised = self._is_recognised()
        return self._recognised

    def _is_recognised(self) -> bool:
        return (
            self.size.count >= _BURSTS_NEEDED
            and self.size.mean >= 2.0
            and self._repeats.value <= _REPEATS_ALLOWED
            and self.clock.pace_s is not None
        )

    def step_of(self, turn: int) -> int | None:
        """The step of a beginning, None if it was longer ago than the last two."""
        if turn >= self.opened_turn:
            return self.step
        return self.step - 1 if turn >= self._before_turn else None

    def began(self, turn: int, at: float) -> bool:
        """True if a step begins with it. `at` never goes back."""
        pause = at - self._last_at
        self._last_at, self._recognised = at, None
        if self.clock.ticked:
            if not self._is_barrier(pause):
                self._within.add(math.log(max(pause, _RESOLUTION_S)))
                return False
            self._span.add(at - pause - self.opened_at)
            self._learn(pause, turn - self.opened_turn)
        self.clock.tick(at, None)
        self._before_turn, self.opened_turn, self.opened_at = self.opened_turn, turn, at
        return True

    def repeated(self, is_repeat: bool) -> None:
        """Whether who began did so in the same step before."""
        self._repeats.add(is_repeat)
        self._recognised = None
        if is_repeat:
            # A barrier was missed, perhaps because the simulation runs faster now: half of one is looked for after a burst.
            self._barrier_s *= 0.5 ** (1 / max(self.size.mean, 1.0))

    def moment_s(self, position: float) -> float:
        """When the beginning of that number is expected, in seconds: it never falls as the number grows. Only to be
        asked where steps are recognised."""
        pace = self.clock.pace_s or 0.0
        ahead = (position - self.opened_turn) / self.size.mean
        whole = math.floor(ahead)
        return self.opened_at + whole * pace + (ahead - whole) * min(self._span.mean, pace)

    def _is_barrier(self, pause: float) -> bool:
        return (
            self._within.count > 0
            and pause >= _FRACTION_OF_BARRIER * self._barrier_s
            and pause >= _BARRIER * math.exp(self._within.value)
        )

    def _learn(self, pause: float, size: int) -> None:
        if self._barrier_s > 0.0 and pause >= _BARRIER * self._barrier_s and self.size.mean < 2.0:
            # What was taken for barriers parted no bursts: those were pauses inside of one that was longer.
            self._within = Mean(self._within.weight)
            self._within.add(math.log(self._barrier_s))
            self._barrier_s, self.size = pause, Average()
            return
        self.size.add(size)
        if self._barrier_s > 0.0:
            pause = min(pause, _OUTLIER * self._barrier_s)
            self._barrier_s += (pause - self._barrier_s) / 4
        else:
            self._barrier_s = pause

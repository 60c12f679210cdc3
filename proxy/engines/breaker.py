"""Which engines are worth asking: a circuit breaker for each, in time that is given.

An engine that failed too often is *open*: nobody is sent there. After a rest it is *half open*: a few calls try it, more with
each that succeeds, so that an engine that returns is not met by all that waited for it. When enough succeeded it is *closed*
again; a single failure opens it for longer than before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple

from scalesim.proxy.core.model import EngineId

from ..errors import UpstreamBusy, UpstreamError, UpstreamSilent


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Verdict(Enum):
    """What a call says of its engine."""

    GOOD = "good"
    """It answered: whatever it said of the request."""
    WRONG = "wrong"
    """It answered with a fault of its own (500), or not in time. One request may be to blame, so this opens nothing in a row, but
    as a share of many."""
    FAILED = "failed"
    """It did not answer, or broke off, or somebody in front of it said that it cannot (502, 503, 504)."""
    NOTHING = "nothing"
    """The client left, the engine has too much to do (429), or all our connections to it are in use."""


def verdict_of(status: int) -> Verdict:
    """Of an answer that has begun."""
    if status in (502, 503, 504):
        return Verdict.FAILED
    if status == 429:
        return Verdict.NOTHING
    return Verdict.WRONG if status >= 500 else Verdict.GOOD


def verdict_of_error(error: UpstreamError) -> Verdict:
    """Of no answer, or half of one."""
    if isinstance(error, UpstreamBusy):
        return Verdict.NOTHING
    return Verdict.WRONG if isinstance(error, UpstreamSilent) else Verdict.FAILED


@dataclass(frozen=True, slots=True)
class BreakerRules:
    failures_in_a_row: int = 5
    share: float = 0.5
    """Of the calls that ended within the window; this much failed or wrong opens."""
    window_s: float = 30.0
    least_calls: int = 20
    """Of fewer in the window, the share says nothing."""
    rest_s: float = 2.0
    """How long it stays open the first time. Twice as long each time that a trial fails."""
    longest_rest_s: float = 60.0
    trials: int = 1
    """How many may try a half open engine at once, to begin with."""
    trials_to_close: int = 8
    """So many must have succeeded, and each lets one more try at once."""
    trial_s: float = 10.0
    """A trial that takes longer no longer keeps others from trying: long answers are no failures."""


class Pass(NamedTuple):
    """Leave to send one call. To be given back, whatever happens, with what the call said of the engine."""

    period: int
    """Of the breaker: what began before it opened says nothing of what came after."""
    at: float
    is_trial: bool


_BUCKETS = 10
_OPENS_NOTHING = (Verdict.GOOD, Verdict.NOTHING)


class Breaker:
    """Of one engine. Times are of one clock, in seconds; a time before one that was given counts as that one."""

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._opened_at: float | None = None
        self._rest_s = rules.rest_s
        self._in_a_row = 0
        # Of each tenth of the window: its number, what was good, what was not.
        self._lately: deque[list[int]] = deque(maxlen=_BUCKETS)
        self._period = 0
        self._trials: deque[float] = deque()
        self._succeeded = 0

    def configure(self, rules: BreakerRules) -> None:
        """From now on."""
        self._rules = rules
        if self._opened_at is None:
            self._rest_s = rules.rest_s

    def state(self, at: float) -> State:
        if self._opened_at is None:
            return State.CLOSED
        return State.OPEN if at < self._opened_at + self._rest_s else State.HALF_OPEN

    def admits(self, at: float) -> bool:
        """Whether a call may be sent there now. Changes nothing: placement asks it of every engine."""
        if self._opened_at is None:
            return True
        if at < self._opened_at + self._rest_s:
            return False
        overdue = sum(started <= at - self._rules.trial_s for started in self._trials)
        return len(self._trials) - overdue < self._rules.trials + self._succeeded

    def begin(self, at: float) -> Pass | None:
        """None: it is not to be asked. Else the caller owes an `end`."""
        if not self.admits(at):
            return None
        is_trial = self._opened_at is not None
        if is_trial:
            while self._trials and self._trials[0] <= at - self._rules.trial_s:
                self._trials.popleft()
            self._trials.append(at)
        return Pass(self._period, at, is_trial)

    def end(self, given: Pass, at: float, verdict: Verdict) -> bool:
        """Answers whether this changed who may be sent there: it opened or closed.

        To be called as soon as the head of the answer is there; what breaks off later is told by `broke` besides.
        """
        if given.period != self._period:
            return False
        if given.is_trial and given.at in self._trials:
            self._trials.remove(given.at)
        return self._judge(at, verdict)

    def broke(self, given: Pass, at: float, verdict: Verdict = Verdict.FAILED) -> bool:
        """The answer of a call that had been ended as good broke off after all."""
        return given.period == self._period and self._judge(at, verdict)

    def retry_after_s(self, at: float) -> float:
        """How long until it may be tried; 0 if it may be, or soon."""
        if self._opened_at is None:
            return 0.0
        return min(self._rest_s, max(0.0, self._opened_at + self._rest_s - at))  # rounding may add to it

    def returned(self, at: float) -> None:
        """It is known by other means (a health check, a new instance) to be there again: it may be tried at once."""
        if self.state(at) is State.OPEN:
            self._rest_s = max(0.0, at - (self._opened_at or 0.0))

    def _judge(self, at: float, verdict: Verdict) -> bool:
        # Of one period all passes are trials, or none is: it is another one once the breaker has opened or closed.
        if self._opened_at is not None:
            return self._tried(at, verdict)
        self._count(at, verdict)
        if verdict in _OPENS_NOTHING:
            return False
        if self._in_a_row < self._rules.failures_in_a_row and not self._fails_often(at):
            return False
        self._open(at, self._rules.rest_s)
        return True

    def _tried(self, at: float, verdict: Verdict) -> bool:
        match verdict:
            case Verdict.NOTHING:
                return False
            case Verdict.GOOD:
                self._succeeded += 1
                if self._succeeded < self._rules.trials_to_close:
                    return False
                self._begin_anew()
                self._opened_at = None
                self._rest_s = self._rules.rest_s
                return True
            case Verdict.WRONG | Verdict.FAILED:
                longer = max(self._rules.rest_s, 2 * self._rest_s)
                self._open(at, min(longer, self._rules.longest_rest_s))
                return True

    def _open(self, at: float, rest_s: float) -> None:
        self._begin_anew()
        self._opened_at = at
        self._rest_s = rest_s

    def _begin_anew(self) -> None:
        self._period += 1
        self._in_a_row = 0
        self._lately.clear()
        self._trials.clear()
        self._succeeded = 0

    def _count(self, at: float, verdict: Verdict) -> None:
        match verdict:
            case Verdict.NOTHING:
                return
            case Verdict.GOOD:
                self._in_a_row = 0
            case Verdict.FAILED:
                self._in_a_row += 1
            case Verdict.WRONG:
                pass
        number = self._bucket(at)
        if not self._lately or self._lately[-1][0] < number:
            self._lately.append([number, 0, 0])
        self._lately[-1][1 if verdict is Verdict.GOOD else 2] += 1

    def _fails_often(self, at: float) -> bool:
        since = self._bucket(at) - _BUCKETS
        good = bad = 0
        for number, well, badly in self._lately:
            if number > since:
                good += well
                bad += badly
        return good + bad >= self._rules.least_calls and bad >= self._rules.share * (good + bad)

    def _bucket(self, at: float) -> int:
        return int(at / (self._rules.window_s / _BUCKETS))


class Breakers:
    """One for each engine that is known. Every rule that places calls is to ask `admitted` first."""

    def __init__(self, rules: BreakerRules | None = None) -> None:
        self._rules = rules or BreakerRules()
        self._of: dict[EngineId, Breaker] = {}

    def sizes(self) -> dict[str, int]:
        return {"breakers": len(self._of)}

    def configure(self, rules: BreakerRules) -> None:
        """From now on. A rest that has begun lasts as long as it was to."""
        self._rules = rules
        for breaker in self._of.values():
            breaker.configure(rules)

    def of(self, engine: EngineId) -> Breaker:
        """Only to be asked for engines that are registered: each stays until it is forgotten."""
        breaker = self._of.get(engine)
        if breaker is None:
            breaker = self._of[engine] = Breaker(self._rules)
        return breaker

    def forget(self, engine: EngineId) -> None:
        """It was removed. What is under way there may still give its passes back, to nobody."""
        self._of.pop(engine, None)

    def admitted(self, engines: Iterable[EngineId], at: float) -> list[EngineId]:
        """Those that may be sent a call now, in their order."""
        return [engine for engine in engines if self.of(engine).admits(at)]

    def states(self, at: float) -> Mapping[EngineId, State]:
        return {engine: breaker.state(at) for engine, breaker in self._of.items()}

    def retry_after_s(self, engines: Iterable[EngineId], at: float) -> float:
        """How long until the first of them may be tried."""
        return min((self.of(engine).retry_after_s(at) for engine in engines), default=0.0)

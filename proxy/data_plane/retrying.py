"""Which calls are sent again, when and where: rules, and a budget for each engine so that retries do not storm.

Only before the first byte of the answer went to the client, and only what is safe: what the engine cannot have received, or
has refused. A POST that it may have received is never sent again by us: it may be generating the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from random import Random

from scalesim.proxy.core.model import EngineId

from ..errors import UpstreamBusy, UpstreamError, UpstreamTimedOut, UpstreamUnreachable
from .headers import Headers

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
"""What changes nothing may be sent twice. (PUT and DELETE may too, by their definition; engines have routes that do not keep to it.)"""

_REFUSALS = frozenset({429, 503})
"""The engine did not take the call."""
_DEAD_BEHIND = 502
"""Somebody in front of the engine reached none, or saw it break off: nobody generates that answer any more."""
_LATE_BEHIND = 504
"""Somebody in front of the engine waited in vain. The engine may still be generating, so it is sent again only on invitation."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """Nothing of it reached the engine."""


@dataclass(frozen=True, slots=True)
class MaybeSent:
    """The engine may have received it, and gave no answer."""


@dataclass(frozen=True, slots=True)
class Answered:
    """By a status that is no success. `retry_after_s` is what it said of another try, None if nothing."""

    status: int
    retry_after_s: float | None = None


Failure = Unsent | MaybeSent | Answered


def failure_of(error: UpstreamError) -> Failure:
    return (
        Unsent() if isinstance(error, UpstreamUnreachable | UpstreamTimedOut | UpstreamBusy) else MaybeSent()
    )


def is_worth_a_look(status: int) -> bool:
    """Whether an answer of this status may be one that is not passed on. Cheap: asked of every answer."""
    return status in (429, 502, 503, 504)


def retry_after_s(headers: Headers, wall_s: float) -> float | None:
    """What an answer says of another try, in seconds from now; `wall_s` is the time since 1970. None: nothing usable."""
    found: float | None = None
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"retry-after-ms" and (ms := _number(value)) is not None:
            return ms / 1000
        if lowered == b"retry-after" and found is None:
            found = _number(value)
            if found is None:
                found = _seconds_until(value, wall_s)
    return found


@dataclass(frozen=True, slots=True)
class RetryRules:
    attempts: int = 3
    """In all, with the first."""
    backoff_s: float = 0.1
    """The longest wait before the second attempt at the same engine; twice that before the third."""
    longest_backoff_s: float = 2.0
    longest_retry_after_s: float = 5.0
    """Who is told to wait for longer gets the answer as it is: the client can decide better."""
    longest_wait_s: float = 10.0
    """Of one call, over all its attempts."""
    share: float = 0.2
    """Retries per first attempt that an engine gets, in the long run."""
    least_per_s: float = 1.0
    """Retries that it gets besides, however little is sent there."""
    most_saved: float = 20.0
    """No more retries than these at once, however much was sent there without any."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What was done for a call so far."""

    method: str
    attempts: int = 1
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Again:
    """It is to be sent once more, after a wait, and to another engine if so."""

    after_s: float
    elsewhere: bool
    tried: Tried
    """To be given with the next failure."""


class Retrying:
    """Decides of each failure. Times are of one clock, in seconds."""

    def __init__(self, rules: RetryRules, random: Random) -> None:
        self._rules = rules
        self._random = random
        self._budgets: dict[EngineId, _Budget] = {}

    def configure(self, rules: RetryRules) -> None:
        """From now on."""
        self._rules = rules

    def sizes(self) -> dict[str, int]:
        return {"retry_budgets": len(self._budgets)}

    def forget(self, engine: EngineId) -> None:
        """It was removed."""
        self._budgets.pop(engine, None)

    def first(self, engine: EngineId) -> None:
        """A call is sent there that was not sent before. Only of engines that are registered."""
        self._budget(engine).earn(self._rules)

    def may(self, tried: Tried, failure: Failure) -> bool:
        """Whether to ask for `again` at all: else there is no need to look for another engine."""
        return tried.attempts < self._rules.attempts and _is_safe(tried.method, failure)

    def again(
        self, engine: EngineId, at: float, tried: Tried, failure: Failure, others: Sequence[EngineId] = ()
    ) -> Again | None:
        """Whether to send again what failed at `engine`; None: its failure, or the answer, goes to the client.

        `others` are the engines that may serve the call as well, best first, open breakers left out. Takes from the
        budget of the engine that will be asked: the first of them, else the same one.
        """
        rules = self._rules
        if not self.may(tried, failure):
            return None
        said_s = failure.retry_after_s if isinstance(failure, Answered) else None
        # Elsewhere nobody said to wait, and nothing failed.
        after_s = 0.0 if others else self._wait_s(tried, said_s)
        if after_s is None or tried.waited_s + after_s > rules.longest_wait_s:
            return None
        if not self._budget(others[0] if others else engine).spend(rules, at):
            return None
        return Again(after_s, bool(others), Tried(tried.method, tried.attempts + 1, tried.waited_s + after_s))

    def _wait_s(self, tried: Tried, said_s: float | None) -> float | None:
        rules = self._rules
        if said_s is not None and said_s > rules.longest_retry_after_s:
            return None
        most_s = min(rules.longest_backoff_s, rules.backoff_s * 2.0 ** (tried.attempts - 1))
        # Never earlier than it was told, and never all at once.
        return max(0.0, said_s or 0.0) + self._random.uniform(0.0, most_s)

    def _budget(self, engine: EngineId) -> _Budget:
        budget = self._budgets.get(engine)
        if budget is None:
            budget = self._budgets[engine] = _Budget(self._rules.most_saved)
        return budget


@dataclass(slots=True)
class _Budget:
    left: float
    at: float = -math.inf

    def earn(self, rules: RetryRules) -> None:
        self.left = min(rules.most_saved, self.left + rules.share)

    def spend(self, rules: RetryRules, at: float) -> bool:
        if at > self.at:
            passed_s = 0.0 if self.at == -math.inf else at - self.at
            self.left = min(rules.most_saved, self.left + rules.least_per_s * passed_s)
            self.at = at
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


def _is_safe(method: str, failure: Failure) -> bool:
    match failure:
        case Unsent():
            return True
        case MaybeSent():
            return method in _REPEATABLE
        case Answered(status, said_s):
            if status == _LATE_BEHIND:
                return said_s is not None or method in _REPEATABLE
            return status in _REFUSALS or status == _DEAD_BEHIND


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    # A number too large for a float is a long time, and not nonsense.
    return None if math.isnan(number) or number < 0 else number


def _seconds_until(value: bytes, wall_s: float) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(value.decode("latin-1")).timestamp() - wall_s)
    except (ValueError, OverflowError):
        return None

"""Who leads a group: whoever holds its lease. Pure; moments are of the process's own monotonic clock.

A holder counts its lease from the moment at which it *asked*, and stops a tenth before it can have ended, so no two lead at
once however long an answer takes. A process that was stopped finds its lease over before it acts. What a holder had sent before
that, and what a machine does whose clock stood still, engines refuse by the token.
"""

from __future__ import annotations

import math
from enum import Enum, auto

TTL_S = 1.5
"""After a leader's death another one leads within this, and the time that it takes to learn what there is."""
_SAFE = 0.9
"""Clocks of two machines may go at slightly different rates."""
_RENEWALS = 5
"""In the life of a lease."""
_AFTER_S = 0.005
_TRIES = 8
"""To take it, in the same time, while somebody else holds it."""


class Ask(Enum):
    TAKE = auto()
    RENEW = auto()


class Lease:
    def __init__(self, ttl_s: float = TTL_S) -> None:
        self.ttl_s = ttl_s
        self.token: int | None = None
        """Of the lease that is held, or was held until lately; None: to be taken."""
        self.floor = 0
        """A token that is taken must be above it: engines have seen it."""
        self._until = -math.inf
        self._ask_at = -math.inf

    def holds(self, at: float) -> bool:
        return self.token is not None and at < self._until

    @property
    def until(self) -> float:
        """A moment that has passed, where it is not held."""
        return self._until

    @property
    def ask_at(self) -> float:
        """When `next` has something to ask."""
        return self._ask_at

    def next(self, at: float) -> Ask | None:
        """What Redis is to be asked now. One of the four below is to follow."""
        if at < self._ask_at:
            return None
        return Ask.RENEW if self.holds(at) else Ask.TAKE

    def granted(self, token: int, asked_at: float) -> None:
        """It was taken or renewed."""
        self.token = token
        self._until = asked_at + self.ttl_s * _SAFE
        self._ask_at = asked_at + self.ttl_s / _RENEWALS

    def held_by_another(self, at: float, left_s: float | None = None) -> None:
        """`left_s`: for so long at least, if it is not renewed."""
        self.end()
        tries = self.ttl_s / _TRIES
        self._ask_at = at + (tries if left_s is None else min(max(left_s, 0.0) + _AFTER_S, tries))

    def wait(self, at: float) -> None:
        """Others go first, for as long as a lease lasts."""
        self._ask_at = at + self.ttl_s

    def unanswered(self, at: float) -> None:
        """Redis did not answer. Who holds it goes on until its end."""
        if not self.holds(at):
            self.end()
        self._ask_at = at + self.ttl_s / _TRIES

    def end(self) -> None:
        self.token, self._until = None, -math.inf

    def outranked(self, token: int, at: float) -> None:
        """An engine has seen a higher token: this one is of no use, and the next one must be higher still."""
        self.floor = max(self.floor, token)
        self.end()
        self._ask_at = at

"""Which adapters one engine knows, and which it is to be told of or rid of: between its disk and its host memory.

One step at a time, because each occupies the engine. The way up to the device is the load queue's.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from .actions import DropAdapter, FetchAdapter
from .adapters import Adapter, Adapters
from .model import AdapterName, EngineId

ATTEMPTS = 3
"""To fetch an adapter, until it is registered anew: a broken one is not tried for ever."""
FAILURE_LIMIT = 4_096
_RETRY_AFTER_S, _RETRY_LIMIT_S = 0.5, 30.0
_QUEUE_SEEN = 64
"""Assigned adapters of which one plan looks whether they can be fetched, beyond those that can never be."""
QUEUE_LIMIT = 131_072
_PROBLEM_CHARS = 300


class Failure(NamedTuple):
    attempts: int
    until: float
    """Not to be tried again before."""
    problem: str


@dataclass(slots=True)
class Hosting:
    held: dict[AdapterName, None] = field(default_factory=dict)
    """Known to the engine: as it reports, or else as we fetched them. From which paths, nobody says: they may be from
    before this proxy's start."""
    confirmed: dict[AdapterName, str] = field(default_factory=dict)
    """The paths from which it has those that we fetched: of no others is it known that their names mean what we mean."""
    flying: FetchAdapter | DropAdapter | None = None
    failures: dict[AdapterName, Failure] = field(default_factory=dict)
    wake_at: float = math.inf
    """When something that waits for time alone may be tried: plan again then."""
    unwanted: dict[AdapterName, float] = field(default_factory=dict)
    """An operator wants them gone, though they are registered; until when that is tried."""
    _queue: dict[AdapterName, None] = field(default_factory=dict)
    """Assigned adapters that this engine was not asked about yet, whoever may call first. In every mode: a call that
    names an adapter which the engine does not know fails."""

    def plan(
        self,
        engine: EngineId,
        adapters: Adapters,
        distances: Mapping[AdapterName, float],
        soon: Iterable[AdapterName],
        in_use: Collection[AdapterName],
        host_limit: int | None,
        at: float,
    ) -> list[FetchAdapter | DropAdapter]:
        """At most one step. `distances` are of all adapters that are near; `soon` are those needed soon, nearest first;
        `in_use` are not to be dropped."""
        self.wake_at = math.inf
        if self.flying is not None:
            return []
        for key in adapters.leaving:
            if key in self.held and key not in in_use and self._may_try(key, at):
                return self._send(DropAdapter(engine, key))
        for key, until in list(self.unwanted.items()):
            if key not in self.held or until <= at:
                del self.unwanted[key]
            elif key not in in_use and self._may_try(key, at):
                return self._send(DropAdapter(engine, key))
        wanted = self._next(adapters, soon, at)
        if wanted is None:
            return []
        if wanted not in self.held and host_limit is not None and len(self.held) >= host_limit:
            victim = self._victim(adapters, distances, distances.get(wanted, math.inf), in_use, at)
            return [] if victim is None else self._send(DropAdapter(engine, victim))
        return self._send(FetchAdapter(engine, wanted, adapters.by_key[wanted].path))

    def copied(self) -> Hosting:
        """One with which may be planned what is not to be done."""
        other = copy(self)
        other.confirmed, other.unwanted = dict(self.confirmed), dict(self.unwanted)
        other._queue = dict(self._queue)
        return other

    def settle(self, action: FetchAdapter | DropAdapter, error: str | None, at: float) -> bool:
        """True if it was one of ours in flight."""
        if self.flying != action:
            return False
        self.flying = None
        if error is not None:
            self._fail(action, error, at)
            return True
        self.failures.pop(action.adapter, None)
        if isinstance(action, FetchAdapter):
            self.held[action.adapter] = None
            self.confirmed[action.adapter] = action.path
        else:
            self.held.pop(action.adapter, None)
        return True

    def learn(self, held: Iterable[AdapterName]) -> None:
        self.held = dict.fromkeys(held)
        self.confirmed = {key: path for key, path in self.confirmed.items() if key in self.held}

    def has(self, adapter: Adapter) -> bool:
        """Whether calls that name it run on what is registered by that name."""
        return self.confirmed.get(adapter.key) == adapter.path

    def renew(self, key: AdapterName) -> None:
        """It was registered anew, or asked for: it may be tried again."""
        self.unwanted.pop(key, None)
        self.failures.pop(key, None)

    def ask(self, key: AdapterName) -> None:
        """It is assigned, so that somebody may call with it at any time."""
        self.unwanted.pop(key, None)
        if len(self._queue) < QUEUE_LIMIT:
            self._queue[key] = None

    def forget(self, at: float) -> None:
        """The engine started anew or cannot be reached. Failures are kept: an adapter on which an engine dies would
        otherwise be its end each time."""
        if isinstance(self.flying, FetchAdapter):
            self._fail(self.flying, "the engine was lost meanwhile", at)
        self.held, self.confirmed, self.flying, self.wake_at = {}, {}, None, math.inf
        self._queue, self.unwanted = {}, {}

    def sizes(self) -> dict[str, int]:
        """How full its tables are, by their names."""
        return {
            "hosted_adapters": len(self.held),
            "confirmed_adapters": len(self.confirmed),
            "hosting_queue": len(self._queue),
            "unwanted_adapters": len(self.unwanted),
            "hosting_failures": len(self.failures),
        }

    def _next(self, adapters: Adapters, soon: Iterable[AdapterName], at: float) -> AdapterName | None:
        for key in soon:
            wanted = adapters.by_key.get(key)
            if wanted is not None and not self.has(wanted) and self._may_try(key, at):
                return key
        for key in list(islice(self._queue, _QUEUE_SEEN)):
            adapter = adapters.by_key.get(key)
            if adapter is None or self.has(adapter) or not adapter.assigned:
                del self._queue[key]
            elif self._may_try(key, at):
                return key
            else:
                # Those behind it have their turn; one that was given up is asked for again when it is registered anew.
                del self._queue[key]
                if self.failures[key].until < math.inf:
                    self._queue[key] = None
        if len(self._queue) > _QUEUE_SEEN:
            self.wake_at = min(self.wake_at, at + _RETRY_AFTER_S)
        return None

    def _victim(
        self,
        adapters: Adapters,
        distances: Mapping[AdapterName, float],
        nearer_than: float,
        in_use: Collection[AdapterName],
        at: float,
    ) -> AdapterName | None:
        """The farthest that can come back, strictly farther than the one it makes room for."""
        able = [
            (distance, key)
            for key in self.held
            if (distance := distances.get(key, math.inf)) > nearer_than
            and key in adapters.by_key
            and key not in in_use
            and self._may_try(key, at)
        ]
        return max(able)[1] if able else None

    def _may_try(self, key: AdapterName, at: float) -> bool:
        failure = self.failures.get(key)
        if failure is None:
            return True
        if at < failure.until < math.inf:
            self.wake_at = min(self.wake_at, failure.until)
        return at >= failure.until

    def _send(self, action: FetchAdapter | DropAdapter) -> list[FetchAdapter | DropAdapter]:
        self.flying = action
        if isinstance(action, DropAdapter):
            self.confirmed.pop(action.adapter, None)
        return [action]

    def _fail(self, action: FetchAdapter | DropAdapter, problem: str, at: float) -> None:
        before = self.failures.pop(action.adapter, None)
        attempts = 1 if before is None else before.attempts + 1
        until = at + min(_RETRY_LIMIT_S, _RETRY_AFTER_S * 2.0 ** min(attempts - 1, 10))
        if isinstance(action, FetchAdapter) and attempts >= ATTEMPTS:
            until = math.inf
        self.failures[action.adapter] = Failure(attempts, until, problem[:_PROBLEM_CHARS])
        if len(self.failures) > FAILURE_LIMIT:
            del self.failures[next(iter(self.failures))]

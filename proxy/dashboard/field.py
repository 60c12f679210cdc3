"""The agents of one simulation as they are shown: a row each, of which only those that changed are told again.

It costs what changed. Who is in here is looked at by others (`admin/live.py`): this only keeps what they saw.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from scalesim.proxy.core.glance import Glance
from scalesim.proxy.core.model import AgentName, Source

BINS = 10
"""Of the histogram of confidence: the last is 90 % and more."""
_DIGITS = 2
"""Of moments; the page tells no shorter times."""


class Seen(NamedTuple):
    """What is shown of an agent."""

    engine: str
    """Empty: it never called."""
    state: int
    """0: idle, 1: between two calls of one activation, 2: calling."""
    place: str
    clock: str
    """Empty: nothing is known of when it calls, or it calls now."""
    due: float | None
    """On that clock; None with a clock: not expected again."""
    source: str
    """Who knows that; empty: nobody."""
    confidence: float | None
    """That calls under its name are its; None: it was said outright."""


def seen(glance: Glance, confidence: float | None) -> Seen:
    due, clock = glance.due, glance.clock
    if glance.source is Source.ACTIVATION:
        due = clock = None  # it is now, and would be another moment at each look
    return Seen(
        engine=glance.engine or "",
        state=2 if glance.running_calls else int(glance.in_activation),
        place=glance.place.value,
        clock="" if clock is None else clock.value,
        due=round(due, _DIGITS) if due is not None and math.isfinite(due) else None,
        source=glance.source.value if glance.source else "",
        confidence=None if confidence is None else round(confidence, _DIGITS),
    )


class Field:
    def __init__(self) -> None:
        self._numbers: dict[AgentName, int] = {}
        """By which an agent is told of again; never that of another one."""
        self._rows: dict[AgentName, Seen] = {}
        self._active: dict[AgentName, None] = {}
        self._next = 0
        self._words: dict[str, int] = {}
        """What rows say in words is told once. Of engines that ever were, and of closed sets."""
        self._said: Counter[int] = Counter()
        """Agents by the bin of their confidence; BINS: it was said outright."""
        self._new_words: list[list[int | str]] = []
        self._changed: dict[AgentName, bool] = {}
        """Since `changes`; True: it is new."""
        self._gone: list[int] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, agent: AgentName) -> bool:
        return agent in self._rows

    @property
    def names(self) -> list[AgentName]:
        return list(self._rows)

    @property
    def active(self) -> list[AgentName]:
        """Those who call, or whose memory is on its way: what ends that may be no more than time."""
        return list(self._active)

    def see(self, agent: AgentName, now: Seen) -> None:
        before = self._rows.get(agent)
        if before == now:
            return
        if before is None:
            self._numbers[agent] = self._next
            self._next += 1
        else:
            self._said[_bin(before)] -= 1
        self._said[_bin(now)] += 1
        self._rows[agent] = now
        self._changed[agent] = self._changed.get(agent, False) or before is None
        if now.state or now.place == "loading":
            self._active[agent] = None
        else:
            self._active.pop(agent, None)

    def forget(self, agent: AgentName) -> None:
        row = self._rows.pop(agent, None)
        if row is None:
            return
        self._said[_bin(row)] -= 1
        self._active.pop(agent, None)
        number = self._numbers.pop(agent)
        if not self._changed.pop(agent, False):
            self._gone.append(number)

    def picture(self, names: Iterable[AgentName]) -> dict[str, Any]:
        """Of these, as far as they are here, whether they were told before or not."""
        agents = [self._told(agent, is_new=True) for agent in names if agent in self._rows]
        words: list[list[int | str]] = [[number, word] for word, number in self._words.items()]
        return {"words": words, "agents": agents, "confidence": self.confidence}

    def changes(self) -> dict[str, Any]:
        """Since the last time. To be told to those who know all that came before."""
        told: dict[str, Any] = {}
        if self._changed:
            told["agents"] = [self._told(agent, is_new=new) for agent, new in self._changed.items()]
            told["confidence"] = self.confidence
        if self._gone:
            told["gone"] = self._gone
            told["confidence"] = self.confidence
        if self._new_words:
            told["words"] = self._new_words
        self._changed, self._gone, self._new_words = {}, [], []
        return told

    @property
    def confidence(self) -> list[int]:
        """Agents by how sure it is who they are, in tenths; the last number is of those that were named outright."""
        return [self._said[one] for one in range(BINS + 1)]

    def _told(self, agent: AgentName, *, is_new: bool) -> list[Any]:
        row = self._rows[agent]
        told = [
            self._numbers[agent],
            self._word(row.engine),
            row.state,
            self._word(row.place),
            self._word(row.clock),
            row.due,
            self._word(row.source),
            row.confidence,
        ]
        return [*told, agent] if is_new else told

    def _word(self, word: str) -> int:
        number = self._words.get(word)
        if number is None:
            number = self._words[word] = len(self._words)
            self._new_words.append([number, word])
        return number


def _bin(row: Seen) -> int:
    return BINS if row.confidence is None else min(int(row.confidence * BINS), BINS - 1)

"""What the calls of a play found, beside what could have been found on the same calls, engine by engine.

For eviction that is token-level MIN (`belady.py`) with the same room, of the calls as they ran. For loads ahead it is what the link could have
had there in time, of the loads that these calls needed (`deadlines.py`): of a call, what was brought ahead and what it waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from scalesim.workloads.belady import Cut, RecordedCall, minimum
from scalesim.workloads.deadlines import Load, in_time

from .link import SLICE_S
from .prices import Prices
from .world import Ended


@dataclass(frozen=True, slots=True)
class Found:
    """Tokens of prompts."""

    prompt: int = 0
    cached: int = 0
    belady: int = 0

    def __add__(self, other: Found) -> Found:
        return Found(self.prompt + other.prompt, self.cached + other.cached, self.belady + other.belady)

    @property
    def of_belady(self) -> float | None:
        return self.cached / self.belady if self.belady else None


@dataclass(frozen=True, slots=True)
class Hidden:
    """Seconds of links."""

    needed_s: float = 0.0
    """What calls needed took..."""
    hidden_s: float = 0.0
    """... and of that, what was over before they came..."""
    bound_s: float = 0.0
    """... and could have been."""

    def __add__(self, other: Hidden) -> Hidden:
        return Hidden(
            self.needed_s + other.needed_s, self.hidden_s + other.hidden_s, self.bound_s + other.bound_s
        )


@dataclass(slots=True)
class Recording:
    costs: Prices
    ended: list[Ended] = field(default_factory=list)

    def note(self, ended: Ended) -> None:
        self.ended.append(ended)

    def by_engine(self) -> list[list[Ended]]:
        """Of each engine the calls, in the order in which they began."""
        engines: dict[str, list[Ended]] = {}
        for one in self.ended:
            engines.setdefault(one.engine, []).append(one)
        # At the same moment, engines begin calls in the order in which they came.
        return [sorted(of, key=lambda one: (one.call.began_s, one.call.number)) for of in engines.values()]

    def found(self, capacity_tokens: int) -> tuple[Found, Found]:
        """By all calls, and by those that count as first."""
        everything = firsts = Found()
        for calls in self.by_engine():
            for one, hit in zip(calls, _belady(calls, capacity_tokens), strict=True):
                found = Found(one.call.prompt_tokens, one.call.cached, hit)
                everything += found
                firsts += found if one.counts_as_first else Found()
        return everything, firsts

    def hidden(self) -> Hidden:
        return sum((_hidden(calls, self.costs.load_s) for calls in self.by_engine()), Hidden())


def _belady(calls: list[Ended], capacity_tokens: int) -> tuple[int, ...]:
    tokens_of = {piece.number: piece.tokens for one in calls for piece in one.call.path}
    recorded = [
        RecordedCall(
            one.call.began_s,
            one.call.ended_s,
            tuple([piece.number for piece in one.call.path]),
            one.call.output_tokens,
            one.counts_as_first,
        )
        for one in calls
    ]
    return minimum(Cut.of_pieces(recorded, tokens_of), capacity_tokens).tokens


def _hidden(calls: list[Ended], load_s: Callable[[float, int], float]) -> Hidden:
    """What a call needs was given up, at the soonest, when the one before that had some of it ended."""
    moments = sorted(
        [(one.call.began_s, 1, place) for place, one in enumerate(calls)]
        + [(one.call.ended_s, 0, place) for place, one in enumerate(calls)]
    )
    over: dict[int, float] = {}
    """By piece: when the last call that had it ended."""
    loads, hidden_s = [], 0.0
    for moment, begins, place in moments:
        call = calls[place].call
        if not begins:
            over.update((piece.number, moment) for piece in call.path)
            continue
        hidden, waited = max(0, call.hidden_bytes), call.waited_bytes
        if not hidden + waited:
            continue
        begun = int(call.from_host + call.ahead > 0) + int(call.adapter_missed or call.adapter_ahead)
        seconds = load_s(hidden + waited, begun)
        release = min((over[piece.number] for piece in call.path if piece.number in over), default=0.0)
        # A slice that is on the link when the call comes counts as here.
        loads.append(Load(release, call.began_s + SLICE_S, seconds))
        hidden_s += seconds * hidden / (hidden + waited)
    return Hidden(sum(load.seconds for load in loads), hidden_s, in_time(loads))

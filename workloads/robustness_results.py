"""What plays with wrong distances are worth beside recency and Belady, and whether the guard kept its promise. Pure.

A call hits as much as the share of what it could have found that it found: 1 if its whole memory was there. After every n calls,
hits >= hits of recency - C - n / 100 is to hold, C being the number of memories that fit.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .belady import Cut, RecordedCall, minimum, unlimited
from .program import Program
from .records import CallKey
from .results import TokenCounts, first_calls_of
from .robustness_play import CallPlayed, Played, Prompts

CALLS_PER_HIT = 100
"""Of so many calls, distance may cost one hit for ever."""
MOST_POINTS = 100
"""Of a line over all calls, in the JSON and the picture."""


class OtherCalls(Exception):
    """Two plays did not make the same calls at the same times: they cannot be compared."""


@dataclass(frozen=True, slots=True)
class Slack:
    hits: float
    """By which the promise was kept where it was nearest to being broken; below 0 it was broken."""
    after_calls: int


@dataclass(frozen=True, slots=True)
class Measured:
    all_calls: TokenCounts
    first_calls: TokenCounts
    """Of activations after the agent's first."""
    lead: tuple[float, ...]
    """After each call: hits more than recency had."""
    slack: Slack
    switches: int = 0
    """How often the guard put somebody else in charge."""
    by_distance: bool = True
    """Whether distance was in charge in the end."""


class Yardstick:
    """What there is to hit in a program, and what recency and Belady hit of it."""

    def __init__(
        self, program: Program, prompts: Prompts, capacity_tokens: int, fits: int, recency: Played
    ) -> None:
        """`recency` is the play of an engine that was told nothing; `fits` is C."""
        self.fits = fits
        calls = {
            (step.index, activation.agent, index): call for step, activation, index, call in program.calls()
        }
        self._first = first_calls_of([played.key for played in recency.calls])
        recorded = Cut(
            [
                RecordedCall(
                    played.start_s,
                    played.end_s,
                    prompts.of(calls[played.key].messages),
                    calls[played.key].max_tokens,
                    played.key in self._first,
                )
                for played in recency.calls
            ]
        )
        self._prompt = [len(one.prompt) for one in recorded]
        self._belady = minimum(recorded, capacity_tokens).tokens
        self._there = unlimited(recorded).tokens
        self._recency = recency
        self._recency_hits = self._hits(recency)
        self.recency = self.measure(recency)

    def measure(self, played: Played) -> Measured:
        """Raises `OtherCalls`."""
        for own, other in itertools.zip_longest(played.calls, self._recency.calls):
            if own is None or other is None or _what(own) != _what(other):
                raise OtherCalls(f"{own} stands beside {other}")
        firsts = everything = TokenCounts()
        for index, call in enumerate(played.calls):
            counts = TokenCounts(self._prompt[index], call.cached, self._belady[index], self._there[index])
            everything += counts
            firsts += counts if call.key in self._first else TokenCounts()
        hits = zip(self._hits(played), self._recency_hits, strict=True)
        lead = tuple(itertools.accumulate(own - recency for own, recency in hits))
        guard = played.guard
        return Measured(
            everything,
            firsts,
            lead,
            slack_of(lead, self.fits),
            0 if guard is None else guard.switches,
            guard is None or guard.in_charge == "distance",
        )

    def _hits(self, played: Played) -> list[float]:
        """A call that could find nothing hits nothing."""
        return [
            min(1.0, call.cached / there) if there else 0.0
            for call, there in zip(played.calls, self._there, strict=True)
        ]


def _what(call: CallPlayed) -> tuple[CallKey, float, float]:
    return call.key, call.start_s, call.end_s


def slack_of(lead: Sequence[float], fits: int) -> Slack:
    """Of hits that are so many more than recency's after each call."""
    least = Slack(float(fits), 0)
    for calls, more in enumerate(lead, 1):
        hits = more + fits + calls / CALLS_PER_HIT
        if hits < least.hits:
            least = Slack(hits, calls)
    return least


@dataclass(frozen=True, slots=True)
class Pair:
    """One lie, told with the guard and without."""

    guarded: Measured
    unguarded: Measured


def thinned(line: Sequence[float]) -> tuple[int, list[float]]:
    """Every how many calls, and the values after each so many."""
    apart = max(1, -(-len(line) // MOST_POINTS))
    return apart, list(line[apart - 1 :: apart])


def as_json(measured: Measured, recency: Measured) -> dict[str, object]:
    return {
        "first_calls": _rates(measured.first_calls, recency.first_calls),
        "all_calls": _rates(measured.all_calls, recency.all_calls),
        "worst_slack": {"hits": measured.slack.hits, "after_calls": measured.slack.after_calls},
    }


def _rates(counts: TokenCounts, recency: TokenCounts) -> Mapping[str, float | None]:
    return {
        "hit_rate": counts.hit_rate,
        "over_lru": counts.cached / recency.cached if recency.cached else None,
        "of_belady": of_belady(counts),
    }


def of_belady(counts: TokenCounts) -> float | None:
    """Which share of what Belady finds was found."""
    return counts.cached / counts.belady if counts.belady else None

"""From what was seen of an engine to what its steps take. Pure.

A step of prefill takes so much, and so much for each prompt in it, each token of them, and each pair of a token and one before it. A
step of decoding takes so much, and so much for each call, and each token that these hold. Coefficients are those with the least squared
relative error that are not below zero: nothing gets faster by more work.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .probes import Seen

MOST_ROUNDS, SETTLED = 20_000, 1e-9
SPARE_S = 0.02


@dataclass(frozen=True, slots=True)
class Prefill:
    """What the prompts of some calls took the engine, without what is around it."""

    steps: int
    calls: int
    tokens: int
    """Computed."""
    attended: float
    """With how many others, summed over them."""
    seconds: float
    adapted: int = 0
    """Of the tokens, those of calls with an adapter."""

    def row(self) -> list[float]:
        return [self.steps, self.calls, self.tokens, self.attended, self.adapted]


@dataclass(frozen=True, slots=True)
class Decode:
    """One step."""

    running: int
    context: float
    """Tokens that they hold."""
    seconds: float
    adapted: int = 0
    """Of those that run, the ones with an adapter of their own."""

    def row(self) -> list[float]:
        return [1.0, self.running, self.context, self.adapted]


@dataclass(frozen=True, slots=True)
class Fitted:
    values: tuple[float, ...]
    error: float | None
    """Mean relative error over what it was fitted to; None of nothing."""


def attended_by(tokens: int, before: int = 0) -> float:
    """Of so many new tokens behind so many."""
    return tokens * (before + (tokens + 1) / 2)


def fitted(rows: Sequence[Sequence[float]], seconds: Sequence[float], columns: int) -> Fitted:
    """A column that is always zero gets zero."""
    if not rows:
        return Fitted((0.0,) * columns, None)
    weighted = [[value / took for value in row] for row, took in zip(rows, seconds, strict=True)]
    values = _least_squares(list(zip(*weighted, strict=True)))
    errors = [abs(sum(part * value for part, value in zip(row, values, strict=True)) - 1) for row in weighted]
    return Fitted(tuple(values), statistics.mean(errors))


def _least_squares(columns: Sequence[Sequence[float]]) -> list[float]:
    """Not negative, so that each row sums up to nearly 1: one value after the other is made the best there is beside the
    others, until nothing moves."""
    values = [0.0] * len(columns)
    left = [1.0] * len(columns[0])
    squares = [sum(part * part for part in column) for column in columns]
    for _ in range(MOST_ROUNDS):
        moved = 0.0
        for place, column in enumerate(columns):
            if not squares[place]:
                continue
            gain = sum(part * rest for part, rest in zip(column, left, strict=True)) / squares[place]
            change = max(-values[place], gain)
            values[place] += change
            left = [rest - change * part for part, rest in zip(column, left, strict=True)]
            moved = max(moved, abs(change) * math.sqrt(squares[place]))
        if moved < SETTLED:
            break
    return values


# From answers


def beat_s(first: Seen, others: Sequence[Seen]) -> float:
    """Between two tokens of the call that was held up, where nobody held it up."""
    return statistics.median(seconds for at, seconds in _gaps(first) if not _within(at, others))


def stall(first: Seen, others: Sequence[Seen], adapted: bool = False) -> Prefill | None:
    """What the others' prompts took, by what the first one waited in excess of its beat. None: it had ended by then."""
    if first.tokens_s[-1] < max(one.tokens_s[0] for one in others):
        return None
    beat = beat_s(first, others)
    excess = [seconds - beat for at, seconds in _gaps(first) if _within(at, others)]
    seconds = sum(excess)
    if seconds <= 0:
        return None
    # One call is computed in one step; of several that come at once, the first may not wait for the others.
    held = sum(one > max(beat, max(excess) / 4) for one in excess)
    new = [one.prompt_tokens - one.cached_tokens for one in others]
    return Prefill(
        1 if len(others) == 1 else max(1, held),
        len(others),
        sum(new),
        sum(attended_by(count, one.cached_tokens) for count, one in zip(new, others, strict=True)),
        seconds,
        sum(new) if adapted else 0,
    )


def decoding(answers: Sequence[Seen], adapted: bool = False) -> Decode | None:
    """A step while all of them ran. None: they never did at the same time."""
    begins = max(one.tokens_s[0] for one in answers)
    ends = min(one.tokens_s[-1] for one in answers)
    counts, spans = [], []
    for one in answers:
        within = [moment for moment in one.tokens_s if begins <= moment <= ends]
        if len(within) < 3:
            return None
        counts.append((len(within) - 1) * (one.output_tokens - 1) / max(1, len(one.tokens_s) - 1))
        spans.append(within[-1] - within[0])
    seconds = sum(spans) / sum(counts)
    made = [one.output_tokens / 2 for one in answers]
    context = sum(one.prompt_tokens for one in answers) + sum(made)
    return Decode(len(answers), context, seconds, len(answers) if adapted else 0)


def _gaps(seen: Seen) -> list[tuple[float, float]]:
    """The end of each gap between two tokens, and how long it is."""
    return [(after, after - before) for before, after in zip(seen.tokens_s, seen.tokens_s[1:], strict=False)]


def _within(at: float, others: Sequence[Seen]) -> bool:
    """With a token's time to spare: what was held up and what held it up are told of by different streams."""
    begins = min(one.asked_s for one in others)
    ends = max(one.tokens_s[0] for one in others)
    return begins <= at <= ends + SPARE_S

"""Did every configuration give the same answers? Pure.

Answers are compared call by call with those of a reference. Sums of floats depend on what was batched together, so two
candidates that are as good as equal may swap; a difference is explained if, and only if, that is what happened at the
first token that differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from .records import CallKey, CallRecord, TokenSeen

NEAR_TIE = 1e-3
"""The largest gap between two log-probabilities that batching may turn round."""


@dataclass(frozen=True, slots=True)
class Difference:
    key: CallKey
    token: int | None
    """Index of the first token that differs; None where there is none although the texts differ."""
    explained: bool
    reference: str
    """The text from there on, in the reference and in the other run."""
    other: str


@dataclass(frozen=True, slots=True)
class Match:
    compared: int
    equal: int
    differences: tuple[Difference, ...]

    @property
    def share(self) -> float:
        """1.0 when nothing was compared, for then nothing differed."""
        return self.equal / self.compared if self.compared else 1.0

    @property
    def all_explained(self) -> bool:
        return all(difference.explained for difference in self.differences)


def match(reference: Iterable[CallRecord], others: Iterable[CallRecord]) -> Match:
    """Calls with an error, in either run, are no answers and are not compared."""
    answers = {record.key: record for record in reference if record.error is None}
    compared = 0
    differences = []
    for other in others:
        own = answers.get(other.key)
        if own is None or other.error is not None:
            continue
        compared += 1
        if own.text != other.text:
            differences.append(_difference(own, other))
    return Match(compared, compared - len(differences), tuple(differences))


def _difference(own: CallRecord, other: CallRecord) -> Difference:
    token = _first_difference(own, other)
    explained = token is not None and _is_near_tie(own, other, token)
    return Difference(own.key, token, explained, _rest(own, token), _rest(other, token))


def _first_difference(own: CallRecord, other: CallRecord) -> int | None:
    """By ids where both have them: two tokens that are each half of a character read alike."""
    a: Sequence[object] = own.token_ids
    b: Sequence[object] = other.token_ids
    if not (a and b):
        a, b = [token.text for token in own.tokens], [token.text for token in other.tokens]
    return next((index for index, (x, y) in enumerate(zip_longest(a, b)) if x != y), None)


def _is_near_tie(own: CallRecord, other: CallRecord, index: int) -> bool:
    if index >= min(len(own.tokens), len(other.tokens)):
        return False
    candidates = sorted((own.tokens[index].text, other.tokens[index].text))
    return all(_tied(record.tokens[index], candidates) for record in (own, other))


def _tied(token: TokenSeen, candidates: list[str]) -> bool:
    if len(token.top) < 2:
        return False
    (first, likelier), (second, likely) = token.top[:2]
    return sorted((first, second)) == candidates and abs(likelier - likely) <= NEAR_TIE


def _rest(record: CallRecord, token: int | None) -> str:
    return record.text if token is None else "".join(seen.text for seen in record.tokens[token:])

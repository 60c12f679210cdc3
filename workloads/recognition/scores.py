"""How well callers are told apart: counted in pairs of calls, so that names do not matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple


class Told(NamedTuple):
    """One call: who made it, who it was said to be and how sure."""

    truth: str
    name: str | None
    confidence: float


class Pairs(NamedTuple):
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def pairs(told: Sequence[Told], threshold: float) -> Pairs:
    """Below the threshold nobody is named: such a call is alone. Where there is no pair, none can be wrong."""
    named = [
        (one.truth, one.name if one.name is not None and one.confidence >= threshold else f"\x00{number}")
        for number, one in enumerate(told)
    ]
    both = _count(named)
    claimed, true = _count(name for _, name in named), _count(truth for truth, _ in named)
    return Pairs(both / claimed if claimed else 1.0, both / true if true else 1.0)


def right_of_sure(told: Sequence[Told], threshold: float) -> tuple[int, float]:
    """How many were named with such confidence, and the share of them that is right: a name belongs to whom it was given most."""
    owners: dict[str, Counter[str]] = {}
    for one in told:
        if one.name is not None:
            owners.setdefault(one.name, Counter())[one.truth] += 1
    owner = {name: counts.most_common(1)[0][0] for name, counts in owners.items()}
    sure = [one for one in told if one.name is not None and one.confidence >= threshold]
    right = sum(owner[one.name] == one.truth for one in sure if one.name is not None)
    return len(sure), right / len(sure) if sure else 1.0


def _count(labels: Iterable[Hashable]) -> int:
    return sum(number * (number - 1) // 2 for number in Counter(labels).values())

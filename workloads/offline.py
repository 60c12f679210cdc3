"""What policies that no engine has would have hit, on the sequence of calls that one play recorded. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .belady import Hits, least_recent, minimum, most_recent, most_worth, unlimited
from .gap_law import DISCOUNTS, GapLaw, worth_by_law
from .results import Sequel


@dataclass(frozen=True, slots=True)
class Found:
    """Shares of what an unlimited cache would have had; None: that is nothing."""

    all_calls: float | None
    first_calls: float | None

    def as_json(self, best: Found) -> dict[str, object]:
        return {
            "prefix_hit_rate": self.all_calls,
            "first_call_hit_rate": self.first_calls,
            "share_of_belady": {
                "all_calls": share(self.all_calls, best.all_calls),
                "first_calls": share(self.first_calls, best.first_calls),
            },
        }


@dataclass(frozen=True, slots=True)
class Offline:
    """On one recorded sequence, with the room of the engine."""

    belady: Found
    lru: Found
    mru: Found
    law: Found
    """The best found that knows the law of the gaps and who is active, and not the future."""
    law_discount: float
    """With which it was found, see `gap_law`."""

    def rows(self) -> dict[str, Found]:
        """By name, without Belady."""
        return {"lru": self.lru, "mru": self.mru, "law": self.law}

    def as_json(self) -> dict[str, object]:
        return {
            "belady": self.belady.as_json(self.belady),
            **{name: found.as_json(self.belady) for name, found in self.rows().items()},
            "law_discount": self.law_discount,
        }


def share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def offline(played: Sequel, law: GapLaw, capacity: int) -> Offline:
    calls = played.recorded
    there_is = unlimited(calls)

    def found(hits: Hits) -> Found:
        return Found(
            _share_of(hits, there_is, lambda index: played.measured[index]),
            _share_of(hits, there_is, lambda index: played.measured[index] and played.first[index]),
        )

    by_law: dict[float, Found] = {}
    for discount in DISCOUNTS:
        worth, again_at = worth_by_law(law, discount, played.calls)
        by_law[discount] = found(most_worth(calls, capacity, worth, again_at))
    best = max(by_law, key=lambda discount: by_law[discount].first_calls or 0.0)
    return Offline(
        found(minimum(calls, capacity)),
        found(least_recent(calls, capacity)),
        found(most_recent(calls, capacity)),
        by_law[best],
        best,
    )


def _share_of(hits: Hits, there_is: Hits, counts: Callable[[int], bool]) -> float | None:
    chosen = [index for index in range(len(hits.tokens)) if counts(index)]
    whole = sum(there_is.tokens[index] for index in chosen)
    return sum(hits.tokens[index] for index in chosen) / whole if whole else None

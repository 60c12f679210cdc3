"""The table of estimators: how rightly each configuration told the order, and what share of the bounds it reached. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from .in_time import InTime
from .offline import Offline, share
from .results import Summary


@dataclass(frozen=True, slots=True)
class Touches:
    """Of one configuration that loads memory ahead of calls, on the sequence of its own first play."""

    found: InTime
    bound: InTime
    """With the same link and room, by somebody who makes no mistakes."""
    mru: InTime
    """An engine that loads nothing ahead, and gives up first what was used last."""

    def as_json(self) -> dict[str, object]:
        return {
            **{name: {**asdict(one), "share": one.share} for name, one in self._each()},
            "share_of_bound": share(self.found.share, self.bound.share),
        }

    def _each(self) -> list[tuple[str, InTime]]:
        return [("found", self.found), ("bound", self.bound), ("mru", self.mru)]


@dataclass(frozen=True, slots=True)
class Row:
    """Shares of what an unlimited cache would have had, and of what Belady would have hit: on the device, so that what a call
    has to bring from host memory itself is no hit."""

    all_calls: float | None
    all_of_belady: float | None
    first_calls: float | None
    first_of_belady: float | None
    first_of_law: float | None
    """Of what the best policy found that knows the law of the gaps and not the future would have hit."""


@dataclass(frozen=True, slots=True)
class Estimators:
    offline: Offline | None = None
    """On the sequence of the reference's first play. None where the engine does not tell how it tokenizes."""
    touches: Mapping[str, Touches] = field(default_factory=dict)
    """By configuration."""

    def rows(self, summaries: Mapping[str, Summary]) -> dict[str, Row]:
        """Of each configuration on its own sequences, then of what nobody played."""
        law = None if self.offline is None else self.offline.law.first_calls
        rows = {}
        for name, summary in summaries.items():
            everything, first = summary.all_calls, summary.first_calls
            rows[name] = Row(
                everything.resident_rate,
                share(everything.resident_rate, everything.belady_hit_rate),
                first.resident_rate,
                share(first.resident_rate, first.belady_hit_rate),
                share(first.resident_rate, law),
            )
        if self.offline is not None:
            best = self.offline.belady
            for name, found in self.offline.rows().items():
                rows[f"({name})"] = Row(
                    found.all_calls,
                    share(found.all_calls, best.all_calls),
                    found.first_calls,
                    share(found.first_calls, best.first_calls),
                    share(found.first_calls, law),
                )
        return rows

    def as_json(self, summaries: Mapping[str, Summary]) -> dict[str, object]:
        return {
            "rows": {name: asdict(row) for name, row in self.rows(summaries).items()},
            "offline": None if self.offline is None else self.offline.as_json(),
            "touches": {name: one.as_json() for name, one in self.touches.items()},
        }

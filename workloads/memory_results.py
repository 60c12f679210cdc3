"""What loading memory ahead of calls was worth: numbers of the memory benchmark. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from .results import Play, Summary, mean


def load_s(play: Play) -> float | None:
    """Seconds in which the engine stood still for a load. None without a meter."""
    return None if play.step_seconds is None else play.step_seconds.get("load", 0.0)


@dataclass(frozen=True, slots=True)
class AgainstReference:
    """One configuration beside the plays of the reference in the same passes and repeats."""

    load_hidden: float | None
    """The share of the reference's blocked seconds that are gone: 1 if none is left, below 0 if there are more. None
    without a meter, and where the reference waits for nothing."""
    ttft_saved: float | None
    """The share of the reference's mean time to the first token that is gone."""


def against(plays: Sequence[Play], name: str, reference: str) -> AgainstReference:
    by_place = {(play.configuration, play.pass_index, play.repeat): play for play in plays}
    own = [play for play in plays if play.configuration == name]
    referred = [by_place[reference, play.pass_index, play.repeat] for play in own]
    return AgainstReference(
        _saved([load_s(play) for play in own], [load_s(play) for play in referred]),
        _saved(_ttft_s(own), _ttft_s(referred)),
    )


def _ttft_s(plays: Sequence[Play]) -> list[float | None]:
    return [mean([call.ttft_s for call in play.calls if call.ttft_s is not None]) for play in plays]


def _saved(own: Sequence[float | None], referred: Sequence[float | None]) -> float | None:
    ours = [value for value in own if value is not None]
    theirs = [value for value in referred if value is not None]
    if len(ours) < len(own) or len(theirs) < len(referred) or not sum(theirs) > 0:
        return None
    return 1 - sum(ours) / sum(theirs)


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Counts of loads ahead of calls, in all plays together."""

    issued: float = 0
    """That moved something."""
    used: float = 0
    """And a call then came that used it."""
    late: float = 0
    """A call came while it was on its way."""
    missed: float = 0
    """A call had to load it itself."""
    wasted_bytes: float = 0
    """Moved ahead and evicted unused."""
    wasted: float = 0
    """Evicted before any call used it."""
    refused: float = 0
    """By the engine, for want of room or of a copy; most are asked for again."""

    def __add__(self, other: Prefetch) -> Prefetch:
        return Prefetch(*(getattr(self, name) + getattr(other, name) for name in _COUNTED))

    @property
    def coverage(self) -> float | None:
        """Of the loads that calls needed: those that were there in time."""
        needed = self.used + self.late + self.missed
        return self.used / needed if needed else None

    @property
    def precision(self) -> float | None:
        """Of the loads whose fate is known: those that were there in time. Those that still wait for their call when
        the play ends are neither used nor wasted."""
        known = self.used + self.late + self.wasted
        return self.used / known if known else None

    def as_json(self) -> dict[str, object]:
        return {
            "issued": self.issued,
            "used": self.used,
            "late": self.late,
            "missed": self.missed,
            "coverage": self.coverage,
            "precision": self.precision,
            "wasted": self.wasted,
            "wasted_bytes": self.wasted_bytes,
            "refused": self.refused,
        }


_COUNTED = tuple(field.name for field in fields(Prefetch))
"""As engines call them."""


def prefetch_by_kind(summary: Summary) -> dict[str, Prefetch]:
    found: dict[str, Prefetch] = {}
    for play in summary.plays:
        for kind, counts in play.loads.items():
            found[kind] = found.get(kind, Prefetch()) + _prefetch(counts)
    return found


def _prefetch(counts: Mapping[str, float]) -> Prefetch:
    return Prefetch(*(counts.get(name, 0) for name in _COUNTED))


def adapter_hit_rate(summary: Summary) -> float | None:
    """Of the times that a call needed its adapter: those that it was in a slot. None without adapters."""
    totals: dict[str, float] = {}
    for play in summary.plays:
        for result, count in play.adapter_lookups.items():
            totals[result] = totals.get(result, 0) + count
    everything = sum(totals.values())
    return totals.get("hit", 0) / everything if everything else None


def mean_load_s(summary: Summary) -> float | None:
    """Blocked seconds of one play."""
    seconds = [load_s(play) for play in summary.plays]
    known = [value for value in seconds if value is not None]
    return mean(known) if len(known) == len(seconds) else None


def ceiling(reference: Summary) -> float | None:
    """How fast the reference could be if none of its loads cost anything, and nothing else changed."""
    shares = reference.time_share()
    return None if shares is None or shares["load"] >= 1 else 1 / (1 - shares["load"])

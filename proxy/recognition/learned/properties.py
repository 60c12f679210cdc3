"""What stands at other places when a value stands here: who calls has more than one property, and they stay together.

An age goes with a name, a mood does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .place import Place

_MAX_VALUES = 64
"""Values that are followed: enough to see whether they keep what they have."""

_MAX_PLACES = 32
_KEPT = 0.9
"""The share of the times that a property is still there, from which on it stays: one that changes now and then is a state."""

_SUPPORTED_TIMES, _OPPOSED_TIMES = 6, 4
"""Times that a value came back, before another place speaks for it, and before its silence speaks against it."""


@dataclass(slots=True, eq=False)
class Properties:
    before: dict[str, dict[Place, str]] = field(default_factory=dict)
    """What stood at other places when a value was there last."""
    twins: set[Place] = field(default_factory=set)
    """Places that have the same words."""
    kept: dict[Place, list[int]] = field(default_factory=dict)
    """Of each other place: how often it still had what it had with the same value here, and of how many times."""

    def seen(self, value: str, others: Sequence[tuple[Place, str]]) -> None:
        before = self.before.get(value)
        if before is None:
            if len(self.before) < _MAX_VALUES:
                self.before[value] = dict(others)
            return
        for place, other in others:
            # Two places in the same words say the same thing once.
            if value in other or other in value:
                if len(self.twins) < _MAX_PLACES:
                    self.twins.add(place)
                continue
            old = before.get(place)
            before[place] = other
            if old is not None:
                tally = self.kept.get(place)
                if tally is None:
                    if len(self.kept) >= _MAX_PLACES:
                        continue
                    tally = self.kept[place] = [0, 0]
                tally[0] += old == other
                tally[1] += 1

    def supported(self, varying: set[Place]) -> bool:
        """Something that differs between callers stays with each value."""
        return any(
            times >= _SUPPORTED_TIMES and same >= _KEPT * times and place in varying
            for place, (same, times) in self.kept.items()
        )

    def opposed(self, rivals: Iterable[Place]) -> bool:
        """Something that may be an identity too does not stay with it."""
        for place in rivals:
            if place not in self.twins:
                same, times = self.kept.get(place, (0, 0))
                if times < _OPPOSED_TIMES or same < _KEPT * times:
                    return True
        return False

"""The places that are known, and which of them name callers: learned from lessons, judged now and then."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from scalesim.proxy.core.model import AgentName

from .callers import Callers, label_of
from .meetings import DOUBLED
from .pace import Pace
from .place import Place, Where
from .places import Known, Value
from .reading import Found, Read

_RANKED = 12
"""Places that are looked up: the cost of a call in which none of them stands."""

_CANDIDATES = 10
"""Places that are compared with each other in a lesson: its cost grows with the square."""

_DIRTY = 12.0
"""Taken off a score where another place is never had by two at once: more than what the words say is worth."""

_HELD = 0.6
"""Added to the score of the place that is best already, so that names do not change for a trifle."""

_GONE_AFTER, _STALE = 16, 1024
"""Calls without it, after which a place is of a simulation that has gone: when learning began again, and ever."""

_GLIMPSED_FROM = 4
"""Lessons after which a key must come twice before its values are followed."""

_SILENT = 32
"""Calls without the best place after which another simulation may have come: more than a game master makes in a row."""

_JUDGED_EVERY = 16
"""Lessons between two judgements; a quarter of it for prompts that no place names."""

_AT_ONCE = 8
"""The first lessons are judged at once, later ones when a call ends, or this many lessons afterwards."""

_SOON = 32
"""Places that speak to somebody are judged at once when they are first seen, this often."""

_UNTRIED_VALUES = 1024
"""Values that are kept of a place as long as nobody is named by it."""

_SURE = 0.8
"""The confidence from which on the best place tells callers apart."""

_COMMON = 8
"""A place that less than one of so many lessons have says nothing of the form of a prompt."""

_FORMING = frozenset({Where.KEY, Where.AFTER})


class Ranking:
    def __init__(self, pace: Pace, callers: Callers, *, max_places: int, max_values: int) -> None:
        self._pace, self._callers = pace, callers
        self._max_places, self._max_values = max_places, max_values
        self._places: OrderedDict[Place, Known] = OrderedDict()
        self._glimpsed: OrderedDict[Place, None] = OrderedDict()
        """Keys that were there once: in a feed each line has one, and most never come again."""
        self._candidates: list[Known] = []
        self._lessons = self._soon = 0
        self._due = False
        self.ranked: list[Known] = []
        self.told = False
        """The best place tells callers apart."""

    def sizes(self) -> dict[str, int]:
        return {
            "learned_places": len(self._places),
            "learned_values": sum(len(known.values) for known in self._places.values()),
        }

    def look_up(
        self, read: Read, kind: str, seen: list[tuple[Known, str]]
    ) -> tuple[Known | None, str, Value | None]:
        """By the best place that this prompt has."""
        for known in self.ranked:
            if (value := read.value(known.place)) is not None:
                known.seen_at = self._pace.calls
                entry = known.see(value, kind, self._max_values)
                seen.append((known, value))
                return known, value, entry
        return None, "", None

    def learn(self, read: Read, kind: str, seen: list[tuple[Known, str]], best: Known | None) -> None:
        self._lessons += 1
        addressed = False
        found = list(read.places())
        form = self._form(found)
        for place, value, is_torn in found:
            known = self._places.get(place)
            if known is None:
                if (
                    place.where is Where.KEY
                    and self._lessons > _GLIMPSED_FROM
                    and not self._glimpsed_before(place)
                ):
                    continue
                known = self._add(place)
                if known.says == 2 and self._soon < _SOON:
                    self._soon += 1
                    addressed = True
            else:
                self._places.move_to_end(place)
            if place.where is Where.CUE:
                known.tear(is_torn)
            known.seen_at = self._pace.calls
            if known is not best:
                known.see(value, kind, self._max_values if known.says else _UNTRIED_VALUES, form)
                seen.append((known, value))
        spoken_to = any(known.says and known in self.ranked for known, _ in seen)
        for known, _ in seen:
            known.beside += spoken_to
            known.alone += not spoken_to
        self._compare(seen)
        overdue = self._due and self._lessons % _AT_ONCE == 0
        if addressed or overdue or self._lessons <= _AT_ONCE:
            self._judge()
        elif self._lessons % (_JUDGED_EVERY if best is not None else _JUDGED_EVERY // 4) == 0:
            self._due = True

    def first_of(self, seen: Sequence[tuple[Known, str]]) -> tuple[Known | None, str, Value | None]:
        """The best of the places that were seen."""
        for known in self.ranked:
            for other, value in seen:
                if other is known:
                    return known, value, known.values.get(value)
        return None, "", None

    def likely(self, seen: Sequence[tuple[Known, str]]) -> tuple[Known, str, AgentName] | None:
        """Where a name stands by itself that no two calls at once had, and that is nobody's yet: it may turn out to be who calls."""
        return max(
            (
                (known, value, label)
                for known, value in seen
                if known.varies
                and not known.meetings.double
                and value in known.values
                and (label := label_of(known, value)) is not None
                and not self._callers.knows(label)
            ),
            key=lambda one: (one[0].says, len(one[0].values), one[0].place.weight, one[0].place.order),
            default=None,
        )

    def judge_if_due(self) -> None:
        """For moments at which nobody waits."""
        if self._due:
            self._judge()

    @property
    def is_silent(self) -> bool:
        """The best place has not been there for long."""
        return bool(self.ranked) and self._pace.calls - self.ranked[0].seen_at > _SILENT

    def repeats(self, best: Known, entry: Value) -> bool:
        """It may only repeat what a better place has said."""
        return (
            self.told
            and entry.caller is None
            and not (best.says or best.stranger)
            and best is not self.ranked[0]
        )

    def _glimpsed_before(self, place: Place) -> bool:
        if place in self._glimpsed:
            return True
        self._glimpsed[place] = None
        if len(self._glimpsed) > self._max_places:
            self._glimpsed.popitem(last=False)
        return False

    def _add(self, place: Place) -> Known:
        known = self._places[place] = Known(place)
        if len(self._places) > self._max_places:
            _, gone = self._places.popitem(last=False)
            if gone in self.ranked:
                self.ranked.remove(gone)
        return known

    def _form(self, found: Sequence[Found]) -> int:
        """The same for prompts of one template: which keys and headings they have."""
        common = self._lessons // _COMMON
        return hash(
            frozenset(
                [
                    place.key
                    for place, _, _ in found
                    if place.where in _FORMING
                    and (known := self._places.get(place)) is not None
                    and known.calls > common
                ]
            )
        )

    def _compare(self, seen: Sequence[tuple[Known, str]]) -> None:
        compared = [(known, value) for known, value in seen if known in self._candidates]
        for known, value in compared:
            known.properties.seen(
                value, [(other.place, text) for other, text in compared if other is not known]
            )

    def _judge(self) -> None:
        pace = self._pace
        calls = pace.calls
        since = max(calls - _STALE, pace.opened if calls - pace.opened > _GONE_AFTER else 0)
        active = [
            known
            for known in self._places.values()
            if (known.calls > 1 or known.says) and known.seen_at > since
        ]
        self._choose_candidates(active)
        ranked = [known for _, known in self._scored(active)]
        # Where the best place tells callers apart, others only count as far as they say the same.
        self.told = (
            bool(ranked) and ranked[0].varies and (ranked[0].says > 0 or ranked[0].confidence >= _SURE)
        )
        if self.told:
            for known in ranked:
                known.stranger = self._is_stranger(known)
            ranked = [
                known
                for number, known in enumerate(ranked)
                if number == 0 or known.vouched or known.stranger or (known.says and known.doubled < DOUBLED)
            ]
        self.ranked = ranked[:_RANKED]
        pace.settled = bool(ranked) and ranked[0].confidence >= _SURE
        self._due = False

    def _choose_candidates(self, active: Sequence[Known]) -> None:
        interesting = [known for known in active if known.interest]
        interesting.sort(key=lambda known: (-known.interest, *known.place.order))
        self._candidates = interesting[:_CANDIDATES]
        varying = {known.place for known in interesting if len(known.values) >= 3 and known.steadiness >= 0.3}
        rivals = [
            known.place for known in self._candidates if not known.meetings.refuted and not known.is_torn
        ]
        for known in active:
            known.judge(varying, rivals)

    def _scored(self, active: Sequence[Known]) -> list[tuple[float, Known]]:
        held = self.ranked[0] if self.ranked else None
        scored = [
            (score + _HELD * (known is held), known) for known in active if (score := known.score) is not None
        ]
        if any(
            known.meetings.clean and known.returns >= 8 and known.steadiness >= 0.5 for _, known in scored
        ):
            # Where something is never had by two at once, it is not something that often is.
            scored = [(score - _DIRTY * (known.doubled >= DOUBLED), known) for score, known in scored]
        # The order must not depend on which places were used last.
        scored.sort(key=lambda one: (-one[0], *one[1].place.order))
        return scored

    def _is_stranger(self, known: Known) -> bool:
        """It names callers of another simulation: it never stands beside a better place, nor says a name known from one."""
        return (
            not known.says
            and len(known.values) >= 3
            and known.alone >= 8
            and 10 * known.beside <= known.alone
            and self._callers.strangers(known)
        )

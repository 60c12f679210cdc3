"""What is known of one place: how its values come, and whether they can be who calls.

An identity comes back after others were there, and calls at once differ in it (see `meetings`). What never comes back is content
(or the clock), what never changes is template.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from scalesim.proxy.core.model import AgentName

from .meetings import Meetings
from .place import Place
from .properties import Properties

_LATELY = 16
"""Changes over which `lately` is smoothed: about one step of a small simulation."""

_TORN = 0.15
"""The share of prompts with two names at a place from which on it names nobody."""

_TORN_OVER = 16
"""Prompts over which that share is smoothed."""

_MANY = 2048
"""New values, of which next to none came back, after which words that speak to somebody are given up; a quarter of it where
they only say who it is about."""

_AGED_AT = 4096
"""Calls after which all counts are halved."""

_MAX_FORMS = 32
"""Forms of prompts that are told apart at a place."""

_UNPROVEN_VALUES = 64
"""Values kept of a place whose values do not come back."""

_PROVING_CALLS, _PROMISING = 256, 0.05
"""Calls after which such a share of values must have come back."""

_RETURNS, _STEADY = 4, 0.5
"""Values that came back, in number and as a share of the changes, before words that say nothing name anybody."""

_FIRM, _FIRM_RIVALLED = 16, 64
"""Values that came back before that alone is enough, without and with another place that says otherwise."""

_PRIOR = ((1.5, 1.5), (2.5, 2.0), (3.0, 2.0))
"""By what the words say: good and bad experiences that are taken for granted."""

_GRACE = (8, 64, 256)
"""By what the words say: so many new values, beside eight for each that came back, are no bad sign."""

_CONSTANT_MOST, _CONSTANT_SHARED_MOST = 0.5, 0.4
"""The highest confidence where all calls have one value, and where they even run at once."""

_CLEAN_MOST, _SPOKEN_MOST, _MOST = 0.99, 0.9, 0.78
"""The highest confidence: where calls at once differ or a property stays, where somebody is spoken to, where neither: this is
below what counts as sure."""


@dataclass(slots=True, eq=False)
class Value:
    caller: AgentName | None = None
    """Who has it, as far as it is known."""
    rival: AgentName | None = None
    """Named by another place in calls with this value, and how often in a row."""
    rivalries: int = 0
    firsts: list[AgentName] = field(default_factory=list)
    """Callers of calls with this value that were taken for new ones, before anything was known of the place."""


@dataclass(slots=True, eq=False)
class Known:
    place: Place
    says: int = field(init=False)
    """As the place does."""
    described: str = field(init=False)
    """The place, for a person."""
    values: OrderedDict[str, Value] = field(default_factory=OrderedDict)
    """The one used least lately first."""
    meetings: Meetings = field(default_factory=Meetings)
    properties: Properties = field(default_factory=Properties)
    calls: int = 0
    new: int = 0
    returns: int = 0
    """Times that a value came again after another."""
    lately: float = 0.0
    """The share of the last changes that were returns."""
    torn: float = 0.0
    """The share of the last prompts that had two values here: several are spoken to, so who is asked is another."""
    agreed: int = 0
    disagreed: int = 0
    """With the place by which the call was named."""
    has_support: bool = False
    beside: int = 0
    """Times that it stood beside a place that says who calls, and whether it did or not."""
    alone: int = 0
    stranger: bool = False
    """It stands where no better place does, and is about nobody that is known from one."""
    seen_at: int = 0
    """In calls."""
    rivalled: bool = True
    """Something else comes back too, and says otherwise."""
    last: str | None = None
    last_of: dict[int, str] = field(default_factory=dict)
    """By the form of the prompt."""

    def __post_init__(self) -> None:
        self.says, self.described = self.place.says, str(self.place)

    def see(self, value: str, kind: str, most: int, form: int | None = None) -> Value:
        """`form` is None where it is not known. A value that comes with a form of prompt of its own is a part of the template,
        so only what changes within a form counts, except where the words say who calls."""
        entry = self.values.get(value)
        self.calls += 1
        last, self.last = self.last, value
        if not self.says:
            last = None if form is None else self._last_of(form, value, last)
        if entry is None:
            entry = self.values[value] = Value()
            if self.says or form is not None:
                self.new += 1
                self.lately -= self.lately / _LATELY
            number = len(self.values)
            if number > most or (number > _UNPROVEN_VALUES and not self.promising):
                self.values.popitem(last=False)
        else:
            self.values.move_to_end(value)
            if last is not None and last != value:
                self.returns += 1
                self.lately += (1 - self.lately) / _LATELY
        self.meetings.begins(value, kind)
        return entry

    def _last_of(self, form: int, value: str, last: str | None) -> str | None:
        here = self.last_of.get(form)
        if here is not None or len(self.last_of) < _MAX_FORMS:
            self.last_of[form] = value
        # Another form may have been there first with what is new here.
        return here if last != value else None

    def leave(self, value: str, kind: str) -> None:
        self.meetings.ends(value, kind)

    def tear(self, is_torn: bool) -> None:
        self.torn += (is_torn - self.torn) / min(_TORN_OVER, self.calls + 1)

    def age(self) -> None:
        """What was seen long ago counts less, so that a new simulation is not judged by an old one."""
        self.calls //= 2
        self.new //= 2
        self.returns //= 2
        self.beside //= 2
        self.alone //= 2
        self.agreed //= 2
        self.disagreed //= 2
        self.meetings.age()

    def judge(self, varying: set[Place], rivals: Sequence[Place]) -> None:
        """By the other places that differ between callers, and those that may be identities too."""
        if self.calls > _AGED_AT:
            self.age()
        if self.properties.before:
            self.has_support = self.properties.supported(varying)
            self.rivalled = self.properties.opposed(one for one in rivals if one != self.place)

    @property
    def promising(self) -> bool:
        return self.calls < _PROVING_CALLS or self.steadiness > _PROMISING

    @property
    def steadiness(self) -> float:
        """Of the times that the value changed, how often to one that was there before: of all, or of the last."""
        changes = self.returns + self.new
        return max(self.returns / changes, self.lately) if changes else 0.0

    @property
    def is_torn(self) -> bool:
        return self.torn > _TORN

    @property
    def varies(self) -> bool:
        return len(self.values) > 1

    @property
    def doubled(self) -> float:
        """The share of calls that had the value of another that ran, of whatever kind; none if each caller's calls come at once."""
        if not self.meetings.double or (self.meetings.in_bursts and len(self.values) >= 3):
            return 0.0
        return self.meetings.doubled

    @property
    def score(self) -> float | None:
        """None: nobody is named by it."""
        if self.meetings.refuted or self.is_torn:
            return None
        says = self.says
        if says == 2:
            if self.new > _MANY and self.steadiness < 0.05:
                return None
        elif says == 1:
            if self.new > _MANY // 4 and self.steadiness < 0.2:
                return None
        elif not self.varies or self.returns < _RETURNS or self.steadiness < _STEADY or not self._firm:
            return None
        # What the words say comes first, what calls at once say may refute it, all else decides between equals.
        return (
            4.0 * says * self.varies
            + self.place.weight
            + 2 * self.steadiness
            + 0.5 * math.log2(max(1, len(self.values)))
            + 3 * self.has_support
            - 8 * self.meetings.parted
            - 16 * self.doubled
            - 4 * (1 - self.trust)
        )

    @property
    def _firm(self) -> bool:
        return (
            self.has_support
            or self.meetings.clean
            or self.returns >= (_FIRM_RIVALLED if self.rivalled else _FIRM)
        )

    @property
    def interest(self) -> float:
        """Whether it is worth while to compare it with others, before it counts."""
        if self.returns < 3 or len(self.values) < 3 or self.steadiness < 0.2:
            return 0.0
        return self.steadiness * math.log2(len(self.values)) * (1 - self.doubled)

    @property
    def trust(self) -> float:
        tried = self.agreed + self.disagreed
        return (self.agreed + 2) / (tried + 2) if tried else 1.0

    @property
    def vouched(self) -> bool:
        """By a better place, in calls that have both."""
        return self.agreed >= 4 and self.trust > 0.9

    @property
    def confidence(self) -> float:
        """The share of experiences that were good; far fewer are needed to lose it than to gain it."""
        says, meetings = self.says, self.meetings
        prior, doubt = _PRIOR[says]
        good = self.returns + 0.5 * (meetings.met - meetings.shared)
        bad = (
            6 * meetings.shared
            + 2 * self.disagreed
            + max(0, self.new - 8 * (self.returns + _GRACE[says])) * 0.2
        )
        share = (good + prior) / (good + bad + prior + doubt)
        if not self.varies:
            return min(share, _CONSTANT_SHARED_MOST if meetings.shared else _CONSTANT_MOST)
        share *= max(0.0, 1 - 3 * self.doubled)
        return min(
            share, _CLEAN_MOST if meetings.clean or self.has_support else _SPOKEN_MOST if says == 2 else _MOST
        )

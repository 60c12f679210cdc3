"""Callers that no place names: those that begin a conversation, those that speak to nobody, and roles that are no agents."""

from __future__ import annotations

from collections import OrderedDict

from scalesim.proxy.core.model import AgentName

from ..guess import CallerKind, Guess
from .vocabulary import MASTERS

OTHERS = AgentName("others")
NO_AGENTS = frozenset({OTHERS, *MASTERS})

_BEGINNER = "caller "
_BEGINS = 0.6
"""Confidence that whoever begins a conversation is new, where conversations go on at all."""

_MAX_LABELS = 4096
"""Names that were given to beginners and are not given to another."""

_HOPE = 64
"""Conversations that are taken for granted to go on: a whole first step of a simulation begins before one does."""

_ALONE = 0.6
"""The highest confidence that calls which speak to nobody are one caller's: they may be of several."""

_WORTHLESS = 0.05
"""A confidence below it is none."""

_MASTER = 0.75
"""There may be several in the same words."""

_RARE, _FIRST_CALLS = 0.9, 64
"""A role that more than so many of all calls have is the agents' own, after so many calls."""


class Beginners:
    """Whoever begins here is new. Most such callers never come back where prompts have nothing in common with each other."""

    def __init__(self) -> None:
        self._begun = self._continued = 0
        self._labels: OrderedDict[AgentName, None] = OrderedDict()

    @property
    def labels(self) -> int:
        return len(self._labels)

    def continued(self) -> None:
        self._continued += 1

    def guess(self, label: AgentName | None = None) -> Guess:
        """`label` is what it may be called, if the text says it."""
        self._begun += 1
        lasting = (self._continued + _HOPE) / (self._continued + max(0, self._begun - 2 * _HOPE) + _HOPE)
        if label is None or label in self._labels:
            name = AgentName(f"{_BEGINNER}{self._begun}")
        else:
            name = label
            self._labels[name] = None
            if len(self._labels) > _MAX_LABELS:
                self._labels.popitem(last=False)
        return Guess(name, "learned", _BEGINS * min(1.0, lasting), "begins a conversation")


def is_beginner(name: AgentName) -> bool:
    return name.startswith(_BEGINNER)


class Others:
    """Calls that speak to nobody, while others do: a game master's or an evaluator's, unless several come at once."""

    def __init__(self) -> None:
        self.running = 0
        self._calls = self._met = 0

    def guess(self, master: AgentName | None = None) -> Guess | None:
        """`master`: the only one that there is."""
        self._calls += 1
        self._met += self.running > 0
        self.running += 1
        sure = _ALONE * (self._calls - 2 * self._met) / (self._calls + 2)
        if sure < _WORTHLESS:
            return None
        return Guess(
            master or OTHERS, "learned", sure, "speaks to no agent, while other calls do", CallerKind.OTHER
        )

    def leave(self) -> None:
        self.running -= 1


class Masters:
    """Game masters, evaluators and the like, by the role that they are addressed with."""

    def __init__(self) -> None:
        self._calls: dict[str, int] = {}
        """Of a fixed set."""

    @property
    def only(self) -> AgentName | None:
        """Who else speaks to nobody is the same, where there is one."""
        return AgentName(next(iter(self._calls))) if len(self._calls) == 1 else None

    def guess(self, role: str, calls: int) -> Guess | None:
        """`calls`: of all callers."""
        self._calls[role] = count = self._calls.get(role, 0) + 1
        if calls >= _FIRST_CALLS and count >= _RARE * calls:
            return None
        return Guess(AgentName(role), "learned", _MASTER, f"addressed as {role}", CallerKind.OTHER)

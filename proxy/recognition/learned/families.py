"""Two simulations that use the same names: what begins alike belongs together, unless the same name calls from both at once.

An agent may use several templates, but one after the other. Where calls of one name, of two beginnings, run at the same time again
and again, there are two callers of that name.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from scalesim.proxy.core.model import AgentName, CallId

_MAX_PAIRS = 256
_MAX_FAMILIES = 8
_AT_ONCE = 3


@dataclass(slots=True, eq=False)
class _Calls:
    running: list[str] = field(default_factory=list)
    last: str | None = None
    home: str = ""
    """The beginning of its first call: it keeps the name."""


class Families:
    def __init__(self, most: int = 20_000) -> None:
        self._most = most
        self._callers: OrderedDict[AgentName, _Calls] = OrderedDict()
        self._running: dict[CallId, tuple[AgentName, str]] = {}
        self._pairs: OrderedDict[tuple[str, str], list[int]] = OrderedDict()
        """Of two beginnings: how often at once, and how often one after the other."""
        self._apart: set[tuple[str, str]] = set()
        self._family: dict[str, int] = {}

    @property
    def size(self) -> int:
        return len(self._callers)

    def name(self, caller: AgentName, beginning: str) -> AgentName:
        number = self._family.get(beginning, 0)
        calls = self._callers.get(caller)
        if calls is None or calls.home == beginning or self._family.get(calls.home, 0) == number:
            return caller
        return AgentName(f"{caller} ({number + 1})")

    def elsewhere(self, caller: AgentName, beginning: str) -> bool:
        """It is known from prompts that begin otherwise."""
        calls = self._callers.get(caller)
        return calls is not None and calls.home != beginning

    def doubtful(self, caller: AgentName, beginning: str) -> bool:
        """A call of that name, of another beginning, runs."""
        calls = self._callers.get(caller)
        return calls is not None and bool(calls.running) and beginning not in calls.running

    def begins(self, call: CallId, caller: AgentName, beginning: str) -> None:
        calls = self._callers.get(caller)
        if calls is None:
            calls = self._callers[caller] = _Calls(home=beginning)
            if len(self._callers) > self._most:
                self._callers.popitem(last=False)
        else:
            self._callers.move_to_end(caller)
        if calls.running:
            if beginning not in calls.running:
                self._count(calls.running[-1], beginning, 0)
        elif calls.last is not None and calls.last != beginning:
            self._count(calls.last, beginning, 1)
        calls.last = beginning
        if len(calls.running) < 64:
            calls.running.append(beginning)
            self._running[call] = (caller, beginning)

    def ends(self, call: CallId) -> None:
        caller, beginning = self._running.pop(call, (None, ""))
        if (
            caller is not None
            and (calls := self._callers.get(caller)) is not None
            and beginning in calls.running
        ):
            calls.running.remove(beginning)

    def _count(self, one: str, other: str, which: int) -> None:
        pair = (one, other) if one < other else (other, one)
        counts = self._pairs.get(pair)
        if counts is None:
            counts = self._pairs[pair] = [0, 0]
            if len(self._pairs) > _MAX_PAIRS:
                self._pairs.popitem(last=False)
        counts[which] += 1
        if which == 0 and counts[0] >= _AT_ONCE and 2 * counts[0] >= counts[1] and pair not in self._apart:
            if len(self._apart) >= _MAX_PAIRS:
                return
            self._apart.add(pair)
            first, second = self._family.get(one, 0), self._family.get(other, 0)
            if first == second:
                self._family[other] = self._free(other)

    def _free(self, beginning: str) -> int:
        """The first family with none that it is apart from."""
        rivals = {
            self._family.get(one if other == beginning else other, 0)
            for one, other in self._apart
            if beginning in (one, other)
        }
        return next((number for number in range(_MAX_FAMILIES) if number not in rivals), 0)

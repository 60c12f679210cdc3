"""Calls that run at once, and whether they have the same value at one place.

One agent makes one call at a time: a value that two calls at once have, again and again, is shared by several. But one agent
after the other may make several calls of different kinds at once, which all have its value then.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_PARTED = 0.15
"""Of two calls of a kind at once so great a share may have the same value: a retry, a name that two agents have."""

_REFUTED = 2
"""Times that it happened: once is a retry."""

_BURSTS = 0.6
"""The share of those that run which have the same value, if a caller's own calls are all that runs; among calls of several
callers it is at most a half."""

_CROWD, _CLEAN_CROWD = 4, 8
"""Times that something ran already, before it says anything."""

DOUBLED = 0.1
"""Of all that began beside other calls so great a share may have had the value of one of them."""

_MAX_VALUES, _MAX_KINDS, _MAX_OF_KIND = 8192, 512, 512
"""Of the running calls that are compared; more run at once nowhere."""


@dataclass(slots=True, eq=False)
class Meetings:
    met: float = 0.0
    """Times that a call of the same kind ran while another began."""
    shared: float = 0.0
    """Of them those with the same value."""
    crowd: float = 0.0
    """Times that any call ran while another began."""
    double: float = 0.0
    """Of them those with the same value."""
    company: float = 0.0
    """The share of those that ran that had the same value, summed up."""
    of_kind: dict[str, list[str]] = field(default_factory=dict)
    """By the kind of call: the values of those that run."""
    busy: dict[str, int] = field(default_factory=dict)
    """Of any kind: how many run with each value."""
    running: int = 0

    def begins(self, value: str, kind: str) -> None:
        busy = self.busy
        if busy:
            self.crowd += 1
            if number := busy.get(value, 0):
                self.double += 1
                self.company += number / self.running
        if len(busy) < _MAX_VALUES or value in busy:
            busy[value] = busy.get(value, 0) + 1
            self.running += 1
        others = self.of_kind.get(kind)
        if others:
            self.met += 1
            self.shared += value in others
            if len(others) < _MAX_OF_KIND:
                others.append(value)
        elif len(self.of_kind) < _MAX_KINDS:
            self.of_kind[kind] = [value]

    def ends(self, value: str, kind: str) -> None:
        if number := self.busy.get(value, 0):
            self.running -= 1
            if number > 1:
                self.busy[value] = number - 1
            else:
                del self.busy[value]
        others = self.of_kind.get(kind)
        if others and value in others:
            others.remove(value)
            if not others:
                del self.of_kind[kind]

    def age(self) -> None:
        self.met /= 2
        self.shared /= 2
        self.crowd /= 2
        self.double /= 2
        self.company /= 2

    @property
    def parted(self) -> float:
        """How far calls of a kind have the same value: 0 for an identity."""
        return self.shared / (self.met + 2)

    @property
    def refuted(self) -> bool:
        return self.shared >= _REFUTED and self.parted > _PARTED

    @property
    def in_bursts(self) -> bool:
        """Whatever runs has the same value mostly."""
        return self.crowd >= _CROWD and self.company >= _BURSTS * self.crowd

    @property
    def doubled(self) -> float:
        return self.double / (self.crowd + _CROWD)

    @property
    def clean(self) -> bool:
        """Many ran at once, and hardly any two had the same value."""
        return self.crowd >= _CLEAN_CROWD and self.double < DOUBLED * self.crowd

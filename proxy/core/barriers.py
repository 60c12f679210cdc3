"""Barriers: moments at which a simulation has waited for all calls of a step, so that every activation before is over.

Where steps come faster than the pause that ends an activation, nothing else would end any: each pause between two steps
would be learned as one inside an activation, and be waited for several times over.
"""

from __future__ import annotations

from .bursts import Bursts

NEEDED = 4
"""Steps in a row, with calls in each, that the simulation told of while no call ran. One tick may come in a pause by chance."""


class Barriers:
    """Of one simulation. A call costs the same however many agents there are."""

    __slots__ = ("_bursts", "_called", "_in_a_row", "_silent_at", "_ticks", "count")

    def __init__(self) -> None:
        self.count = 0
        """So far. Who has not called since the last one is in no activation."""
        self._bursts = Bursts()
        """Of all calls: where a simulation does not tell of its steps, they are read off these."""
        self._ticks = False
        self._called = False
        """Since the last tick."""
        self._in_a_row = 0
        self._silent_at = 0.0

    def fell_silent(self, at: float) -> None:
        """The last of the calls that ran has ended."""
        self._silent_at = at

    def ticked(self, *, running: bool) -> None:
        """A step that the simulation tells of begins. `running`: while calls run."""
        self._ticks = True
        if not self._called:
            return
        self._called = False
        self._in_a_row = 0 if running else self._in_a_row + 1
        self.count += self._in_a_row >= NEEDED

    def called(self, number: int, before: int | None, at: float, *, running: bool) -> None:
        """The call of that number starts; `before` is that of its agent's last one. `running`: while others run."""
        self._called = True
        if self._ticks:
            return
        bursts = self._bursts
        if bursts.began(number, at):
            # A burst that begins while calls run, or at once after them, may be the second call of everybody's chain.
            self.count += bursts.recognised and not running and at > self._silent_at
        elif before is not None:
            bursts.repeated(before >= bursts.opened_turn)

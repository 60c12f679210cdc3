"""The end of an activation in a simulation that makes one call at a time: another agent's call.

By time alone it could not be told there: while one agent calls the others wait, and the pause between two activations of an
agent is then as long as the pauses within one. What counts instead is how many calls of others came in between. Where agents
come back after a few calls and also after many, as with a game master who speaks after each call of a chain, the few are
part of the chain.
"""

from __future__ import annotations

from .mean import Mean

NEEDED = 8
"""Times in a row that the call went from one agent to another and no two overlapped, before a simulation counts as one
that makes one call at a time."""
NEEDED_AGAIN = 64
"""The same once two did overlap: where agents call independently and seldom, few calls overlap, and eight in a row prove
nothing. Whenever it was believed and proved wrong, so many times as often as before."""
_MOST_NEEDED = 4096

FEW = 4
"""Calls of others. Who comes back after no more may still be in its chain."""

_CHAINS = 1 / 8
"""Chains are interleaved if so many of those who come back do so after a few calls..."""
_FAR = 64
"""... and one of the last so many came after more, or for the first time. Else there are but a few agents, who take turns."""


class Handovers:
    """Of one simulation. Told of every call of a known agent."""

    __slots__ = ("_few", "_near", "_needed", "calls", "count")

    def __init__(self) -> None:
        self.calls = 0
        """So far. Those of unknown callers are no evidence of anybody's turn."""
        self.count = 0
        """In a row, without two calls that overlapped."""
        self._needed = NEEDED
        self._few = Mean(1 / 32)
        """Of those who came back after others, how many did so after a few calls."""
        self._near = 0
        """In a row who came back after a few calls."""

    def called(self, others: int | None, *, overlaps: bool) -> None:
        """`others` are the calls of others since the caller's last one; None: it had none. `overlaps`: with one of them."""
        self.calls += 1
        if overlaps:
            believed = self.count >= self._needed
            self._needed = min(
                self._needed * NEEDED_AGAIN if believed else max(self._needed, NEEDED_AGAIN), _MOST_NEEDED
            )
            self.count = 0
        elif others != 0:
            self.count += 1
        if others is None or others > FEW:
            self._near = 0
        elif others > 0:
            self._near += 1
        if others:
            self._few.add(others <= FEW)

    @property
    def ends_after(self) -> int | None:
        """An activation is over when more calls of others than that came after its last one. None: calls end none."""
        if self.count < self._needed:
            return None
        return FEW if self._few.value >= _CHAINS and self._near < _FAR else 0

"""What an engine's time goes into, by what would have to be more for it to go faster.

Each second of each engine has one cause, so they add up. A step of decoding or of prefill takes some time whatever it is for: the weights
are read, and there is an overhead. That floor is paid by whoever keeps others from sharing it: what calls wait for, where some wait; else
the simulation, whose chains of calls had no more to run at that time. What a step takes above its floor is the calls' own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Cause(StrEnum):
    CHAINS = "chains"
    """The simulation's own: calls that wait for those before them, and steps that end with their slowest."""
    DECODE = "decode"
    """What running calls add to steps of decoding: reading what they hold, and computing."""
    PREFILL = "prefill"
    """Prompts computed for the first time."""
    AGAIN = "again"
    """Prompts computed again: neither the device nor host memory had kept them."""
    LINK = "link"
    """Steps waited for copies from host memory."""
    POOL = "pool"
    """Calls waited for room on the device."""
    SLOTS = "slots"
    """Calls waited for an adapter slot."""
    LIMIT = "limit"
    """Calls waited because as many ran as may."""
    SPREAD = "spread"
    """Calls waited on one engine while another had nothing to do, or were computed again there."""


def none() -> dict[Cause, float]:
    return dict.fromkeys(Cause, 0.0)


@dataclass(slots=True)
class Account:
    """Of one engine, in seconds."""

    seconds: dict[Cause, float] = field(default_factory=none)

    def prefill(self, seconds: float, floor: float, again: float, elsewhere: float) -> None:
        """`again`, `elsewhere`: shares of the tokens that this engine, or only others, had computed before."""
        own = seconds - floor
        self.seconds[Cause.CHAINS] += floor
        self.seconds[Cause.AGAIN] += own * again
        self.seconds[Cause.SPREAD] += own * elsewhere
        self.seconds[Cause.PREFILL] += own * (1.0 - again - elsewhere)

    def decode(self, seconds: float, floor: float, waits_for: Cause | None) -> None:
        self.seconds[waits_for or Cause.CHAINS] += floor
        self.seconds[Cause.DECODE] += seconds - floor

    def load(self, seconds: float) -> None:
        self.seconds[Cause.LINK] += seconds


class Idleness:
    """How long engines had nothing to do while calls waited on others, in seconds of all of them together."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._idle: set[str] = set()
        self._waited_on: set[str] = set()
        self._since = 0.0

    def note(self, engine: str, now: float, *, is_idle: bool, is_waited_on: bool) -> None:
        if (engine in self._idle) == is_idle and (engine in self._waited_on) == is_waited_on:
            return
        if self._waited_on:
            self.seconds += (now - self._since) * len(self._idle)
        self._since = now
        for there, of in ((is_idle, self._idle), (is_waited_on, self._waited_on)):
            if there:
                of.add(engine)
            else:
                of.discard(engine)


def causes(accounts: list[Account], idle_s: float, spread_s: float) -> dict[str, float]:
    """Shares of all engines' time, which add up to 1. `idle_s`: they had nothing to do; `spread_s` of it, while others had."""
    total = none()
    for account in accounts:
        for cause, seconds in account.seconds.items():
            total[cause] += seconds
    total[Cause.CHAINS] += idle_s - spread_s
    total[Cause.SPREAD] += spread_s
    whole = sum(total.values()) or 1.0
    return {cause.value: seconds / whole for cause, seconds in total.items()}

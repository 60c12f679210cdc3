"""How one of several proxies that serve together is doing, for people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemberStatus:
    number: int
    leads: bool
    token: int | None
    leader_url: str | None
    """Of the leader's admin listener; None if nobody is known to lead."""
    problem: str
    """Why Redis cannot be used now; empty if it can."""
    waiting: int
    """Records that are still to be told."""
    told: int
    """Records so far."""
    dropped: int
    """Of these, such as nobody ever heard: Redis was away for too long."""
    missed: int
    """Records of others that never came, where this member leads."""
    garbled: int
    """Values in Redis that could not be read."""
    skew_s: float | None
    """How far our idea of the group's clock may be off."""
    lease_left_s: float
    """0 where it is not held."""
    lag_s: float | None
    """How old what the leader wrote down last is; None if nothing was read."""

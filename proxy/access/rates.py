"""How often somebody may call: a token bucket for each, in a bounded table, with the time as an argument."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

_Who = TypeVar("_Who", bound=Hashable)

TABLE_LIMIT = 16_384


@dataclass(frozen=True, slots=True)
class Rate:
    per_s: float
    """Calls a second in the long run, above 0."""
    burst: float
    """Calls that may come at once after a rest, at least 1."""


class Rates(Generic[_Who]):
    """A bucket is kept as the one moment at which it is full again.

    Of too many the one that was used longest ago is forgotten, and is full again. So whoever can call under more names than
    `limit` is not bounded by it; connections and keys are what bounds them.
    """

    def __init__(self, rate: Rate, limit: int = TABLE_LIMIT) -> None:
        self._interval_s = 1 / rate.per_s
        self._depth_s = rate.burst / rate.per_s
        self._limit = limit
        self._full_at: OrderedDict[_Who, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, who: _Who, at: float) -> float:
        """0 if the call may go on; else nothing is taken, and it is the seconds until it may."""
        full_at = max(self._full_at.get(who, at), at) + self._interval_s
        # Sums of intervals are off by a few bits: without room for them the last call of a burst is refused.
        wait_s = full_at - at - self._depth_s
        if wait_s > self._interval_s * 1e-6:
            return wait_s
        self._full_at[who] = full_at
        self._full_at.move_to_end(who)
        if len(self._full_at) > self._limit:
            self._full_at.popitem(last=False)
        return 0.0


def origin_of(host: str) -> str:
    """Under which name a client's address is counted. With IPv6 everybody has 2^64 addresses at least: they count as one.
    An IPv4 address that came over an IPv6 socket is the IPv4 address."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))

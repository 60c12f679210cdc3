"""Which link makes loads weigh what they weighed in the paper: from what two plays cost to a better guess. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .links import Link
from .program import Impossible

LOAD_SHARE = 0.36
"""Of the wall time of hicache, as in the paper at 500 agents."""
SHARE_TOLERANCE = 0.02
LEAST_RATIO, MOST_RATIO = 0.95, 1.10
"""Of the wall time of stock over that of hicache."""
AIMED_RATIO = 1.02
MOST_CHANGE = 8.0
"""In one round: what was measured beside a load is not the same beside one many times as long."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What one play of stock and of hicache cost with a link, in seconds."""

    stock_wall_s: float
    stock_load_s: float
    """Of adapters: stock brings no prefix back."""
    hicache_wall_s: float
    hicache_load_s: float
    """Of adapters and prefixes."""
    adapter_loads: float
    """That calls waited for, in a play of stock."""

    @property
    def load_share(self) -> float:
        return self.hicache_load_s / self.hicache_wall_s

    @property
    def ratio(self) -> float:
        return self.stock_wall_s / self.hicache_wall_s

    @property
    def fits(self) -> bool:
        return (
            abs(self.load_share - LOAD_SHARE) <= SHARE_TOLERANCE and LEAST_RATIO <= self.ratio <= MOST_RATIO
        )


def propose(seen: Weighed, link: Link, adapter_bytes: int) -> Link:
    """The link that would meet both targets if nothing changed but how long loads take.

    Adapters block both engines alike, prefixes hicache alone, so two targets give two times. Raises `Impossible` where no
    adapter was loaded.
    """
    if seen.adapter_loads <= 0:
        raise Impossible("no call waited for an adapter: fewer of them have to fit, or more agents to play")
    computing_s = seen.hicache_wall_s - seen.hicache_load_s
    wanted_load_s = computing_s * LOAD_SHARE / (1 - LOAD_SHARE)
    wanted_wall_s = computing_s + wanted_load_s
    adapters_s = AIMED_RATIO * wanted_wall_s - (seen.stock_wall_s - seen.stock_load_s)
    # Both take some time, however little is wanted of one.
    adapters_s = min(max(adapters_s, 0.05 * wanted_load_s), 0.95 * wanted_load_s)
    prefixes_s = wanted_load_s - adapters_s
    seen_prefixes_s = max(seen.hicache_load_s - seen.stock_load_s, 1e-3)
    change = min(max(prefixes_s / seen_prefixes_s, 1 / MOST_CHANGE), MOST_CHANGE)
    bandwidth = link.bandwidth_bytes_per_s / change
    return replace(
        link,
        bandwidth_bytes_per_s=bandwidth,
        adapter_overhead_s=max(0.0, adapters_s / seen.adapter_loads - adapter_bytes / bandwidth),
        prefix_overhead_s=link.prefix_overhead_s * change,
    )

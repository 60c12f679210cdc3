from __future__ import annotations

from dataclasses import replace

import pytest

from scalesim.workloads.link_search import LOAD_SHARE, Weighed, propose
from scalesim.workloads.links import Link
from scalesim.workloads.program import Impossible

ADAPTER_BYTES = 400_000
PREFIX_BYTES = 150e6
ADAPTER_LOADS = 40
PREFIX_LOADS = 60
START = Link("paper", 20e6, 0.1, 0.001)


def weigh(link: Link, slower: float = 1.0) -> Weighed:
    """A little model of both engines: stock computes prefixes again where hicache loads them."""
    adapters_s = ADAPTER_LOADS * (link.adapter_overhead_s + ADAPTER_BYTES / link.bandwidth_bytes_per_s)
    prefixes_s = PREFIX_LOADS * link.prefix_overhead_s + PREFIX_BYTES / link.bandwidth_bytes_per_s
    return Weighed(
        stock_wall_s=slower * 52 + adapters_s,
        stock_load_s=adapters_s,
        hicache_wall_s=slower * 40 + adapters_s + prefixes_s,
        hicache_load_s=adapters_s + prefixes_s,
        adapter_loads=ADAPTER_LOADS,
    )


@pytest.mark.parametrize(
    "start",
    [START, Link("slow", 1e6, 0.5, 0.0), Link("fast", 1e9, 0.0, 0.0001), Link("heavy", 50e6, 2.0, 0.01)],
)
def test_the_search_meets_both_targets_in_a_few_rounds(start: Link) -> None:
    link = start
    for _ in range(4):
        if weigh(link).fits:
            break
        link = propose(weigh(link), link, ADAPTER_BYTES)
    assert weigh(link).fits
    assert weigh(link).load_share == pytest.approx(LOAD_SHARE, abs=0.02)


def test_what_fits_is_both_the_share_and_the_ratio() -> None:
    fits = Weighed(65, 13, 64, 0.36 * 64, ADAPTER_LOADS)
    assert fits.fits
    assert not replace(fits, hicache_load_s=0.3 * 64).fits
    assert not replace(fits, stock_wall_s=72).fits
    assert not replace(fits, stock_wall_s=60).fits


def test_without_any_load_of_an_adapter_there_is_nothing_to_calibrate() -> None:
    with pytest.raises(Impossible, match="no call waited for an adapter"):
        propose(replace(weigh(START), adapter_loads=0), START, ADAPTER_BYTES)


def test_a_guess_far_off_is_approached_in_steps_that_are_bounded() -> None:
    proposed = propose(weigh(Link("fast", 1e12, 0.0, 0.0)), Link("fast", 1e12, 0.0, 0.0), ADAPTER_BYTES)
    assert proposed.bandwidth_bytes_per_s >= 1e12 / 8

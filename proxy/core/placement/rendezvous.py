"""Each agent has one engine, by a hash of its name, however busy that is. For comparison."""

from __future__ import annotations

from collections.abc import Sequence

from ..placing import Asked, Bounds, Placed, Site, Why, highest, least_loaded


def place(asked: Asked, sites: Sequence[Site], bounds: Bounds) -> Placed:
    site = least_loaded(sites) if asked.key is None else highest(asked.key, sites)
    return Placed(site.engine, Why.RULE)

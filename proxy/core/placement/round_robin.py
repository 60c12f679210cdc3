"""One engine after another. For comparison."""

from __future__ import annotations

from collections.abc import Sequence

from ..placing import Asked, Bounds, Placed, Site, Why


def place(asked: Asked, sites: Sequence[Site], bounds: Bounds) -> Placed:
    return Placed(sites[asked.turn % len(sites)].engine, Why.RULE)

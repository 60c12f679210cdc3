"""Each call goes where the fewest run. For comparison."""

from __future__ import annotations

from collections.abc import Sequence

from .. import placing
from ..placing import Asked, Bounds, Placed, Site, Why


def place(asked: Asked, sites: Sequence[Site], bounds: Bounds) -> Placed:
    return Placed(placing.least_loaded(sites).engine, Why.RULE)

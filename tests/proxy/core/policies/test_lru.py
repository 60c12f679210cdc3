from scalesim.proxy.core.policies.lru import plan
from scalesim.proxy.core.wanted import Candidate, View, Wanted

from ..conversation import own


def test_recency_needs_neither_order_nor_pins() -> None:
    assert plan(View([Candidate(own("Ann")[0], 0.0, True, 1.0, 10)], 100, 10)) == Wanted()

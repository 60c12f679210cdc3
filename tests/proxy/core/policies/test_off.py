from scalesim.proxy.core.policies.off import plan
from scalesim.proxy.core.wanted import Candidate, View, Wanted

from ..conversation import own


def test_nothing_is_wanted() -> None:
    assert plan(View([Candidate(own("Ann")[0], 0.0, True, 1.0, 10)], 100, 10)) == Wanted()

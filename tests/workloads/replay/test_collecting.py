from __future__ import annotations

import gc

import pytest

from scalesim.workloads.replay.collecting import YOUNG, seldom


def test_the_collector_rests_while_something_plays_and_is_as_it_was_afterwards() -> None:
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="ends badly"), seldom():
        assert gc.get_threshold()[0] == YOUNG
        raise ValueError("ends badly")
    assert gc.get_threshold() == before

from __future__ import annotations

import gc

import pytest

from scalesim.workloads.replay.collecting import YOUNG, seldom


def test_the_collector_rests_while_something_plays_and_is_as_it_was_afterwards() -> None:
    before = gc.get_threshold()
    with seldom():
        assert gc.get_threshold()[0] == YOUNG
    assert gc.get_threshold() == before


def test_it_is_as_it_was_after_a_play_that_ends_badly() -> None:
    before = gc.get_threshold()
    with pytest.raises(ZeroDivisionError), seldom():
        _ = 1 / 0
    assert gc.get_threshold() == before

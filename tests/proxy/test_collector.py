from __future__ import annotations

import gc

from scalesim.proxy import collector


def test_what_was_there_is_left_alone_and_full_collections_are_rare() -> None:
    before = gc.get_threshold()
    try:
        collector.keep_short()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == collector.THRESHOLDS
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)

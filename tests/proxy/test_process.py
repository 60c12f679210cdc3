from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from scalesim.proxy.process import process_use


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system has no /proc")
def test_a_process_knows_what_it_takes() -> None:
    before = process_use()
    assert before.resident_bytes is not None
    assert before.open_fds is not None
    assert before.started_at is not None
    assert 1_000_000 < before.resident_bytes < 100_000_000_000
    assert time.time() - 86_400 < before.started_at <= time.time()
    assert before.cpu_s > 0
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        assert process_use().open_fds == before.open_fds + 1
    finally:
        os.close(descriptor)


def test_without_proc_only_the_rest_is_told(tmp_path: Path) -> None:
    use = process_use(tmp_path)
    assert (use.resident_bytes, use.open_fds, use.started_at) == (None, None, None)
    assert use.max_fds > 0

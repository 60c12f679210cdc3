from __future__ import annotations

import re

from scalesim.workloads.machine import command, commit, machine


def test_a_number_s_origin_is_told() -> None:
    assert command().startswith("python -m workloads")
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", commit())
    assert re.search(r"\d+ cores, \d+ GB", machine())

from __future__ import annotations

from scalesim.workloads.calibrating.calibrate import concluded
from scalesim.workloads.calibrating.said import said

from .test_calibrate import FACTS, observed


def test_what_was_not_measured_is_said() -> None:
    lines = list(said(concluded(observed(notes=["it has no adapters"]), FACTS, "toy", "a test")))
    assert "not measured: it has no adapters" in lines
    assert not any(line.startswith(("from host memory", "an adapter")) for line in lines)
    assert "2 ms a step" in lines[0]

"""Every study can be drawn from its results: here from rows with made-up numbers in place of plays."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from scalesim.workloads import studies
from scalesim.workloads.report.studies import DRAWN, draw

MEASURED = (
    *(
        "step_s",
        "ttft_s",
        "all_calls",
        "first_calls",
        "on_device",
        "adapters",
        "all_of_belady",
        "first_of_belady",
    ),
    *("load", "hidden", "could_be_hidden", "demand_gb", "ahead_gb", "wasted_gb", "moves"),
)


def result_of(name: str) -> dict[str, Any]:
    study = studies.study(name)
    rows = [
        {**variant.names, "policy": variant.setting.policy, **dict.fromkeys(MEASURED, 0.5 + 0.01 * place)}
        for place, variant in enumerate(study.variants(1))
    ]
    return {
        "study": name,
        "title": study.title,
        "about": study.about,
        "command": "python -m workloads study",
        "commit": "0" * 40,
        "seed": 1,
        "rows": rows,
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", studies.names())
def test_a_study_is_drawn(name: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "picture.png"
    draw(result_of(name), path)
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", head[16:24])
    assert width > 800
    assert height > 400


def test_every_name_and_number_of_a_study_is_in_its_picture() -> None:
    result = result_of("ablation")
    figure = DRAWN["ablation"](result)
    told = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    assert {row["parts"] for row in result["rows"]} <= set(told)
    bars = [patch.get_width() for axes in figure.axes for patch in axes.patches]  # type: ignore[attr-defined]
    assert len(bars) == len(result["rows"])
    first = result["rows"][0]["step_s"]
    assert bars[1] == pytest.approx(first / result["rows"][1]["step_s"])

from __future__ import annotations

import pytest

from scalesim.workloads.program import Impossible, Wishes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("agents", 0),
        ("steps", 0),
        ("persona_tokens", -5),
        ("growth_tokens", -1),
        ("chars_per_token", float("nan")),
    ],
)
def test_an_impossible_wish_is_refused_by_name_and_value(name: str, value: float) -> None:
    with pytest.raises(Impossible, match=f"{name} is {value}"):
        Wishes(**{name: value})  # type: ignore[arg-type]  # wrong on purpose

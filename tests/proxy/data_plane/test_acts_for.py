from __future__ import annotations

import pytest

from scalesim.proxy.core.model import Clock
from scalesim.proxy.data_plane.acts_for import acts_for_of
from scalesim.proxy.errors import CallRefused


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7 steps", (7.0, Clock.STEPS)),
        ("1 step", (1.0, Clock.STEPS)),
        ("0 steps", (0.0, Clock.STEPS)),
        ("12.5 s", (12.5, Clock.SECONDS)),
        ("12.5s", (12.5, Clock.SECONDS)),
        (" 12.5  Seconds ", (12.5, Clock.SECONDS)),
        (".5 sec", (0.5, Clock.SECONDS)),
        ("90 minutes", (5400.0, Clock.SECONDS)),
        ("1 min", (60.0, Clock.SECONDS)),
        ("2 hours", (7200.0, Clock.SECONDS)),
    ],
)
def test_a_duration_has_a_number_and_a_unit(value: str, expected: tuple[float, Clock]) -> None:
    assert acts_for_of([(b"x-agent-acts-for", value.encode())]) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(
            "7",
            "steps",
            "seven steps",
            "-1 steps",
            "nan s",
            "inf s",
            "1e3 s",
            "1,5 s",
            "7 moons",
            "7 m",
            "7 steps more",
        ),
        *("٣ steps", "1 2 s", ". s", "9" * 400 + " s", "\x00"),
    ],
)
def test_what_is_no_duration_is_refused_with_the_header_and_the_value(value: str) -> None:
    with pytest.raises(CallRefused, match=r"^X-Agent-Acts-For: ") as refusal:
        acts_for_of([(b"x-agent-acts-for", value.encode())])
    assert repr(value)[:40] in str(refusal.value)
    assert len(str(refusal.value)) < 300


def test_without_the_header_nothing_is_known() -> None:
    assert acts_for_of([(b"x-agent-id", b"Ann")]) is None
    assert acts_for_of([(b"x-agent-acts-for", b" ")]) is None

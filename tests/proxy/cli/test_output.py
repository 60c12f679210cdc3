from __future__ import annotations

import pytest

from scalesim.proxy.cli.output import percent, size, span


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (None, None),
        (0.04, "0.0 s"),
        (119.9, "119.9 s"),
        (600, "10 min"),
        (9000, "2.5 h"),
        (864_000, "10.0 days"),
    ],
)
def test_spans_are_told_as_people_say_them(seconds: float | None, says: str | None) -> None:
    assert span(seconds) == says


@pytest.mark.parametrize(
    ("count", "says"),
    [
        (None, None),
        (0, "0 B"),
        (999, "999 B"),
        (999_960, "1.0 MB"),
        (7_300_000, "7.3 MB"),
        (10**12, "1.0 TB"),
    ],
)
def test_sizes_have_a_unit(count: int | None, says: str | None) -> None:
    assert size(count) == says


def test_an_unknown_share_is_none() -> None:
    assert (percent(None), percent(0.8034)) == (None, "80.3%")

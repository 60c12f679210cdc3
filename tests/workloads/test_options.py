from __future__ import annotations

import math

import pytest

from scalesim.workloads.options import Option, named_numbers, settled
from scalesim.workloads.program import Impossible

KNOWN = {"waves": Option(3, least=1, whole=True), "again": Option(0.25, most=0.95)}


def test_options_are_as_given_or_as_by_default() -> None:
    assert settled("news", KNOWN, {}) == {"waves": 3.0, "again": 0.25}
    assert settled("news", KNOWN, {"again": 0}) == {"waves": 3.0, "again": 0.0}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"wave": 1}, "news has no option 'wave'; it has again, waves"),
        ({"waves": 0}, "waves is 0, and has to be at least 1"),
        ({"waves": 1.5}, "waves is 1.5, and has to be a whole number"),
        ({"waves": math.inf}, "waves is inf"),
        ({"again": 1}, "again is 1, and has to be at least 0 and at most 0.95"),
        ({"again": math.nan}, "again is nan"),
    ],
)
def test_an_impossible_option_is_refused_by_name_and_value(given: dict[str, float], words: str) -> None:
    with pytest.raises(Impossible, match=words):
        settled("news", KNOWN, given)


def test_where_there_are_none_it_is_said() -> None:
    with pytest.raises(Impossible, match="town has no option 'x'; it has none"):
        settled("town", {}, {"x": 1})


def test_numbers_are_given_as_name_and_value() -> None:
    assert named_numbers(["waves=2", "again=0.5"]) == {"waves": 2.0, "again": 0.5}


@pytest.mark.parametrize("told", ["waves", "waves=", "=2", "waves=two", "waves=nan"])
def test_what_is_no_number_with_a_name_is_refused_as_it_was_told(told: str) -> None:
    with pytest.raises(Impossible, match=f"'{told}' is not NAME=VALUE"):
        named_numbers([told])


def test_a_number_given_twice_is_refused() -> None:
    with pytest.raises(Impossible, match="waves is given twice"):
        named_numbers(["waves=1", "waves=2"])

from __future__ import annotations

import pytest

from scalesim.proxy.recognition.recipes.patterns import Literals, Pattern, encoded


def test_groups_that_took_part_are_found() -> None:
    pattern = Pattern(r"(?P<day>\d+)d (?P<hour>\d+)h(?P<minute>\d+)?")
    assert pattern.groups == {"day", "hour", "minute"}
    assert pattern.search("at 3d 14h.") == {"day": "3", "hour": "14"}
    assert pattern.search("never") is None


def test_characters_are_characters_and_not_bytes() -> None:
    assert Pattern(r"^(?P<name>\pL.{6})$").search("Müller!") == {"name": "Müller!"}


def test_half_a_surrogate_pair_is_a_question_mark() -> None:
    assert encoded("a\ud800b") == b"a?b"
    assert Pattern("(?P<name>a.b)").search("xa\ud800b") == {"name": "a?b"}
    assert Literals(["needle"]).in_("\udfff needle \ud800") == ["needle"]


def test_a_pattern_that_explodes_elsewhere_takes_no_time_here() -> None:
    # Backtracking would need 2 ** 1,000 steps.
    assert Pattern("(?P<name>(x+x+)+y)").search("x" * 1_000) is None


@pytest.mark.parametrize(
    "wrong", ["(", "(?P<name>a)\\1", "(?=a)(?P<name>a)", "a" * 301, "((a{50}){50}){50}", "(.{0,99}a){9}"]
)
def test_what_is_none_or_too_large_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"regular expression|too large|characters"):
        Pattern(wrong)


def test_literals_are_no_patterns() -> None:
    literals = Literals(["A.*", "(?P<", "ü", "not there", "A.*"])
    assert sorted(literals.in_("of A.* and (?P< and ü")) == ["(?P<", "A.*", "ü"]
    assert literals.in_("Abc") == []
    assert Literals([]).in_("A.*") == []


def test_thousands_of_literals_are_still_found() -> None:
    words = [f"mark {index} of many, none like another" for index in range(4_000)]
    assert Literals(words).in_("x" * 3_000 + words[7] + words[3_999]) == [words[7], words[3_999]]

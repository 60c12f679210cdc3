import pytest

from scalesim.proxy.recognition.learned.finding import below, cues, keyed, last_line, phrases
from scalesim.proxy.recognition.learned.place import Before


def test_the_first_letter_of_a_cue_may_be_a_capital_but_it_is_a_word() -> None:
    assert cues("You are Ann. So you are Ben", "you are") == {
        Before.LINE: ("Ann", False),
        Before.WORD: ("Ben", False),
    }
    assert cues("Bayou are Dora", "you are") == {}


def test_a_value_ends_with_its_clause() -> None:
    assert keyed("id: 4, name: Ann", "id:") == "4"
    assert keyed("who: Ann; age: 4", "who:") == "Ann"
    assert keyed("who:\nAnn", "who:") is None


def test_below_a_heading_empty_lines_are_left_out() -> None:
    assert below("Persona:\n\n  a baker\nAct.", "Persona:") == "a baker"
    assert below("Persona: none", "Persona:") is None


def test_a_description_is_what_is_no_name() -> None:
    assert list(phrases("You are Ann. You are a baker.\nBe brief.", "you are")) == ["a baker."]


@pytest.mark.parametrize("text", ["you are " * 10_000, "x: " * 10_000, ""])
def test_searches_are_bounded(text: str) -> None:
    cues(text, "you are")
    keyed(text, "x:")
    last_line(text)

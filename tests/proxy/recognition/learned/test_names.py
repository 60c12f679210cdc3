import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.recognition.learned.names import alike, name_in, printable, shortened, stands_alone


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Ann Lee, a baker", "Ann Lee"),
        ("Ann. Anna is another", "Ann"),
        ("Anna", "Anna"),
        ("Müller-Lüdenscheidt!", "Müller-Lüdenscheidt"),
        ("Kavya Ueda is a 50-year-old farmer", "Kavya Ueda"),
        ("Dr. Ann Lee", "Dr. Ann Lee"),
        ("'Ann' in quotes", "Ann"),
        ("agent_7 of 20", "agent_7"),
        ("Agent 12, who walks", "Agent 12"),
        ("O'Neil here", "O'Neil"),
        ("a baker", None),
        ("A baker", None),
        ("Ann's friend", None),
        ("34-year-old", None),
        ("", None),
    ],
)
def test_names(text: str, name: str | None) -> None:
    assert name_in(text) == name


def test_long_texts_that_begin_alike_are_named_differently() -> None:
    one, other = shortened("x " * 60 + "one"), shortened("x " * 60 + "other")
    assert one != other
    assert len(one) < 64


@given(st.text(max_size=400))
def test_any_text_becomes_a_name(text: str) -> None:
    assert printable(text).isprintable()
    assert shortened(text).isprintable()
    assert shortened(text)
    name_in(text)


def test_what_several_begin_with() -> None:
    assert alike("the turn of Ann", ["the turn of Ben", "the turn of Cleo"]) == len("the turn of ")
    assert alike("Ann", []) == 0


@pytest.mark.parametrize(
    ("name", "text", "alone"),
    [
        ("Ann Lee", "Ann Lee bakes", True),
        ("Ann", "Ann: hello", True),
        ("Ann", "Ann is a baker", True),
        ("Everything", "Everything went well", False),
    ],
)
def test_one_word_in_capitals_need_not_be_a_name(name: str, text: str, alone: bool) -> None:
    assert stands_alone(name, text) is alone

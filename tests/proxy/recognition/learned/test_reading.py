import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.recognition.learned.place import Before, Place, Where
from scalesim.proxy.recognition.learned.reading import Found, Read
from scalesim.proxy.recognition.prompt import Message, Prompt


def read(*texts: str) -> Read:
    return Read(Prompt(tuple(Message("user", text) for text in texts)))


def values_of(prompt: Read) -> dict[Place, str]:
    return {found.place: found.value for found in prompt.places()}


def test_a_name_is_read_with_what_its_cue_follows() -> None:
    prompt = read("Ben said: You are Cleo.\nYour name is Ann.\n'text': 'You are Dora, a baker'")
    cues = {place: value for place, value, _ in prompt.places() if place.where is Where.CUE}
    assert cues == {
        Place(Where.CUE, "your name is", Before.LINE): "Ann",
        Place(Where.CUE, "you are", Before.COLON): "Cleo",
        Place(Where.CUE, "you are", Before.QUOTE): "Dora",
    }


def test_a_cue_with_two_names_is_torn() -> None:
    place = Place(Where.CUE, "you are", Before.LINE)
    assert Found(place, "Ann", True) in read("You are Ann.\nYou are Ben.").places()
    assert Found(place, "Ann", False) in read("You are Ann.\nYou are Ann, they say.").places()


def test_keys_headings_and_edges() -> None:
    prompt = read("Mode: play\nPersona:\n\nAnn, a baker\nAct now.")
    found = values_of(prompt)
    assert found[Place(Where.KEY, "Mode:")] == "play"
    assert found[Place(Where.AFTER, "Persona:")] == "Ann, a baker"
    assert found[Place(Where.EDGE, "first line of message 1")] == "Mode: play"
    assert found[Place(Where.EDGE, "last line")] == "Act now."


def test_the_key_is_not_the_end_of_another_word() -> None:
    assert read("nickname: Bo\nname: Ann").value(Place(Where.KEY, "name:")) == "Ann"
    assert read("nickname: Bo").value(Place(Where.KEY, "name:")) is None


def test_the_clauses_of_a_long_line_are_read() -> None:
    line = "Observation(step=1, self={'agent_id': 11, 'text': 'You are Ann Lee'}, " + "x" * 300
    found = values_of(read(line))
    assert found[Place(Where.KEY, "self={'agent_id':")] == "11"


def test_identity_is_read_behind_a_long_system_prompt() -> None:
    found = values_of(read("rule\n" * 3000, '<agent>\n{\n  "name": "Ann Lee"\n}\n</agent>'))
    assert '"Ann Lee"' in {value for place, value in found.items() if place.where is Where.KEY}


def test_each_place_is_found_again_as_it_was_read() -> None:
    prompt = read("Name: Ann\nYou are Ann Lee.\nPersona:\nbaker\n<agent>\nx=1", "Again.\nAct as Ann.")
    for place, value, _ in prompt.places():
        assert prompt.value(place) == value


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("You are the game master.", "game master"),
        ("You are an impartial evaluator.", "impartial"),
        ("You are a person who was, long ago and far away from here, a judge.", None),
        ("You are Ann, the narrator's friend.", None),
    ],
)
def test_roles_that_are_no_agents(text: str, role: str | None) -> None:
    assert read(text).master() == role


@settings(deadline=None)
@given(st.text(max_size=400), st.text(max_size=400))
def test_any_text_is_read(one: str, other: str) -> None:
    prompt = read(one, other)
    for place, value, _ in prompt.places():
        assert value
        assert len(value) <= 200
        assert str(place)


@pytest.mark.parametrize(
    "text", ["\ud800 You are \udfff", "You are " * 9000, "a: " * 9000, "\x00", "You are \n"]
)
def test_broken_and_endless_texts_are_read(text: str) -> None:
    list(read(text, text).places())

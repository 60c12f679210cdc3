import pytest

from scalesim.proxy.recognition.learned.place import Before, Place, Where


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (Place(Where.CUE, "you are", Before.LINE), 2),
        (Place(Where.CUE, "you are", Before.COLON), 1),
        (Place(Where.CUE, "i am", Before.LINE), 1),
        (Place(Where.KEY, "Name:"), 1),
        (Place(Where.KEY, "self={'agent_id':"), 1),
        (Place(Where.KEY, "Mood:"), 0),
        (Place(Where.AFTER, "## Persona"), 1),
        (Place(Where.EDGE, "last line"), 0),
        (Place(Where.PHRASE, "you are"), 0),
    ],
)
def test_what_the_words_say(place: Place, says: int) -> None:
    assert place.says == says


def test_words_that_speak_to_somebody_weigh_most() -> None:
    places = [
        Place(Where.CUE, "your name is", Before.LINE),
        Place(Where.CUE, "i am", Before.LINE),
        Place(Where.PHRASE, "you are"),
        Place(Where.KEY, "Who:"),
    ]
    weights = [place.weight for place in places]
    assert weights == sorted(weights, reverse=True)


def test_a_place_is_told_in_words() -> None:
    assert str(Place(Where.CUE, "you are", Before.QUOTE)) == "the name after the first “you are” in quotes"
    assert str(Place(Where.EDGE, "last line")) == "the last line"

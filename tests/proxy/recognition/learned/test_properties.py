from scalesim.proxy.recognition.learned.place import Place, Where
from scalesim.proxy.recognition.learned.properties import Properties

WHO, AGE, MOOD, LINE = (Place(Where.KEY, key) for key in ("Who:", "Age:", "Mood:", "Line:"))


def seen(of: Place, times: int) -> Properties:
    properties = Properties()
    for step in range(times):
        for number, name in enumerate(["Ann", "Ben", "Cleo", "Dora"]):
            mood = f"m{(step * 3 + number * step) % 5}"
            values = {WHO: name, AGE: f"{30 + number}", MOOD: mood, LINE: f"It is {name}."}
            properties.seen(values[of], [(place, text) for place, text in values.items() if place != of])
    return properties


def test_another_property_that_stays_with_it_speaks_for_an_identity() -> None:
    varying = {WHO, AGE, MOOD}
    assert seen(WHO, 10).supported(varying)
    assert not seen(MOOD, 10).supported(varying)


def test_what_does_not_differ_between_callers_says_nothing() -> None:
    assert not seen(WHO, 10).supported({MOOD})


def test_two_calls_are_too_few() -> None:
    assert not seen(WHO, 2).supported({AGE})


def test_what_does_not_stay_with_it_speaks_against_it() -> None:
    assert seen(WHO, 10).opposed([MOOD])
    assert not seen(WHO, 10).opposed([AGE])


def test_the_same_words_twice_say_the_same_once() -> None:
    properties = seen(WHO, 10)
    assert LINE in properties.twins
    assert not properties.opposed([LINE])


def test_bounded() -> None:
    properties = Properties()
    others = [(Place(Where.KEY, f"{number}:"), "x") for number in range(100)]
    for number in range(1000):
        properties.seen(str(number % 500), others)
    assert len(properties.before) <= 64
    assert len(properties.kept) <= 32
    assert len(properties.twins) <= 32

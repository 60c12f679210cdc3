from scalesim.proxy.recognition.learned.pace import FIRST_CALLS, Pace


def lessons(pace: Pace, calls: int, *, understood: bool) -> int:
    number = 0
    for _ in range(calls):
        pace.calls += 1
        number += pace.is_lesson()
        pace.understood(understood)
    return number


def test_the_first_calls_are_all_lessons() -> None:
    assert lessons(Pace(), FIRST_CALLS, understood=False) == FIRST_CALLS


def test_where_callers_are_not_known_fewer_and_fewer_calls_are_lessons() -> None:
    pace = Pace()
    assert [lessons(pace, calls, understood=False) for calls in (96, 160, 256, 512)] == [96, 80, 64, 32]


def test_where_callers_are_known_lessons_are_seldom() -> None:
    pace = Pace()
    lessons(pace, 2 * FIRST_CALLS, understood=True)
    pace.settled = True
    assert lessons(pace, 2560, understood=True) == 10


def test_where_nothing_is_understood_they_become_rare() -> None:
    pace = Pace()
    lessons(pace, 2000, understood=False)
    assert lessons(pace, 640, understood=False) == 5


def test_learning_begins_again_where_suddenly_nothing_is_understood() -> None:
    pace = Pace()
    pace.settled = True
    lessons(pace, 1000, understood=True)
    assert lessons(pace, 100, understood=False) > FIRST_CALLS
    assert pace.opened > 1000
    assert not pace.settled


def test_but_less_and_less_for_what_comes_and_goes() -> None:
    pace = Pace()
    opened = set()
    for _ in range(20_000):
        pace.settled = True
        lessons(pace, 1, understood=False)
        opened.add(pace.opened)
    assert len(opened) < 20

from scalesim.proxy.recognition.learned.place import Before, Place, Where
from scalesim.proxy.recognition.learned.places import Known

LINE = Place(Where.KEY, "Who:")
CUE = Place(Where.CUE, "your name is", Before.LINE)
FORM = 1


def steps(known: Known, values: list[str], times: int, *, at_once: bool) -> None:
    for _ in range(times):
        for value in values:
            known.see(value, "kind", 100, FORM)
            if not at_once:
                known.leave(value, "kind")
        if at_once:
            for value in values:
                known.leave(value, "kind")


def test_values_that_come_back_and_never_meet_are_an_identity() -> None:
    known = Known(LINE)
    steps(known, ["Ann", "Ben", "Cleo", "Dora"], 8, at_once=True)
    assert known.score is not None
    assert known.confidence > 0.8


def test_what_two_calls_at_once_have_is_no_identity() -> None:
    known = Known(LINE)
    steps(known, ["red", "blue", "red", "blue"], 8, at_once=True)
    assert known.meetings.refuted
    assert known.score is None


def test_what_never_comes_back_names_nobody() -> None:
    known = Known(LINE)
    steps(known, [str(number) for number in range(60)], 1, at_once=False)
    assert known.score is None


def test_a_clock_names_nobody() -> None:
    known = Known(LINE)
    for hour in range(20):
        steps(known, [f"{hour}:00"], 5, at_once=False)
    assert known.score is None


def test_what_leaves_one_form_after_the_other_does_not_come_back() -> None:
    """A clock that several templates show: each shows it anew, but none shows it again."""
    known = Known(LINE)
    for hour in range(40):
        for form in (1, 2, 3):
            known.see(f"{hour}:00", "kind", 100, form)
            known.leave(f"{hour}:00", "kind")
    assert known.returns == 0


def test_a_constant_is_never_sure() -> None:
    known = Known(CUE)
    steps(known, ["Sam"], 50, at_once=False)
    assert known.confidence <= 0.5


def test_a_part_of_the_template_names_nobody() -> None:
    """Each value has a form of prompt of its own."""
    known = Known(LINE)
    for _ in range(20):
        for form, value in enumerate(["plan", "reflect", "act"]):
            known.see(value, "kind", 100, form)
            known.leave(value, "kind")
    assert known.score is None


def test_a_name_after_a_cue_counts_from_the_first_call_but_not_for_sure() -> None:
    known = Known(CUE)
    known.see("Ann", "kind", 100)
    assert known.score is not None
    assert 0.5 <= known.confidence < 0.8


def test_all_that_an_agent_asks_at_once_does_not_count_against_it() -> None:
    known = Known(CUE)
    for _ in range(10):
        for name in ("Ann", "Ben", "Cleo"):
            for question in ("a", "b", "c"):
                known.see(name, question, 100)
            for question in ("a", "b", "c"):
                known.leave(name, question)
    assert known.doubled == 0
    assert known.score is not None


def test_values_are_bounded() -> None:
    known = Known(LINE)
    for number in range(500):
        known.see(str(number), str(number), 10, FORM)
    assert len(known.values) <= 64

from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.recognition.learned.meetings import Meetings


def at_once(meetings: Meetings, calls: list[tuple[str, str]], times: int = 1) -> None:
    for _ in range(times):
        for value, kind in calls:
            meetings.begins(value, kind)
        for value, kind in calls:
            meetings.ends(value, kind)


def test_values_that_never_meet_are_clean() -> None:
    meetings = Meetings()
    at_once(meetings, [("Ann", "act"), ("Ben", "act"), ("Cleo", "act")], 5)
    assert meetings.clean
    assert meetings.parted == 0
    assert not meetings.refuted


def test_what_two_calls_of_a_kind_have_is_refuted() -> None:
    meetings = Meetings()
    at_once(meetings, [("red", "act"), ("red", "act")], 2)
    assert meetings.refuted


def test_one_retry_refutes_nothing() -> None:
    meetings = Meetings()
    at_once(meetings, [("Ann", "act"), ("Ann", "act")])
    assert not meetings.refuted


def test_calls_of_different_kinds_are_no_refutation_but_doubled() -> None:
    meetings = Meetings()
    at_once(meetings, [("Ann", "act"), ("Ben", "act"), ("Ann", "plan"), ("Ben", "plan")], 9)
    assert not meetings.refuted
    assert meetings.doubled > 0.4
    assert not meetings.in_bursts


def test_one_callers_calls_at_once_are_a_burst() -> None:
    meetings = Meetings()
    for name in ("Ann", "Ben", "Cleo"):
        at_once(meetings, [(name, "act"), (name, "plan"), (name, "see")])
    assert meetings.in_bursts


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))))
def test_nothing_is_left_of_calls_that_have_ended(calls: list[tuple[str, str]]) -> None:
    meetings = Meetings()
    at_once(meetings, calls)
    assert not meetings.busy
    assert not meetings.of_kind
    assert meetings.running == 0


def test_many_running_calls_are_bounded() -> None:
    meetings = Meetings()
    for number in range(10_000):
        meetings.begins(str(number), str(number))
    assert len(meetings.busy) <= 8192
    assert len(meetings.of_kind) <= 512

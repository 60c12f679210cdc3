from __future__ import annotations

import pytest

from scalesim.proxy.core.events import CallEnded, CallSent, CallStarted, Event, StepTicked
from scalesim.proxy.core.model import AgentName, CallId, EngineId, Outcome, SimulationId
from scalesim.proxy.state.senders import SILENT_S, Running, Senders, Steps, first_call

TOWN, GPU = SimulationId("town"), EngineId("gpu")
ME = 5


def call(number: int) -> CallId:
    return CallId(first_call(ME) + number)


def started(number: int, agent: str | None = "Ann") -> CallStarted:
    return CallStarted(1.0, call(number), TOWN, None if agent is None else AgentName(agent), GPU)


def ended(number: int) -> CallEnded:
    return CallEnded(1.0, call(number), Outcome.DONE)


def heard(
    senders: Senders, first: int, *items: Event | Running | None, at: float = 0.0
) -> list[tuple[int, Event]]:
    return [(one.number, one.event) for one in senders.entry(ME, first, items, at)]


def test_each_record_is_heard_once() -> None:
    senders = Senders()
    assert heard(senders, 1, started(1), ended(1)) == [(1, started(1)), (2, ended(1))]
    assert heard(senders, 1, started(1), ended(1)) == []
    assert heard(senders, 2, ended(1), started(2)) == [(3, started(2))]
    assert senders.missed == 0


def test_what_never_came_is_counted() -> None:
    senders = Senders()
    heard(senders, 1, started(1))
    assert heard(senders, 10, started(2)) == [(10, started(2))]
    assert senders.missed == 8


def test_what_cannot_be_read_is_counted_and_its_number_used_up() -> None:
    senders = Senders()
    assert heard(senders, 1, None, started(1)) == [(2, started(1))]
    assert senders.unread == 1
    assert senders.next_of() == {ME: 3}


def test_the_end_of_a_call_says_whose_it_was() -> None:
    senders = Senders()
    heard(senders, 1, started(1), started(2, None))
    ends = list(senders.entry(ME, 3, [ended(1), ended(2), ended(9)], 0.0))
    assert [one.whom for one in ends] == [(TOWN, "Ann"), None, None]


def test_a_member_that_was_cut_off_says_what_runs_and_all_else_has_ended() -> None:
    senders = Senders()
    heard(senders, 1, started(1), started(2), started(3))
    found = heard(senders, 9, Running((call(2), call(4))), started(2), started(4), at=7.0)
    assert found[:2] == [(0, CallEnded(7.0, call(number), Outcome.CLIENT_GONE)) for number in (1, 3)]
    assert [number for number, _ in found[2:]] == [10, 11]
    assert senders.sizes() == {"group_members": 1, "group_calls": 2}


def test_a_member_that_falls_silent_has_taken_its_calls_with_it() -> None:
    senders = Senders()
    heard(senders, 1, started(1), at=0.0)
    assert list(senders.silent(SILENT_S - 0.1)) == []
    heard(senders, 2, at=SILENT_S - 0.1)
    assert list(senders.silent(SILENT_S + 1.0)) == []
    [one] = senders.silent(2 * SILENT_S)
    assert (one.event, one.whom) == (CallEnded(2 * SILENT_S, call(1), Outcome.CLIENT_GONE), (TOWN, "Ann"))
    assert senders.sizes() == {"group_members": 0, "group_calls": 0}


def test_another_leader_goes_on_where_the_last_one_was() -> None:
    senders = Senders()
    senders.expect(ME, 8, 0.0)
    senders.resume(started(1), 0.0)
    assert heard(senders, 6, started(0), ended(0), ended(1)) == [(8, ended(1))]
    assert senders.missed == 0


def test_members_are_bounded() -> None:
    senders = Senders(limit=3)
    for number in range(10):
        list(senders.entry(number + 1, 1, [], 0.0))
    assert senders.sizes()["group_members"] == 3


def tick(step: float | None) -> StepTicked:
    return StepTicked(1.0, TOWN, step)


def test_a_step_that_several_members_tell_of_counts_once() -> None:
    steps = Steps()
    assert [steps.is_repeated(tick(7.0), sender, 0.0) for sender in (1, 2, 3)] == [False, True, True]
    assert not steps.is_repeated(tick(8.0), 2, 0.1)
    assert steps.is_repeated(tick(7.0), 3, 0.2), "late, after the next one"


@pytest.mark.parametrize(("step", "sender", "at"), [(None, 2, 0.0), (7.0, 1, 0.0), (7.0, 2, 60.0)])
def test_who_says_so_on_purpose_is_believed(step: float | None, sender: int, at: float) -> None:
    """The next step, whatever it is; again from the same member; or in another run of the simulation."""
    steps = Steps()
    steps.is_repeated(tick(step), 1, 0.0)
    assert not steps.is_repeated(tick(step), sender, at)


def test_steps_are_bounded() -> None:
    steps = Steps()
    for number in range(200):
        for town in range(200):
            steps.is_repeated(StepTicked(0.0, SimulationId(f"town-{town}"), float(number)), 1, 0.0)
    assert steps.sizes()["group_steps"] <= 64 * 64


def test_of_a_call_that_is_sent_or_ends_it_is_known_whose_it_is() -> None:
    senders = Senders()
    sent = CallSent(2.0, call(1), EngineId("other"))
    found = list(senders.entry(ME, 1, [started(1), sent, ended(1)], 0.0))
    assert [one.whom for one in found] == [None, (TOWN, "Ann"), (TOWN, "Ann")]
    assert next(senders.entry(ME, 4, [CallSent(2.0, call(9), GPU)], 0.0)).whom is None

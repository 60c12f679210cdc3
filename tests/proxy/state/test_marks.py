from __future__ import annotations

from dataclasses import replace

import pytest

from scalesim.proxy.core.events import (
    ActionStarted,
    AgentLeft,
    CallEnded,
    CallSent,
    CallStarted,
    DistanceHinted,
    Event,
    Moved,
    Rehomed,
    StepTicked,
)
from scalesim.proxy.core.model import AgentName, CallId, Clock, EngineId, Outcome, SimulationId
from scalesim.proxy.core.space import Motion
from scalesim.proxy.state.marks import Again, Mark, Resumed, entry_of, text_of

TOWN = SimulationId("town")
ANN, BOB = AgentName("Ann"), AgentName("Bob")
LEADER, OTHER = 1, 2
BASE = Mark((10, 0), LEADER, 100)
AGAIN = Again(BASE, {(TOWN, ANN): Mark((20, 0), LEADER, 110)})
START = CallStarted(1.0, CallId(7), TOWN, ANN, EngineId("gpu"))


@pytest.mark.parametrize(
    ("entry", "sender", "number", "covered"),
    [
        ((10, 0), OTHER, 999, True),
        ((10, 1), OTHER, 1, False),
        ((99, 0), LEADER, 100, True),
        ((1, 0), LEADER, 101, False),
    ],
)
def test_a_leader_had_heard_others_up_to_an_entry_and_itself_up_to_a_number(
    entry: tuple[int, int], sender: int, number: int, covered: bool
) -> None:
    assert BASE.covers(entry, sender, number) is covered


def test_what_is_written_down_is_not_heard_again() -> None:
    assert AGAIN.heard(START, (10, 0), OTHER, 5) is None


def test_a_call_of_an_agent_that_was_written_down_later_goes_on() -> None:
    assert AGAIN.heard(START, (15, 0), OTHER, 5) == Resumed(START)
    assert AGAIN.heard(START, (21, 0), OTHER, 5) is START


@pytest.mark.parametrize(
    ("event", "left"),
    [
        (ActionStarted(1.0, TOWN, ANN, 5.0, Clock.STEPS), None),
        (AgentLeft(1.0, TOWN, ANN), None),
        (Rehomed(1.0, TOWN, ANN, EngineId("a")), None),
        (
            DistanceHinted(1.0, TOWN, Clock.STEPS, {ANN: 1.0, BOB: 2.0}),
            DistanceHinted(1.0, TOWN, Clock.STEPS, {BOB: 2.0}),
        ),
        (
            Moved(1.0, TOWN, {ANN: Motion((0.0, 0.0)), BOB: Motion((1.0, 0.0))}),
            Moved(1.0, TOWN, {BOB: Motion((1.0, 0.0))}),
        ),
    ],
)
def test_of_what_is_told_of_agents_only_the_new_is_heard(event: Event, left: Event | None) -> None:
    assert AGAIN.heard(event, (15, 0), OTHER, 5) == left
    assert AGAIN.heard(event, (21, 0), OTHER, 5) == event


@pytest.mark.parametrize("event", [CallEnded(1.0, CallId(7), Outcome.DONE), StepTicked(1.0, TOWN)])
def test_all_else_is_heard(event: Event) -> None:
    assert AGAIN.heard(event, (15, 0), OTHER, 5) == event


def test_entries_are_numbers_and_not_texts() -> None:
    assert entry_of("1234567890123-12") == (1234567890123, 12)
    assert entry_of(text_of((9, 100))) > entry_of(text_of((9, 99)))


def test_a_call_that_was_sent_elsewhere_before_its_agent_was_written_down_moves_it_no_more() -> None:
    sent = CallSent(1.0, CallId(7), EngineId("other"))
    assert AGAIN.heard(sent, (15, 0), OTHER, 5, (TOWN, ANN)) == replace(sent, moves=False)
    assert AGAIN.heard(sent, (21, 0), OTHER, 5, (TOWN, ANN)) is sent
    assert AGAIN.heard(sent, (15, 0), OTHER, 5, (TOWN, BOB)) is sent
    assert AGAIN.heard(sent, (15, 0), OTHER, 5) is sent

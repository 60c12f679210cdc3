from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core.durations import RULES, Reading, Scale
from scalesim.proxy.core.estimate import Source
from scalesim.proxy.core.events import Activated, EdgesGiven
from scalesim.proxy.core.model import AgentName, Clock, Outcome

from ..conversation import TOWN, Conversation


def ticking(**config: Any) -> Conversation:
    talk = Conversation(**config)
    talk.step(0)
    return talk


def pause(talk: Conversation) -> None:
    """Long enough for every activation to end."""
    talk.wait(60.0)
    talk.tick()


def known(talk: Conversation, agent: str = "Ann") -> tuple[float | None, Source | None]:
    return talk.distance(agent), talk.agent(agent).source


def test_the_distance_is_what_is_left_of_what_the_answer_said() -> None:
    talk = ticking(distance="answers")
    talk.call("Ann", said=5)
    talk.step()
    talk.step()
    assert known(talk) == (3.0, Source.ANSWERS)
    assert talk.agent("Ann").clock is Clock.STEPS


def test_the_agent_may_go_on_calling_and_what_was_said_stays() -> None:
    talk = ticking()
    talk.call("Ann", said=5)
    assert talk.agent("Ann").in_activation
    assert known(talk) == (0.0, Source.ACTIVATION)
    for _ in range(3):
        talk.wait(1.0)
        talk.call("Ann")
    assert talk.agent("Ann").activations == 1
    talk.step()
    pause(talk)
    assert known(talk) == (4.0, Source.ANSWERS)


def test_a_later_answer_of_the_activation_counts_instead() -> None:
    talk = ticking()
    talk.call("Ann", said=5)
    talk.call("Ann", said=9)
    pause(talk)
    assert known(talk) == (9.0, Source.ANSWERS)


def test_the_next_activation_forgets_it() -> None:
    talk = ticking()
    talk.call("Ann", said=5)
    pause(talk)
    talk.call("Ann")
    pause(talk)
    assert talk.agent("Ann").activations == 2
    assert known(talk)[1] is not Source.ANSWERS


@pytest.mark.parametrize(("clock", "expected"), [(Clock.STEPS, 3.0), (Clock.SECONDS, 30.0)])
def test_what_was_said_is_converted_by_the_scale(clock: Clock, expected: float) -> None:
    scale = Scale(clock, 0.2 if clock is Clock.STEPS else 2.0)
    read = Reading(RULES, scale).acts_for('{"time": 15}')
    assert read == (expected, clock)
    talk = ticking(distance="answers")
    talk.call("Ann", said=read[0], clock=clock)
    assert known(talk) == (expected, Source.ANSWERS)
    if clock is Clock.SECONDS:
        pause(talk)
        talk.call("Bob", said=read[0], clock=clock)
        talk.wait(10.0)
        talk.tick()
        assert known(talk, "Bob") == (20.0, Source.ANSWERS)


def test_steps_are_not_believed_where_nobody_ticks() -> None:
    talk = Conversation()
    talk.call("Ann", said=5)
    pause(talk)
    assert known(talk) == (None, None)
    talk.call("Ann", said=500, clock=Clock.SECONDS)
    pause(talk)
    assert known(talk) == (440.0, Source.ANSWERS)


@pytest.mark.parametrize("outcome", [Outcome.CLIENT_GONE, Outcome.ENGINE_FAILED])
def test_a_call_that_was_not_answered_whole_said_nothing(outcome: Outcome) -> None:
    talk = ticking()
    talk.call("Ann", said=5, outcome=outcome)
    pause(talk)
    assert known(talk)[1] is not Source.ANSWERS
    assert talk.town.counters.said == 0


def test_what_the_simulation_told_goes_over_what_the_answer_said() -> None:
    talk = ticking()
    for agent in ("Ann", "Bob", "Cem"):
        talk.call(agent, said=5)
    talk.hint(Ann=2)
    talk.act("Bob", 3)
    pause(talk)
    assert [known(talk, agent) for agent in ("Ann", "Bob", "Cem")] == [
        (2.0, Source.HINTED),
        (3.0, Source.PLAN),
        (5.0, Source.ANSWERS),
    ]


def test_what_the_answer_said_goes_over_what_was_learned() -> None:
    talk = ticking()
    for said in (None, None, 7.0):
        for _ in range(4):
            talk.step()
        talk.call("Ann", said=said)
        if said is None:
            pause(talk)
            assert known(talk)[1] in (None, Source.GAP)
    pause(talk)
    assert known(talk) == (7.0, Source.ANSWERS)


def test_a_wave_that_comes_first_is_first() -> None:
    talk = ticking()
    talk.call("B", said=5)
    pause(talk)
    talk.post(EdgesGiven(talk.at, TOWN, [(AgentName("A"), AgentName("B"))]))
    talk.post(Activated(talk.at, TOWN, [AgentName("A")]))
    talk.tick()
    assert known(talk, "B") == (1.0, Source.PATH)


def test_what_was_found_is_counted() -> None:
    talk = ticking()
    for said in (3, None, math.nan, 0):
        talk.call("Ann", said=said)
    assert talk.town.counters.said == 2
    assert talk.controller.totals().refused == 1


@given(
    st.lists(st.tuples(st.sampled_from(["call", "said", "step", "pause"]), st.integers(0, 9)), max_size=20)
)
def test_it_is_the_last_of_its_activation_whatever_comes_between(history: list[tuple[str, int]]) -> None:
    talk = ticking(distance="answers")
    talk.start("Zed")  # goes on all the time, so that no step ends an activation
    talk.call("Ann")
    steps, expected, active = 0.0, None, True
    for what, number in history:
        match what:
            case "call" | "said":
                expected = expected if active else None
                active = True
                said = number if what == "said" else None
                expected = expected if said is None else steps + said
                talk.call("Ann", said=said)
            case "step":
                steps += 1.0
                talk.step()
            case "pause":
                active = False
                pause(talk)
    ann = talk.agent("Ann")
    assert (ann.source is Source.ANSWERS) == (expected is not None)
    if expected is not None and expected >= steps:
        assert ann.distance == expected - steps

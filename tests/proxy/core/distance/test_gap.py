import pytest

from scalesim.proxy.core.estimate import Source
from scalesim.proxy.core.model import Clock

from ..conversation import Conversation


def test_nothing_is_known_before_the_second_activation() -> None:
    talk = Conversation(distance="gap")
    talk.hint(Ann=3)
    talk.call("Ann", acts_for=1)
    assert talk.distance("Ann") is None


def test_activations_are_expected_as_far_apart_as_before_in_steps_where_there_are_steps() -> None:
    talk = Conversation(distance="gap")
    talk.step()
    for _ in range(6):
        talk.call("Ann", acts_for=1)
        for _ in range(4):
            talk.wait(1.0)
            talk.step()
    talk.call("Ann", acts_for=1)
    talk.step()
    ann = talk.agent("Ann")
    assert (ann.distance, ann.clock, ann.source) == (3.0, Clock.STEPS, Source.GAP)
    assert ann.spread is not None
    assert ann.spread < 0.5


def test_a_simulation_without_steps_is_learned_in_seconds() -> None:
    talk = Conversation(distance="gap")
    for _ in range(3):
        talk.call("Ann", acts_for=1, clock=Clock.SECONDS)
        talk.wait(8.0)
    talk.tick()
    ann = talk.agent("Ann")
    assert (ann.distance, ann.clock) == (0.0, Clock.SECONDS)
    talk.call("Ann", acts_for=1, clock=Clock.SECONDS)
    assert talk.distance("Ann") == pytest.approx(8.0)


def test_learning_starts_over_when_the_simulation_begins_to_tick() -> None:
    talk = Conversation(distance="gap")
    talk.call("Ann", acts_for=1)
    talk.wait(8.0)
    talk.call("Ann", acts_for=1)
    talk.step()
    talk.call("Ann", acts_for=1)
    assert talk.distance("Ann") is None
    talk.step()
    talk.step()
    talk.call("Ann", acts_for=1)
    assert (talk.distance("Ann"), talk.agent("Ann").clock) == (2.0, Clock.STEPS)


def test_calls_inside_an_activation_are_not_gaps() -> None:
    talk = Conversation(distance="gap")
    talk.step()
    talk.call("Ann")
    talk.call("Ann")
    talk.call("Ann")
    assert talk.agent("Ann").activations == 1
    assert talk.distance("Ann") is None


def test_whoever_is_seen_for_the_first_time_is_expected_as_others_usually_come_back() -> None:
    talk = Conversation(distance="gap")
    talk.step()
    for _ in range(4):
        talk.call("Ann", acts_for=1)
        for _ in range(3):
            talk.step()
    talk.call("Bob", acts_for=1)
    assert talk.distance("Bob") == 3.0
    for expected in (2.0, 1.0, 3.0, 2.0):
        talk.step()
        assert talk.distance("Bob") == expected


def test_an_agent_with_hours_is_expected_at_the_next_of_them() -> None:
    talk = Conversation(distance="gap")
    hours = {"Ann": (0, 2), "Bob": (1, 7), "Cem": (5,), "Dee": (3, 4), "Eve": (6, 9), "Fay": (8, 5)}
    for step in range(70):
        talk.step()
        for agent, hour in hours.items():
            if step % 10 in hour:
                talk.call(agent, acts_for=1)
    talk.step()
    assert [talk.distance(agent) for agent in hours] == [0.0, 1.0, 5.0, 3.0, 6.0, 5.0]


def test_steps_that_show_in_the_traffic_are_a_clock_of_their_own() -> None:
    talk = Conversation(distance="gap")
    for step in range(24):
        talk.wait(10.0 + step % 3)
        for agent in ("Ann", "Bob", "Cem", "Dee")[: 4 if step % 4 == 0 else 3]:
            talk.call(agent, acts_for=1)
            talk.wait(0.01)
    assert [(talk.agent(name).clock, talk.distance(name)) for name in ("Ann", "Dee")] == [
        (Clock.BURSTS, 1.0),
        (Clock.BURSTS, 1.0),
    ]


def test_from_the_middle_of_a_step_on_the_law_is_that_of_those_who_do_not_call_in_the_next_one() -> None:
    talk = Conversation(distance="gap")
    talk.step()
    # Half of the gaps are 1, half are 5: who stays away for more than one step is far.
    for gap in (1, 5, 1, 5, 1, 5, 1, 5, 1):
        talk.call("Ann", acts_for=1)
        for _ in range(gap):
            talk.wait(1.0)
            talk.step()
    talk.call("Bob", acts_for=1)
    near = talk.distance("Bob")
    talk.wait(0.5)
    talk.tick()
    far = talk.distance("Bob")
    talk.wait(0.5)
    talk.step()
    assert (near, far, talk.distance("Bob")) == (2.0, 5.0, 4.0)


def test_whoever_is_always_on_time_stays_near_when_its_step_is_foreseen_and_when_it_begins() -> None:
    talk = Conversation(distance="gap")
    # Longer than any day, and so often that what it strays by is nothing at all.
    for times in range(150):
        talk.step(65.0 * times)
        talk.call("Ann", acts_for=1)
        talk.wait(65.0)
    talk.step(65.0 * 149 + 64)
    before = talk.distance("Ann")
    talk.wait(0.5)
    talk.tick()
    foreseen = talk.distance("Ann")
    talk.wait(0.5)
    talk.step(65.0 * 150)
    assert (before, foreseen, talk.distance("Ann")) == (1.0, 1.0, 0.0)

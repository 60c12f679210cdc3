from scalesim.proxy.core.estimate import Source
from scalesim.proxy.core.model import Clock, Outcome

from ..conversation import Conversation


def test_the_distance_is_what_is_left_of_the_action() -> None:
    talk = Conversation(distance="plan")
    talk.act("Ann", 5)
    talk.step()
    talk.step()
    assert (talk.distance("Ann"), talk.agent("Ann").source) == (3.0, Source.PLAN)


def test_a_call_may_say_how_long_its_agent_acts_after_its_end() -> None:
    talk = Conversation(distance="plan")
    call = talk.start("Ann")
    talk.wait(4.0)
    talk.end(call, acts_for=10.0, clock=Clock.SECONDS)
    talk.wait(1.0)
    talk.tick()
    assert talk.distance("Ann") == 9.0


def test_a_call_that_failed_is_tried_again_and_no_action_follows_it() -> None:
    talk = Conversation(distance="plan")
    talk.call("Ann", acts_for=10, outcome=Outcome.ENGINE_FAILED)
    assert talk.distance("Ann") is None
    assert talk.agent("Ann").in_activation


def test_a_hint_is_no_plan() -> None:
    talk = Conversation(distance="plan")
    talk.hint(Ann=3)
    assert talk.distance("Ann") is None

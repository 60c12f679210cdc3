import math

from scalesim.proxy.core.estimate import Source
from scalesim.proxy.core.model import Clock

from ..conversation import Conversation


def test_nothing_is_known_of_an_agent_that_was_not_spoken_of() -> None:
    talk = Conversation(distance="hinted")
    talk.call("Ann")
    assert talk.distance("Ann") is None


def test_the_moment_is_kept_on_the_clock_it_was_told_on() -> None:
    talk = Conversation(distance="hinted")
    talk.hint(Clock.STEPS, Ann=3)
    talk.hint(Clock.SECONDS, Bob=3)
    talk.wait(1.0)
    talk.step()
    talk.step()
    talk.tick()
    assert (talk.distance("Ann"), talk.distance("Bob")) == (1.0, 2.0)
    assert (talk.agent("Ann").source, talk.agent("Ann").clock) == (Source.HINTED, Clock.STEPS)
    assert talk.agent("Bob").clock is Clock.SECONDS


def test_the_last_word_counts() -> None:
    talk = Conversation(distance="hinted")
    talk.hint(Ann=3)
    talk.hint(Ann=7)
    assert talk.distance("Ann") == 7.0


def test_infinity_is_kept() -> None:
    talk = Conversation(distance="hinted")
    talk.hint(Ann=math.inf)
    talk.step()
    assert talk.distance("Ann") == math.inf


def test_an_activation_uses_up_what_was_told_of_it() -> None:
    talk = Conversation(distance="hinted")
    talk.hint(Ann=3)
    talk.call("Ann")
    assert talk.distance("Ann") is None


def test_what_is_told_in_an_activation_is_of_the_next() -> None:
    talk = Conversation(distance="hinted")
    call = talk.start("Ann")
    talk.hint(Ann=3)
    talk.end(call)
    assert talk.distance("Ann") == 3.0

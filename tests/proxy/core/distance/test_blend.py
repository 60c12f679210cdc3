import pytest

from scalesim.proxy.core.estimate import Source
from scalesim.proxy.core.events import Activated, EdgesGiven
from scalesim.proxy.core.model import AgentName

from ..conversation import TOWN, Conversation


def test_unknown_is_unknown() -> None:
    talk = Conversation()
    talk.call("Ann")
    talk.wait(3.0)
    talk.tick()
    assert (talk.distance("Ann"), talk.agent("Ann").source) == (None, None)


def test_an_agent_in_an_activation_is_at_zero_whatever_was_told() -> None:
    talk = Conversation()
    talk.start("Ann")
    talk.hint(Ann=9)
    talk.act("Ann", 9)
    assert (talk.distance("Ann"), talk.agent("Ann").source) == (0.0, Source.ACTIVATION)


@pytest.mark.parametrize("first", ["hint", "action"])
def test_of_what_was_told_the_later_counts(first: str) -> None:
    talk = Conversation()
    if first == "hint":
        talk.hint(Ann=3)
        talk.act("Ann", 6)
        assert (talk.distance("Ann"), talk.agent("Ann").source) == (6.0, Source.PLAN)
    else:
        talk.act("Ann", 6)
        talk.hint(Ann=3)
        assert (talk.distance("Ann"), talk.agent("Ann").source) == (3.0, Source.HINTED)


def test_an_agent_calls_when_its_action_ends_or_a_wave_comes_whichever_is_first() -> None:
    talk = Conversation()
    edges = [(AgentName(one), AgentName(other)) for one, other in ("AB", "BC", "CD")]
    talk.post(EdgesGiven(0.0, TOWN, edges))
    talk.post(Activated(0.0, TOWN, [AgentName("A")]))
    talk.tick()
    for agent, duration in (("B", 5.0), ("C", 2.0), ("D", 1.0)):
        talk.act(agent, duration)
    assert [(talk.distance(agent), talk.agent(agent).source) for agent in "BCD"] == [
        (1.0, Source.PATH),
        (2.0, Source.PLAN),
        (1.0, Source.PLAN),
    ]
    for _ in range(4):
        talk.step()
    assert talk.agent("B").source is Source.PLAN, "the wave did not come, and its moment is long over"


def test_a_distance_that_was_told_goes_over_a_path() -> None:
    talk = Conversation()
    talk.post(EdgesGiven(0.0, TOWN, [(AgentName("A"), AgentName("B"))]))
    talk.post(Activated(0.0, TOWN, [AgentName("A")]))
    talk.tick()
    talk.hint(B=9)
    assert (talk.distance("B"), talk.agent("B").source) == (9.0, Source.HINTED)


def test_told_goes_over_learned_and_learned_over_nothing() -> None:
    talk = Conversation()
    talk.step()
    for _ in range(3):
        talk.call("Ann")
        talk.hint(Ann=1)
        for _ in range(5):
            talk.step()
    talk.call("Ann")
    talk.wait(3.0)
    talk.tick()
    assert (talk.distance("Ann"), talk.agent("Ann").source) == (5.0, Source.GAP)
    talk.hint(Ann=2)
    assert (talk.distance("Ann"), talk.agent("Ann").source) == (2.0, Source.HINTED)

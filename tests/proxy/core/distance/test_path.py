import math
from itertools import pairwise
from typing import Any

from scalesim.proxy.core.estimate import Source
from scalesim.proxy.core.events import Activated, AgentLeft, EdgesGiven, GraphCleared, Ticked
from scalesim.proxy.core.model import AgentName, Clock

from ..conversation import TOWN, Conversation


def chain(*names: str, **config: Any) -> Conversation:
    """A town in step 1, in which each knows the next."""
    talk = Conversation(distance="path", **config)
    talk.find()
    talk.step()
    connect(talk, *pairwise(names))
    return talk


def connect(talk: Conversation, *edges: tuple[str, str]) -> None:
    told = [(AgentName(one), AgentName(other)) for one, other in edges]
    assert talk.post(EdgesGiven(talk.at, TOWN, told)) == []


def activate(talk: Conversation, *agents: str, wave: str = "") -> None:
    """And what follows from it is worked out."""
    assert talk.post(Activated(talk.at, TOWN, [AgentName(agent) for agent in agents], wave)) == []
    while talk.controller.behind:
        talk.post(Ticked(talk.at))


def test_the_distance_is_the_hops_that_a_wave_still_has_to_go() -> None:
    talk = chain("Ann", "Bob", "Cem", "Dee")
    activate(talk, "Ann")
    talk.step()
    assert [talk.distance(name) for name in ("Bob", "Cem", "Dee")] == [0.0, 1.0, 2.0]
    assert (talk.agent("Dee").source, talk.agent("Dee").clock) == (Source.PATH, Clock.STEPS)


def test_nothing_is_known_without_a_graph_or_a_wave_or_outside_of_it() -> None:
    talk = chain("Ann", "Bob")
    talk.hint(Ann=1, Zoe=1)
    assert talk.distance("Ann") is None
    activate(talk, "Ann")
    assert talk.distance("Zoe") is None
    talk.post(GraphCleared(talk.at, TOWN))
    assert talk.distance("Bob") is None


def test_an_activated_agent_is_near_until_it_calls_and_is_then_not_expected_again() -> None:
    talk = chain("Ann", "Bob")
    activate(talk, "Ann")
    assert talk.distance("Ann") == 0.0
    talk.call("Ann")
    assert talk.distance("Ann") == math.inf


def test_an_activation_that_is_told_after_its_calls_is_over() -> None:
    talk = chain("Ann", "Bob")
    talk.call("Ann")
    activate(talk, "Ann")
    assert (talk.distance("Ann"), talk.distance("Bob")) == (math.inf, 1.0)


def test_an_activation_that_is_told_during_its_call_is_over_with_it() -> None:
    talk = chain("Ann", "Bob")
    call = talk.start("Ann")
    talk.step()
    activate(talk, "Ann")
    talk.end(call)
    assert talk.distance("Ann") == math.inf


def test_a_wave_is_followed_by_the_calls_alone() -> None:
    talk = chain("Ann", "Bob", "Cem", "Dee")
    activate(talk, "Ann")
    talk.call("Ann")
    for reached in ("Bob", "Cem"):
        talk.step()
        talk.call(reached)
    assert [talk.distance(name) for name in ("Ann", "Bob", "Cem", "Dee")] == [math.inf] * 3 + [1.0]


def test_an_agent_that_was_forgotten_finds_its_edges_again() -> None:
    talk = chain("Ann", "Bob", "Cem", agent_limit=2)
    activate(talk, "Ann")
    assert not talk.controller.knows(TOWN, AgentName("Bob"))
    talk.hint(Bob=1)
    assert talk.distance("Bob") == 1.0


def test_no_wave_comes_to_or_over_an_agent_that_left() -> None:
    talk = chain("Ann", "Bob", "Cem")
    talk.post(AgentLeft(talk.at, TOWN, AgentName("Bob")))
    activate(talk, "Ann")
    assert talk.distance("Cem") is None


def test_a_simulation_without_steps_has_the_order_all_the_same() -> None:
    talk = Conversation(distance="path")
    connect(talk, ("Ann", "Bob"), ("Bob", "Cem"))
    activate(talk, "Ann")
    assert [talk.distance(name) for name in ("Ann", "Bob", "Cem")] == [0.0, 1.0, 2.0]

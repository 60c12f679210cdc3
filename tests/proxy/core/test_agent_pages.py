from __future__ import annotations

from scalesim.proxy.core.agent_pages import AgentFilter
from scalesim.proxy.core.model import AgentName, Clock, EngineId, SimulationId, Source

from .conversation import GPU, LORAS, TOWN, Conversation


def _found(talk: Conversation, after: int = 0, **wanted: object) -> list[str]:
    walked = talk.controller.walk_agents(TOWN, after, AgentFilter(**wanted))  # type: ignore[arg-type]
    return [known.name for _, known in walked if known is not None]


def _town() -> Conversation:
    """Ann calls, Bob is told to come in 5 s and Cem in 500 s on the adapter pirate; of Dan nothing is known."""
    talk = Conversation()
    talk.find(features=LORAS, slots=4)
    talk.find(EngineId("other"))
    talk.start("Ann")
    talk.call("Bob", engine=EngineId("other"))
    talk.hint(Clock.SECONDS, Bob=5.0, Cem=500.0)
    talk.register("pirate")
    talk.assign("Cem", "pirate")
    talk.assign("Dan", None)
    return talk


def test_agents_come_in_the_order_in_which_they_became_known() -> None:
    talk = _town()
    assert _found(talk) == ["Ann", "Bob", "Cem", "Dan"]
    assert _found(talk, talk.agent("Bob").number) == ["Cem", "Dan"]
    assert [*talk.controller.walk_agents(SimulationId("atlantis"), 0, AgentFilter())] == []


def test_all_filters_must_fit() -> None:
    talk = _town()
    assert _found(talk, name_begins="D") == ["Dan"]
    assert _found(talk, engine=GPU) == ["Ann"]
    assert _found(talk, adapter="pirate") == ["Cem"]
    assert (_found(talk, running=True), _found(talk, running=False)) == (["Ann"], ["Bob", "Cem", "Dan"])
    assert _found(talk, source=Source.HINTED) == ["Bob", "Cem"]
    assert _found(talk, nearer_than_s=10.0) == ["Ann", "Bob"]
    assert _found(talk, nearer_than_s=10.0, running=False, engine="other") == ["Bob"]
    assert _found(talk, nearer_than_s=10.0, running=False, engine=GPU) == []


def test_a_list_goes_on_where_it_was_whoever_left_and_came() -> None:
    talk = _town()
    walk = talk.controller.walk_agents(TOWN, 0, AgentFilter())
    number, ann = next(walk)
    assert ann is not None
    talk.leave("Ann")
    talk.leave("Cem")
    talk.assign("Eve", None)
    assert [known.name for _, known in walk if known is not None] == ["Bob", "Dan"]
    assert _found(talk, number) == ["Bob", "Dan", "Eve"]
    talk.assign("Ann", None)
    assert _found(talk, number) == ["Bob", "Dan", "Eve", "Ann"]


def test_each_source_is_told_whether_or_not_it_is_believed() -> None:
    talk = _town()
    for _ in range(4):
        talk.call("Bob")
        talk.wait(10.0)
        talk.plan()
    talk.hint(Clock.SECONDS, Bob=90.0)
    told = {one.source: one for one in talk.controller.estimates(TOWN, AgentName("Bob"))}
    assert told[Source.HINTED].distance == told[Source.HINTED].distance_s == 90.0
    assert told[Source.GAP].distance == 10.0
    assert talk.agent("Bob").source is Source.HINTED
    assert talk.controller.estimates(TOWN, AgentName("Zoe")) == []
    assert talk.controller.estimates(SimulationId("atlantis"), AgentName("Bob")) == []

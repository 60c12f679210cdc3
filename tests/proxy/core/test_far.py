"""Who may get another home, and what the core does with one that got it."""

from __future__ import annotations

import math

from scalesim.proxy.core.events import AgentPinned, PrefetchAsked, Rehomed
from scalesim.proxy.core.model import AgentName, Clock, EngineId, Mode
from scalesim.proxy.core.rebalancing import Far

from .conversation import GPU, TOWN, Conversation

OTHER = EngineId("other")


def _town(**distances: float) -> Conversation:
    """All have memory on the same engine, and call after so many seconds."""
    talk = Conversation()
    talk.find()
    talk.find(OTHER)
    for agent in distances:
        talk.call(agent)
    talk.hint(Clock.SECONDS, **distances)
    talk.plan()
    return talk


def _far(talk: Conversation, beyond_s: float = 60.0, limit: int = 10, engine: EngineId = GPU) -> list[Far]:
    return talk.controller.far(engine, beyond_s, limit)


def _named(*far: tuple[str, float]) -> list[Far]:
    return [Far(TOWN, AgentName(name), away_s) for name, away_s in far]


def _move(talk: Conversation, agent: str, engine: EngineId = OTHER) -> None:
    assert talk.post(Rehomed(talk.at, TOWN, AgentName(agent), engine)) == []


def test_the_farthest_come_first_and_those_that_call_soon_not_at_all() -> None:
    talk = _town(Ann=100.0, Bob=60.0, Cem=300.0, Dan=61.0, Eve=5.0)
    assert _far(talk) == _named(("Cem", 300.0), ("Ann", 100.0), ("Dan", 61.0))
    assert _far(talk, limit=2) == _named(("Cem", 300.0), ("Ann", 100.0))
    assert _far(talk, engine=OTHER) == _far(talk, engine=EngineId("unknown")) == []


def test_steps_and_seconds_are_told_in_seconds() -> None:
    talk = _town(Ann=100.0, Bob=100.0)
    for _ in range(8):
        talk.wait(20.0)
        talk.step()
    talk.hint(Clock.STEPS, Ann=4.0)
    talk.hint(Clock.SECONDS, Bob=70.0)
    talk.plan()
    assert _far(talk) == _named(("Ann", 80.0), ("Bob", 70.0))


def test_whom_something_holds_stays() -> None:
    talk = _town(Ann=100.0, Bob=200.0, Cem=300.0, Dan=400.0, Eve=500.0)
    talk.start("Ann")
    talk.call("Bob")
    talk.report()
    talk.post(AgentPinned(talk.at, TOWN, AgentName("Cem"), math.inf, "he is watched"))
    talk.post(PrefetchAsked(talk.at, TOWN, AgentName("Dan"), 1000.0))
    assert _far(talk) == _named(("Eve", 500.0)), "before any plan knows it, too"
    for agent in ("Ann", "Bob", "Cem", "Dan", "Eve"):
        _move(talk, agent)
    places = {agent: talk.agent(agent).engine for agent in ("Ann", "Bob", "Cem", "Dan", "Eve")}
    assert places == {"Ann": GPU, "Bob": GPU, "Cem": GPU, "Dan": GPU, "Eve": OTHER}


def test_nobody_is_far_of_a_simulation_for_which_nothing_is_done() -> None:
    for mode in (Mode.OFF, Mode.SHADOW):
        talk = _town(Ann=100.0)
        talk.settle(talk.set_mode(mode))
        talk.plan()
        assert _far(talk) == []


def test_who_moved_is_in_the_order_of_its_new_home_alone() -> None:
    talk = _town(Ann=100.0, Bob=200.0)
    _move(talk, "Bob")
    talk.plan()
    orders = {one.id: [owner for owner, _ in one.wanted.order] for one in talk.controller.engines()}
    assert orders == {GPU: ["town/Ann"], OTHER: ["town/Bob"]}
    assert _far(talk) == _named(("Ann", 100.0))
    assert _far(talk, engine=OTHER) == _named(("Bob", 200.0))


def test_a_home_that_nobody_knows_changes_nothing() -> None:
    talk = _town(Ann=100.0)
    _move(talk, "Ann", EngineId("unknown"))
    _move(talk, "Zoe")
    assert talk.agent("Ann").engine == GPU
    assert not talk.controller.knows(TOWN, AgentName("Zoe"))


def test_engines_that_take_no_order_have_far_agents_too() -> None:
    talk = Conversation()
    talk.find(features=frozenset())
    talk.call("Ann")
    talk.hint(Clock.SECONDS, Ann=100.0)
    talk.plan()
    assert _far(talk) == _named(("Ann", 100.0))

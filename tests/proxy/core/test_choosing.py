from __future__ import annotations

import pytest

from scalesim.proxy.core import choosing
from scalesim.proxy.core.actions import Order
from scalesim.proxy.core.events import EstimatorSet, PolicySet
from scalesim.proxy.core.model import Clock, EngineId, SimulationId

from .conversation import GPU, TOWN, Conversation, own


def _choose(talk: Conversation, name: str) -> None:
    assert talk.post(EstimatorSet(talk.at, TOWN, name)) == []


def _set_policy(talk: Conversation, name: str | None, engine: EngineId | None = None) -> None:
    assert talk.post(PolicySet(talk.at, engine, name)) == []


def _told_and_learned() -> Conversation:
    """Ann comes every ten seconds, and was told to come much later."""
    talk = Conversation()
    talk.find()
    for _ in range(4):
        talk.call("Ann")
        talk.wait(10.0)
        talk.plan()
    talk.hint(Clock.SECONDS, Ann=500.0)
    return talk


def test_the_chosen_estimator_alone_is_asked_until_it_is_auto_again() -> None:
    talk = _told_and_learned()
    assert (talk.town.estimator, talk.agent("Ann").source, talk.distance("Ann")) == ("auto", "hinted", 500.0)
    _choose(talk, "gap")
    assert (talk.town.estimator, talk.agent("Ann").source, talk.distance("Ann")) == ("gap", "gap", 0.0)
    _choose(talk, "spatial")
    assert (talk.agent("Ann").source, talk.distance("Ann")) == (None, None)
    _choose(talk, "auto")
    assert (talk.town.estimator, talk.agent("Ann").source) == ("auto", "hinted")


def test_a_plan_follows_the_chosen_estimator() -> None:
    talk = _told_and_learned()
    talk.call("Bob")
    talk.hint(Clock.SECONDS, Bob=100.0)
    talk.plan()
    assert talk.engine.wanted.order == ((own("Bob")[0], 100.0), (own("Ann")[0], 500.0))
    _choose(talk, "gap")
    talk.plan()
    assert talk.engine.wanted.order[0] == (own("Ann")[0], 0.0)


def test_who_calls_is_active_whatever_was_chosen() -> None:
    talk = _told_and_learned()
    _choose(talk, "hinted")
    talk.start("Ann")
    assert (talk.agent("Ann").source, talk.distance("Ann")) == ("activation", 0.0)


def test_what_is_no_estimator_is_refused() -> None:
    talk = _told_and_learned()
    _choose(talk, "horoscope")
    assert (talk.town.estimator, talk.controller.totals().refused) == ("auto", 1)
    with pytest.raises(ValueError, match="no estimator is called 'horoscope'; there are auto, answers, gap"):
        choosing.find("horoscope")


def test_all_engines_or_one_of_them_have_another_policy() -> None:
    talk, other = _told_and_learned(), EngineId("other")
    talk.find(other)
    assert talk.controller.policy() == "nearest_first"
    _set_policy(talk, "lru", GPU)
    assert [talk.controller.policy(one) for one in (None, GPU, other)] == [
        "nearest_first",
        "lru",
        "nearest_first",
    ]
    _set_policy(talk, "cost_aware")
    assert [talk.controller.policy(one) for one in (None, GPU, other)] == ["cost_aware", "lru", "cost_aware"]
    _set_policy(talk, None, GPU)
    assert talk.controller.policy(GPU) == "cost_aware"


def test_another_policy_is_planned_by_at_once() -> None:
    talk = _told_and_learned()
    talk.plan()
    assert talk.engine.order == own("Ann")
    _set_policy(talk, "lru", GPU)
    assert talk.plan() == [Order(GPU, ())]
    _set_policy(talk, None, GPU)
    assert [type(action) for action in talk.plan()] == [Order]


def test_what_is_no_policy_is_refused() -> None:
    talk = _told_and_learned()
    _set_policy(talk, "alphabetical")
    _set_policy(talk, None)
    assert (talk.controller.policy(), talk.controller.totals().refused) == ("nearest_first", 2)


def test_a_simulation_says_where_its_agents_memory_is() -> None:
    talk = _told_and_learned()
    talk.find(EngineId("other"))
    assert talk.town.engines == (GPU,)
    assert talk.controller.simulation(SimulationId("village")) is None


def test_a_simulation_with_an_estimator_of_its_own_outlasts_others() -> None:
    talk = Conversation(simulation_limit=2)
    talk.call("Ann")
    _choose(talk, "gap")
    talk.call("Bob", simulation="village")
    talk.call("Cem", simulation="city")
    assert talk.town.estimator == "gap"
    assert not talk.controller.knows(SimulationId("village"))

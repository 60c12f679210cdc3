"""A simulation of which nothing is seen for long gives back what it holds, and is as before once it is seen again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scalesim.proxy.core.actions import Action, DropAdapter, FetchAdapter, Order, Unpin
from scalesim.proxy.core.events import GraphCleared, Idled, Interacted
from scalesim.proxy.core.model import Clock, Mode, SimulationId, Source

from .conversation import GPU, LORAS, TOWN, Conversation, key, own, pool

CITY = SimulationId("city")


def _idle_town() -> Conversation:
    """Ann is to call in 5 s, Bob in 900 s; both once had calls, and so did Cem of the city, a second later."""
    talk = Conversation(idle_after_s=60.0)
    talk.find()
    for agent in ("Ann", "Bob"):
        talk.call(agent)
    talk.hint(Clock.SECONDS, Ann=5.0, Bob=900.0)
    talk.wait(1.0)
    talk.call("Cem", simulation=CITY)
    talk.hint(Clock.SECONDS, simulation=CITY, Cem=500.0)
    talk.plan()
    return talk


def _orders(actions: list[Action]) -> list[tuple[str, ...]]:
    return [tuple(owner for owner, _ in one.distances) for one in actions if isinstance(one, Order)]


def _resting(talk: Conversation) -> list[str]:
    return sorted(one.id for one in talk.controller.simulations() if one.resting)


def test_a_simulation_rests_when_nothing_was_seen_of_it_for_so_long() -> None:
    talk = _idle_town()
    talk.wait(58.9)
    talk.tick()
    assert _resting(talk) == []
    talk.wait(0.2)
    talk.tick()
    assert _resting(talk) == [TOWN]
    talk.wait(1.0)
    talk.tick()
    assert _resting(talk) == [CITY, TOWN]


def test_nobody_rests_where_that_is_switched_off() -> None:
    talk = Conversation(idle_after_s=0.0)
    talk.call("Ann")
    talk.wait(1e9)
    talk.tick()
    assert _resting(talk) == []


def test_what_a_resting_simulation_told_counts_no_longer() -> None:
    talk = _idle_town()
    talk.act("Ann", 700.0, Clock.SECONDS)
    talk.call("Bob", said=800.0, clock=Clock.SECONDS)
    talk.wait(40.0)
    talk.hint(Clock.SECONDS, simulation=CITY, Cem=500.0)
    talk.wait(20.0)
    assert [talk.agent(name).source for name in ("Ann", "Bob")] == [Source.PLAN, Source.ANSWERS]
    talk.tick()
    assert [talk.agent(name).source for name in ("Ann", "Bob")] == [Source.GAP, Source.GAP]
    assert talk.agent("Cem", CITY).source is Source.HINTED, "another simulation's does"


def test_a_resting_simulation_gives_its_places_in_the_order_back() -> None:
    talk = _idle_town()
    assert talk.engine.order == (*own("Ann"), *own("Cem", simulation=CITY), *own("Bob"))
    talk.wait(58.0)
    talk.hint(Clock.SECONDS, simulation=CITY, Cem=500.0)
    talk.plan()
    assert talk.engine.order == (*own("Ann"), *own("Cem", simulation=CITY), *own("Bob"))
    talk.wait(1.0)
    assert _orders(talk.plan()) == [own("Cem", simulation=CITY)]
    assert _orders(talk.plan()) == [], "and that is all"


def test_a_pin_ends_with_the_rest_though_the_activation_goes_on() -> None:
    talk = Conversation(idle_after_s=1.0)
    talk.find()
    talk.call("Ann")
    talk.plan()
    assert talk.engine.pins == own("Ann")
    talk.wait(1.0)
    assert Unpin(GPU, own("Ann")) in talk.plan()


def test_adapters_of_a_resting_simulation_make_room_for_those_of_others() -> None:
    talk = Conversation(idle_after_s=60.0)
    talk.find(features=LORAS, slots=4, host_adapters=1)
    talk.report(pools=[pool("lora", free=100)])
    for name, agent, simulation in (("poet", "Ann", TOWN), ("pirate", "Cem", CITY)):
        talk.register(name)
        talk.assign(agent, name, simulation=simulation)
    talk.hint(Clock.SECONDS, Ann=61.0)
    assert FetchAdapter(GPU, key("poet"), "/adapters") in talk.plan()
    talk.wait(59.0)
    talk.hint(Clock.SECONDS, simulation=CITY, Cem=20.0)
    assert not [one for one in talk.plan() if isinstance(one, DropAdapter)]
    talk.wait(1.0)
    assert DropAdapter(GPU, key("poet")) in talk.plan()


def test_whatever_is_seen_of_it_ends_the_rest() -> None:
    tellings: tuple[Callable[[Conversation], object], ...] = (
        lambda talk: talk.call("Ann"),
        lambda talk: talk.hint(Ann=3.0),
        lambda talk: talk.act("Ann", 3.0),
        lambda talk: talk.step(),
        lambda talk: talk.leave("Ann"),
        lambda talk: talk.leave("Nobody"),
        lambda talk: talk.assign("Ann", None),
        lambda talk: talk.set_mode(Mode.SHADOW),
        lambda talk: talk.post(GraphCleared(talk.at, TOWN)),
        lambda talk: talk.post(Interacted(talk.at, TOWN, [])),
    )
    for told in tellings:
        talk = _idle_town()
        talk.wait(59.5)
        talk.plan()
        assert _resting(talk) == [TOWN]
        told(talk)
        assert _resting(talk) == []
        talk.wait(59.9)
        talk.tick()
        assert _resting(talk) == [CITY], "from then on it is counted anew"


def test_time_and_other_simulations_end_no_rest() -> None:
    talk = _idle_town()
    talk.wait(60.0)
    talk.plan()
    talk.call("Cem", simulation=CITY)
    talk.post(Idled(talk.at))
    talk.plan()
    assert _resting(talk) == [TOWN]


def test_what_was_learned_outlasts_the_rest() -> None:
    talk = Conversation(idle_after_s=60.0)
    talk.find()
    for _ in range(3):
        talk.call("Ann")
        talk.wait(10.0)
    talk.wait(60.0)
    talk.plan()
    assert _resting(talk) == [TOWN]
    talk.call("Bob")
    assert talk.agent("Ann").source is Source.GAP
    assert talk.agent("Ann").size_tokens == 100
    assert own("Ann")[0] in _orders(talk.plan())[0]


def test_what_is_told_after_the_rest_counts_as_ever() -> None:
    talk = _idle_town()
    talk.wait(60.0)
    talk.plan()
    talk.hint(Clock.SECONDS, Bob=7.0)
    assert (talk.agent("Bob").distance, talk.agent("Ann").distance) == (7.0, None)
    assert own("Bob")[0] in _orders(talk.plan())[0]


def test_a_simulation_with_a_running_call_does_not_rest() -> None:
    talk = _idle_town()
    call = talk.start("Ann")
    talk.wait(1_000.0)
    talk.tick()
    assert _resting(talk) == [CITY]
    talk.end(call)
    talk.wait(59.9)
    talk.tick()
    assert _resting(talk) == [CITY]
    talk.wait(0.1)
    talk.tick()
    assert _resting(talk) == [CITY, TOWN]


def test_a_simulation_that_ended_during_its_call_comes_back_as_a_new_one() -> None:
    talk = _idle_town()
    call = talk.start("Ann")
    talk.finish()
    talk.call("Ann")
    talk.end(call)
    talk.wait(60.0)
    talk.tick()
    assert _resting(talk) == [CITY, TOWN]


@pytest.mark.parametrize("simulations", [2, 50])
def test_a_tick_looks_at_no_more_than_one_that_is_not_due(simulations: int) -> None:
    """Neither those that rest already nor those that will rest later cost anything."""
    talk = Conversation(idle_after_s=60.0, simulation_limit=1_000)
    for number in range(simulations):
        talk.call("Ann", simulation=f"idle-{number}")
    talk.wait(60.0)
    talk.tick()
    for number in range(simulations):
        talk.call("Ann", simulation=f"busy-{number}")
    population = talk.controller._world.population
    looked = 0

    class Counted(type(population.quiet)):  # type: ignore[misc]
        def values(self) -> object:
            nonlocal looked
            looked += 1
            return super().values()

    population.quiet = Counted(population.quiet)
    population.rest(talk.at)
    assert looked == 1
    assert len(_resting(talk)) == simulations

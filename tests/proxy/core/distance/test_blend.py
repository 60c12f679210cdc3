from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest

from scalesim.proxy.core.authority import JUDGED
from scalesim.proxy.core.distance import blend
from scalesim.proxy.core.estimate import Source
from scalesim.proxy.core.events import Activated, DistanceHinted, EdgesGiven, Moved, SpaceSet
from scalesim.proxy.core.model import AgentName, Clock
from scalesim.proxy.core.space import Motion, SpaceRules

from ..conversation import TOWN, Conversation, own


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


# Who is in charge

FIVE = ("ann", "bob", "cleo", "dan", "eve")
TURN_S = 10.0
Tell = Callable[[float, float], float]
"""(now, when the agent calls next) -> the distance that is told."""


def _exact(now: float, calls_at: float) -> float:
    return calls_at - now


def _reversed(now: float, calls_at: float) -> float:
    return 1e4 - calls_at - now


class Rhythm:
    """Agents of whom one calls every ten seconds, and who are told of when they have called."""

    def __init__(self, order: Sequence[str], **config: Any) -> None:
        self.talk = Conversation(**config)
        self.talk.find()
        self.order = list(order)
        self.called = 0

    def play(self, turns: int, tell: Tell | None = None) -> float:
        """How often the plan had the one nearer that came first."""
        talk, right, pairs = self.talk, 0.0, 0
        for _ in range(turns):
            name, coming = self.order[self.called], self.order[self.called + 1 :]
            away = dict(talk.engine.wanted.order)
            for other in set(own(*coming)) & away.keys() - {mine := own(name)[0]}:
                if mine in away:
                    pairs += 1
                    right += 1.0 if away[mine] < away[other] else 0.5 * (away[mine] == away[other])
            talk.call(name)
            talk.wait(3.0)
            talk.tick()
            if tell is not None:
                calls_at = talk.at - 3.0 + TURN_S * (coming.index(name) + 1)
                told = {AgentName(name): tell(talk.at, calls_at)}
                talk.post(DistanceHinted(talk.at, TOWN, Clock.SECONDS, told))
            talk.wait(TURN_S - 3.0)
            talk.plan()
            self.called += 1
        return right / pairs if pairs else 1.0


def _by_chance(seed: int, turns: int = 160) -> list[str]:
    random = Random(seed)
    return [random.choice("abcdefgh") for _ in range(turns)] + list("abcdefgh")


@pytest.mark.slow
def test_exact_distances_keep_charge_though_the_order_could_be_learned_as_well() -> None:
    rhythm = Rhythm(FIVE * 40)
    assert rhythm.play(150, _exact) == 1.0
    town = rhythm.talk.town
    assert town.in_charge is None
    assert [town.accuracy[source].order for source in (Source.HINTED, Source.TURNS)] == [1.0] * 2
    assert town.accuracy[Source.GAP].order > 0.98, "a law is of classes of gaps"
    assert rhythm.talk.agent("dan").source is Source.HINTED


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_exact_distances_keep_charge_in_traffic_in_which_nothing_can_be_learned(seed: int) -> None:
    rhythm = Rhythm(_by_chance(seed))
    assert rhythm.play(150, _exact) == 1.0
    assert rhythm.talk.town.in_charge is None


@pytest.mark.slow
def test_reversed_distances_lose_charge_and_regain_it_when_they_are_right_again() -> None:
    rhythm = Rhythm(FIVE * 100)
    rhythm.play(len(FIVE), _reversed)
    assert rhythm.play(40, _reversed) < 0.1, "nobody is deposed by little"
    while rhythm.talk.town.in_charge is None:
        rhythm.play(1, _reversed)
    assert rhythm.called <= JUDGED + 4 * len(FIVE)
    assert rhythm.play(40, _reversed) > 0.95
    assert rhythm.talk.town.in_charge is Source.TURNS, "the gap was known first, and is as good"
    lost_at = rhythm.called
    while rhythm.talk.town.in_charge is not None:
        rhythm.play(1, _exact)
    assert rhythm.called - lost_at <= 150
    assert rhythm.talk.agent("dan").source is Source.HINTED
    assert rhythm.play(20, _exact) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_in_random_traffic_nothing_is_learned_that_makes_the_order_worse(seed: int) -> None:
    order = _by_chance(seed)
    by_gap, by_blend = (Rhythm(order, distance=known).play(160) for known in ("gap", "blend"))
    assert by_blend >= by_gap - 0.02


def test_a_source_that_told_wrong_is_waited_for_as_long_as_it_is_usually_off() -> None:
    rhythm = Rhythm(FIVE * 10)
    rhythm.play(len(FIVE) * 6, lambda now, calls_at: calls_at - now - 6.0)
    talk = rhythm.talk
    ann = talk.agent("ann")
    assert (ann.source, ann.spread) == (Source.HINTED, 6.0)
    assert ann.distance == 0.0
    talk.wait(12.0 - 6.0)
    talk.tick()
    assert talk.distance("ann") == 0.0, "the grace of what was told is twice that"
    talk.wait(5.0)
    talk.tick()
    assert talk.distance("ann") == 5.0
    talk.hint(ann=3)
    assert talk.agent("ann").spread == 0.0, "seconds say nothing of steps"


def test_what_is_told_during_an_activation_is_measured_from_its_end_on() -> None:
    talk = Conversation()
    talk.step()
    talk.call("Ann")
    talk.hint(Ann=0, Bob=1, Cem=2)
    talk.step()
    talk.call("Bob")
    assert talk.town.accuracy[Source.HINTED].order == 1.0, "Cem is later, and Ann calls already"
    talk.hint(Ann=4)
    talk.step()
    talk.call("Cem")
    assert (talk.town.accuracy[Source.HINTED].order, talk.town.accuracy[Source.HINTED].count) == (1.0, 2)


def test_what_follows_from_positions_and_waves_is_measured_as_soon_as_it_is_worked_out() -> None:
    talk = Conversation()
    for name in ("A", "B", "C"):
        talk.call(name, acts_for=0)
    a, b, c = map(AgentName, "ABC")
    for _ in range(3):
        talk.step()
        talk.call("A")
        talk.call("B")
        talk.hint(A=1, B=1)
    talk.post(EdgesGiven(talk.at, TOWN, [(a, b), (b, c)]))
    talk.post(Activated(talk.at, TOWN, [a]))
    talk.tick()
    talk.step()
    talk.call("B")
    assert talk.town.accuracy[Source.PATH].count == 1


def test_a_meeting_is_not_overlooked_by_what_is_in_charge() -> None:
    rhythm = Rhythm(FIVE * 30)
    rhythm.play(100, _reversed)
    talk = rhythm.talk
    assert talk.town.in_charge is Source.TURNS
    assert (talk.agent("eve").distance, talk.agent("eve").source) == (4.0, Source.TURNS)
    talk.post(SpaceSet(talk.at, TOWN, SpaceRules(Clock.SECONDS, 2.0, 1.0, 60.0, 120.0)))
    dan, eve = map(AgentName, ("dan", "eve"))
    talk.post(Moved(talk.at, TOWN, {dan: Motion((0.0, 0.0), (30.0, 0.0)), eve: Motion((5.0, 0.0))}))
    talk.tick()
    assert (talk.agent("eve").distance, talk.agent("eve").source) == (3.0, Source.SPATIAL)


def test_a_hint_told_while_an_agent_calls_outlives_what_looks_like_its_next_activation() -> None:
    talk = Conversation()
    call = talk.start("Ann")
    talk.hint(Ann=10, Bob=10)
    talk.end(call)
    talk.wait(60.0)
    for agent in ("Ann", "Bob"):
        talk.call(agent)
    talk.wait(60.0)
    talk.tick()
    assert (talk.distance("Ann"), talk.agent("Bob").source) == (10.0, Source.GAP), "Bob was told of that one"
    for _ in range(6):
        talk.step()
    talk.call("Ann")
    talk.wait(60.0)
    talk.tick()
    assert talk.agent("Ann").source is not Source.HINTED, "more than half of the way is over"


def test_who_has_called_in_all_waves_is_expected_last_whatever_its_habit() -> None:
    talk = Conversation()
    talk.post(EdgesGiven(0.0, TOWN, [(AgentName("A"), AgentName("B"))]))
    talk.step()
    for _ in range(2):
        talk.call("A")
        talk.wait(60.0)
        for _ in range(5):
            talk.step()
    talk.post(Activated(talk.at, TOWN, [AgentName("A")]))
    for agent in "AB":
        talk.call(agent)
    talk.wait(60.0)
    talk.step()
    talk.call("B")
    talk.wait(60.0)
    talk.tick()
    assert (talk.distance("A"), talk.agent("A").source) == (math.inf, Source.PATH)


def test_of_those_who_are_told_the_same_learned_turns_say_who_comes_first() -> None:
    rhythm = Rhythm(FIVE * 10)
    rhythm.play(len(FIVE) * 4, lambda now, calls_at: 50.0)
    talk = rhythm.talk
    talk.post(DistanceHinted(talk.at, TOWN, Clock.SECONDS, dict.fromkeys(map(AgentName, FIVE), 9.0)))
    simulation = talk.controller._world.population.simulations[TOWN]
    known = [blend.estimate(simulation.agents[AgentName(name)], talk.at) for name in FIVE]
    assert [one.source for one in known if one] == [Source.HINTED] * 5
    assert [one.turn for one in known if one] == [20.0, 21.0, 22.0, 23.0, 24.0]

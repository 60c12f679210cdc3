import math
from collections.abc import Iterable
from typing import cast

import pytest

from scalesim.proxy.core.actions import Order, Pin
from scalesim.proxy.core.agenda import Agenda
from scalesim.proxy.core.agent import Agent
from scalesim.proxy.core.engine import Engine
from scalesim.proxy.core.estimate import Estimate, Estimator, Source
from scalesim.proxy.core.loads import LoadQueue
from scalesim.proxy.core.model import (
    KV_PREFIX,
    LORA,
    AgentName,
    Clock,
    EngineId,
    Mode,
    Moment,
    Owner,
    Part,
)
from scalesim.proxy.core.planning import Reach, Sight, keep_invariants, look
from scalesim.proxy.core.policies import find
from scalesim.proxy.core.simulation import Simulation
from scalesim.proxy.core.wanted import Candidate, View, Wanted

from .conversation import BOTH, GPU, HOST_TIER, LORAS, TOWN, Conversation, key, lora, own, pool

ALL = frozenset(Part)

ANN, BOB, CEM, DEE, FAY = own("Ann", "Bob", "Cem", "Dee", "Fay")


def _view(*, budget: int = 100, limit: int = 10) -> View:
    return View(
        [
            Candidate(ANN, 0.0, True, 1.0, 60),
            Candidate(BOB, 2.0, False, 2.0, 50),
            Candidate(CEM, 0.0, True, 3.0, 40),
            Candidate(DEE, 5.0, False, 4.0, None),
        ],
        budget,
        limit,
    )


def test_a_good_plan_is_kept_as_it_is() -> None:
    wanted = find("nearest_first")(_view())
    assert keep_invariants(wanted, _view()) == wanted


def test_an_empty_order_stays_empty() -> None:
    assert keep_invariants(Wanted(), _view()) == Wanted()


def test_an_activation_keeps_its_place_at_the_front() -> None:
    bad = Wanted(((BOB, 0.0), (ANN, 7.0), (DEE, 1.0)))
    assert keep_invariants(bad, _view()).order == ((ANN, 0.0), (CEM, 0.0), (BOB, 0.0), (DEE, 1.0))


def test_the_front_is_kept_when_the_order_is_cut() -> None:
    bad = Wanted(((BOB, 0.0), (DEE, 0.0)))
    assert keep_invariants(bad, _view(limit=2)).order == ((ANN, 0.0), (CEM, 0.0))


def test_an_order_is_sorted_and_has_each_known_owner_once_with_a_real_distance() -> None:
    bad = Wanted(((DEE, 9.0), (BOB, 3.0), (BOB, 1.0), (Owner("stranger"), 1.0), (ANN, math.nan)))
    assert keep_invariants(bad, _view()).order == ((ANN, 0.0), (CEM, 0.0), (BOB, 3.0), (DEE, 9.0))
    for distance in (math.nan, math.inf, -1.0):
        assert keep_invariants(Wanted(((DEE, distance),)), _view()).order == ((ANN, 0.0), (CEM, 0.0))


@pytest.mark.parametrize(
    ("budget", "pins"), [(0, ()), (50, (BOB,)), (100, (BOB, CEM)), (200, (BOB, ANN, CEM))]
)
def test_pins_stay_within_the_budget(budget: int, pins: tuple[Owner, ...]) -> None:
    bad = Wanted(pins=(BOB, BOB, ANN, Owner("stranger"), DEE, CEM))
    if budget == 100:
        bad = Wanted(pins=(BOB, ANN, CEM))
    assert keep_invariants(bad, _view(budget=budget)).pins == pins


@pytest.mark.parametrize("policy", ["nearest_first", "cost_aware"])
def test_a_simulation_in_which_everybody_calls_leaves_others_their_pins(policy: str) -> None:
    talk = Conversation(policy=policy)
    talk.find(capacity=800)
    for simulation, names in (("city", ("Ann", "Bob")), (TOWN, ("Ann", "Bob", "Cem", "Dee", "Eve", "Fay"))):
        for name in names:
            talk.call(name, simulation=simulation)
            talk.start(name, simulation=simulation)
    talk.plan()
    pins = talk.engine.wanted.pins
    assert sorted(pins) == [*own("Ann", simulation="city"), *own("Ann", "Bob", "Cem")], "by what they use"


@pytest.mark.parametrize("policy", ["nearest_first", "cost_aware"])
def test_a_simulation_that_calls_all_its_agents_near_takes_no_room_from_another(policy: str) -> None:
    """There is room for four memories, and both make as many calls."""
    talk = Conversation(policy=policy)
    talk.find(capacity=400)
    for name in ("Ann", "Bob", "Cem", "Dee"):
        for simulation in (TOWN, "city"):
            talk.call(name, simulation=simulation)
    talk.wait(40.0)
    talk.hint(Clock.SECONDS, Ann=0, Bob=0, Cem=0, Dee=0)
    talk.hint(Clock.SECONDS, simulation="city", Ann=50, Bob=60, Cem=70, Dee=80)
    (order,) = (action for action in talk.plan() if isinstance(action, Order))
    owners = [owner for owner, _ in order.distances]
    assert set(owners[:4]) == {*own("Ann", "Bob"), *own("Ann", "Bob", simulation="city")}
    assert set(owners) == {
        *own("Ann", "Bob", "Cem", "Dee"),
        *own("Ann", "Bob", "Cem", "Dee", simulation="city"),
    }


def test_a_policy_that_pins_for_one_simulation_alone_may_only_where_no_other_wants_pins() -> None:
    def partial(view: View) -> Wanted:
        return Wanted(pins=tuple(candidate.owner for candidate in view.candidates))

    talk = Conversation(policy=partial)
    talk.find(capacity=400)
    for simulation in (TOWN, "city"):
        for name in ("Ann", "Bob"):
            talk.call(name, simulation=simulation)
    talk.plan()
    assert talk.engine.wanted.pins == (ANN, *own("Ann", simulation="city"))


def test_a_bad_policy_breaks_nothing() -> None:
    """It pins everybody, calls the absent near and those who call now far, and speaks of strangers."""

    def greedy(view: View) -> Wanted:
        backwards = sorted(view.candidates, key=lambda candidate: -candidate.distance)
        order = tuple((candidate.owner, float(place)) for place, candidate in enumerate(backwards))
        return Wanted((*order, (Owner("stranger"), -1.0)), tuple(candidate.owner for candidate in backwards))

    talk = Conversation(policy=greedy)
    talk.find(capacity=300)
    for name in ("Ann", "Bob", "Cem"):
        talk.call(name, prompt=90, output=10)
    talk.hint(Ann=1, Bob=2)
    assert talk.tick() == [
        Order(GPU, ((CEM, 0.0), (BOB, 0.0), (ANN, 1.0))),
        Pin(GPU, (BOB,)),
    ]
    assert talk.controller.totals().corrected_plans == talk.controller.totals().plans


def _spied() -> tuple[Conversation, list[View]]:
    views: list[View] = []

    def spy(view: View) -> Wanted:
        views.append(view)
        return Wanted()

    talk = Conversation(policy=spy)
    talk.find()
    return talk, views


def _distances(view: View) -> dict[str, float]:
    return {candidate.owner: candidate.distance for candidate in view.candidates}


def test_the_view_has_those_who_are_on_the_engine_and_expected_again() -> None:
    talk, views = _spied()
    for name in ("Ann", "Bob", "Cem", "Dee", "Fay"):
        talk.call(name, acts_for=0)
    talk.call("Gus", engine=EngineId("other"), acts_for=0)
    talk.hint(Ann=1, Bob=math.inf, Eve=1)
    talk.start("Cem")
    talk.wait(3.0)
    talk.call("Fay", acts_for=2)
    talk.tick()
    assert _distances(views[-1]) == {ANN: 1.0, CEM: 0.0, DEE: 0.0, FAY: 2.0}


def test_distances_of_several_clocks_are_compared_in_seconds() -> None:
    talk, views = _spied()
    for name in ("Ann", "Bob"):
        talk.call(name, acts_for=0)
    talk.call("Ann", simulation="city", acts_for=0)
    talk.step()
    talk.wait(4.0)
    talk.step()
    talk.hint(Clock.STEPS, Ann=2)
    talk.hint(Clock.SECONDS, Bob=7)
    talk.hint(Clock.STEPS, simulation="city", Ann=7.5)
    talk.tick()
    assert _distances(views[-1]) == {BOB: 7.0, own("Ann", simulation="city")[0]: 7.5, ANN: 8.0}


def test_simulations_in_shadow_are_seen_only_by_the_shadow_plan() -> None:
    talk, views = _spied()
    talk.set_mode(Mode.SHADOW, "city")
    talk.set_mode(Mode.OFF, "village")
    for name in ("town", "city", "village"):
        talk.call("Ann", simulation=name)
    talk.tick()
    assert [sorted(_distances(view)) for view in views[-2:]] == [["town/Ann"], ["city/Ann", "town/Ann"]]


def test_the_view_says_what_memory_there_is_and_whether_it_is_copied_back() -> None:
    talk, views = _spied()
    talk.find(features=HOST_TIER)
    talk.host_copy("Bob", False)
    talk.call("Ann", adapter="poet", acts_for=1)
    talk.call("Bob", acts_for=2)
    talk.tick()
    assert views[-1].candidates == [
        Candidate(ANN, 1.0, False, 0.0, 100, adapter=key("poet"), has_copy=True, simulation=TOWN),
        Candidate(BOB, 2.0, False, 0.0, 100, simulation=TOWN),
    ]
    talk.find(features=BOTH)
    talk.tick()
    assert not any(candidate.has_copy for candidate in views[-1].candidates)


def test_an_adapter_has_a_size_where_it_competes_with_prefixes() -> None:
    talk, views = _spied()
    talk.call("Ann", adapter="poet", acts_for=1)
    prefixes, slots = pool(KV_PREFIX, free=10, capacity=7000), pool(LORA, free=10)
    both = pool(KV_PREFIX, LORA, free=10, capacity=9000)
    for pools, sizes in (([], (None, None)), ([prefixes, slots], (7, None)), ([both], (9, 300))):
        talk.report(pools=pools, memories={lora("poet"): (200, 100)})
        talk.call("Ann", adapter="poet", acts_for=1)
        talk.tick()
        view = views[-1]
        assert (view.bytes_per_token, view.adapter_bytes) == sizes


def _seen(agents: Iterable[Agent], estimate: Estimator, at: float, reach: Reach) -> Sight:
    engine = Engine(GPU, LoadQueue(GPU))
    for agent in agents:
        agent.engine = engine
        engine.take_in(agent)
        engine.note(agent)
    agenda = Agenda()
    for _ in agenda.catch_up(engine, estimate, at):
        pass
    pieces = look(
        agenda, engine, {Mode.ON}, estimate, at, pin_budget_tokens=0, plan_limit=9, weights={}, reach=reach
    )
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return cast(Sight, end.value)


def test_the_view_says_in_seconds_how_sure_a_distance_is() -> None:
    town = Simulation(TOWN, Mode.ON, 0.0)
    for number in range(3):
        town.steps.tick(number * 3.0, float(number))
    agents = [Agent(AgentName(name), own(name)[0], town) for name in ("Ann", "Bob")]
    moments = {"Ann": Moment(Clock.STEPS, 6.0), "Bob": Moment(Clock.SECONDS, 11.0)}

    def estimate(agent: Agent, at: float) -> Estimate:
        return Estimate(moments[agent.name], 2.0, Source.GAP)

    sight = _seen(agents, estimate, 6.0, Reach(1.0, 1.0))
    assert [(one.distance, one.spread) for one in sight.view.candidates] == [(5.0, 2.0), (12.0, 6.0)]


def test_who_comes_by_turn_is_near_by_the_seconds_that_it_takes() -> None:
    """A turn takes 4 seconds: the next is due in 3, those after it in 7, 11 and 15."""
    town = Simulation(TOWN, Mode.ON, 0.0)
    names = [AgentName(name) for name in ("Ann", "Bob", "Cem", "Dan")]
    for number in range(8):
        town.turns.began(names[number % 4], number * 4.0)
    agents = [Agent(name, own(name)[0], town) for name in names]

    def estimate(agent: Agent, at: float) -> Estimate:
        return Estimate(Moment(Clock.TURNS, 8.0 + names.index(agent.name)), 0.5, Source.TURNS)

    def seen(reach_s: float) -> Sight:
        return _seen(agents, estimate, 29.0, Reach(99.0, reach_s))

    sight = seen(8.0)
    assert [one.distance for one in sight.view.candidates] == pytest.approx([3.0, 7.0, 11.0, 15.0], abs=0.001)
    assert [one.spread for one in sight.view.candidates] == pytest.approx([2.0] * 4, abs=0.001)
    assert (sight.near, sight.soon) == (set(own("Ann", "Bob")), set(own(*names)))
    assert sight.wake_at == math.inf, "Cem comes near by the next turn, and not by the passing of time"
    assert seen(5.0).wake_at == pytest.approx(31.0, abs=0.01), "Bob comes near before that"


def test_the_cost_of_memory_reaches_the_engine() -> None:
    """Ann calls before Bob, and Bob's prefix would have to be computed again."""
    for policy, first in (("nearest_first", ANN), ("cost_aware", BOB)):
        talk = Conversation(policy=policy, parts=frozenset({Part.ORDER}))
        talk.find(features=HOST_TIER)
        talk.host_copy("Bob", False)
        talk.call("Ann", acts_for=4)
        talk.call("Bob", acts_for=5)
        talk.call("Cem", acts_for=6)
        (order,) = talk.plan()
        assert isinstance(order, Order)
        assert order.distances[0][0] == first


# What follows from an order

EVERYTHING = LORAS | {"host_copy", "ready_first", "by_recency"}


def _poets(
    parts: frozenset[Part] = ALL, slots: int = 4, features: frozenset[str] = EVERYTHING
) -> Conversation:
    """Ann is in an activation, Bob calls in 5 steps, and each has an adapter."""
    talk = Conversation(parts=parts)
    talk.find(features=features, slots=slots)
    talk.call("Bob", adapter="clerk", acts_for=5)
    talk.call("Ann", adapter="poet")
    return talk


def test_an_order_carries_what_follows_from_it() -> None:
    talk = _poets()
    talk.host_copy("Bob", False)
    assert talk.plan() == [
        Order(
            GPU,
            ((ANN, 0.0), (BOB, 5.0)),
            ((key("poet"), 0.0), (key("clerk"), 5.0)),
            pinned_adapters=(key("poet"),),
            no_host_copy=(BOB,),
            ready_first=True,
        ),
        Pin(GPU, (ANN,)),
    ]
    assert talk.tick() == []


def test_an_order_says_nothing_that_the_engine_does_not_understand() -> None:
    talk = _poets(features=BOTH)
    talk.host_copy("Bob", False)
    assert talk.plan() == [Order(GPU, ((ANN, 0.0), (BOB, 5.0))), Pin(GPU, (ANN,))]


@pytest.mark.parametrize(
    ("off", "left"),
    [
        (Part.ORDER, Order(GPU, (), (), (key("poet"),), (), True)),
        (
            Part.PIN,
            Order(GPU, ((ANN, 0.0), (BOB, 5.0)), ((key("poet"), 0.0), (key("clerk"), 5.0)), (), (), True),
        ),
        (
            Part.READY_FIRST,
            Order(GPU, ((ANN, 0.0), (BOB, 5.0)), ((key("poet"), 0.0), (key("clerk"), 5.0)), (key("poet"),)),
        ),
    ],
)
def test_each_part_can_be_switched_off(off: Part, left: Order) -> None:
    actions = _poets(ALL - {off}).plan()
    assert actions[0] == left
    assert (Pin(GPU, (ANN,)) in actions) == (off is not Part.PIN)


def test_with_all_parts_off_an_engine_is_left_alone() -> None:
    assert _poets(frozenset()).plan() == []


def test_an_adapter_is_as_near_as_its_nearest_owner_and_a_running_one_is_nearest() -> None:
    talk = Conversation(parts=frozenset({Part.ORDER}))
    talk.find(features=LORAS, slots=8)
    for agent, adapter, away in (("Ann", "poet", 5), ("Bob", "poet", 3), ("Cem", "clerk", 4)):
        talk.call(agent, adapter=adapter, acts_for=away)
    talk.start(None, adapter="smith")
    assert talk.plan() == [
        Order(
            GPU,
            ((BOB, 3.0), (CEM, 4.0), (ANN, 5.0)),
            ((key("smith"), 0.0), (key("poet"), 3.0), (key("clerk"), 4.0)),
        )
    ]


@pytest.mark.parametrize(("slots", "pinned"), [(1, 0), (2, 0), (3, 0), (4, 1), (5, 2), (9, 2)])
def test_pinned_adapters_leave_a_slot_beside_those_that_run(slots: int, pinned: int) -> None:
    """One runs through us, another by the engine's own account; both of ours wait between two calls."""
    talk = Conversation()
    talk.find(features=LORAS, slots=slots)
    talk.call("Ann", adapter="poet")
    talk.call("Bob", adapter="clerk")
    talk.start("Cem", adapter="smith")
    talk.report(plan=False, pools=[pool("lora", free=100)], running=["stray"])
    talk.tick()
    assert len(talk.engine.wanted.pinned_adapters) == pinned


def test_a_call_of_a_stranger_on_another_adapter_takes_a_pin_away() -> None:
    talk = _poets(slots=2)
    talk.plan()
    assert list(talk.engine.wanted.pinned_adapters) == ["poet"]
    talk.start(None, adapter="smith")
    talk.plan()
    assert list(talk.engine.wanted.pinned_adapters) == []


def test_a_change_of_adapters_alone_is_sent() -> None:
    talk = _poets(ALL - {Part.PIN})
    talk.plan()
    talk.call("Bob", adapter="smith", acts_for=5)
    (order,) = talk.plan()
    assert isinstance(order, Order)
    assert order.adapters == ((key("poet"), 0.0), (key("smith"), 5.0))

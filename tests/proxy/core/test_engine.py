"""What an engine tells its guard, and what follows from who is in charge."""

from __future__ import annotations

from typing import Any

from scalesim.proxy.core.actions import Order, Pin
from scalesim.proxy.core.agent import Agent
from scalesim.proxy.core.engine import Engine
from scalesim.proxy.core.guard import GuardState, InCharge
from scalesim.proxy.core.loads import LoadQueue
from scalesim.proxy.core.model import (
    AgentName,
    Capabilities,
    EngineId,
    Mode,
    Outcome,
    Owner,
    Part,
    SimulationId,
)
from scalesim.proxy.core.simulation import Simulation

from .conversation import BOTH, GPU, LORAS, TOWN, Conversation, key, own

(ANN,) = own("Ann")
EVERYTHING = LORAS | {"host_copy", "ready_first", "by_recency"}


def _guard(talk: Conversation) -> GuardState:
    state = talk.engine.guard
    assert state is not None
    return state


def _misled(talk: Conversation, rounds: int = 12) -> None:
    """Ten agents fit. Ten stay near that never call, and two that call in turn are always told far."""
    for number in range(10):
        talk.call(f"near-{number}", acts_for=1)
    for _ in range(rounds):
        for name in ("left", "right"):
            talk.call(name, acts_for=50)
            talk.plan()


def _in_charge_of_recency(features: frozenset[str] = BOTH, **config: Any) -> Conversation:
    talk = Conversation(**config)
    talk.find(features=features, slots=4)
    _misled(talk)
    assert _guard(talk).in_charge is InCharge.LRU
    return talk


# Where there is one


def test_there_is_a_guard_where_there_is_an_order_of_a_cache_whose_size_is_known() -> None:
    talk = Conversation()
    talk.find(features=frozenset({"pin", "warm_up"}))
    assert talk.engine.guard is None
    talk.find(features=BOTH, capacity=None)
    assert talk.engine.guard == _guard(talk), "the size is known from before"
    talk.find(features=frozenset())
    assert talk.engine.guard is None


def test_the_size_of_a_cache_may_be_reported_later() -> None:
    talk = Conversation()
    talk.find(capacity=None)
    assert talk.engine.guard is None
    talk.report()
    assert _guard(talk).calls == 0


def test_a_guard_can_be_switched_off() -> None:
    for config in ({"guard": False}, {"parts": frozenset(Part) - {Part.ORDER}}):
        talk = Conversation(**config)
        talk.find()
        _misled(talk)
        assert talk.engine.guard is None
    talk = Conversation(guard=False)
    talk.find()
    _misled(talk)
    assert len(talk.engine.wanted.order) == 12


# What it is told


def test_calls_of_known_agents_are_played_with_the_sizes_that_they_leave() -> None:
    talk = Conversation()
    talk.find()
    for name in ("Ann", "Bob", "Ann"):
        talk.call(name)
    talk.end(talk.start(None))
    state = _guard(talk)
    assert (state.calls, state.hits_lru) == (3, 1)
    talk.call("Cem", prompt=1500)
    talk.call("Ann")
    assert _guard(talk).hits_lru == 1, "nothing else fits beside it"


def test_calls_find_what_was_there_before_those_that_began_with_them() -> None:
    """An engine admits them together, and has locked what they find before it makes room for what they do not."""
    talk = Conversation()
    talk.find()
    for number in range(10):
        talk.call(f"agent-{number}", acts_for=1)
    talk.plan()
    talk.start("new")
    talk.start("agent-0")
    assert _guard(talk).hits_lru == 1, "which is the oldest of those that fit"
    talk.plan()
    talk.start("agent-1")
    assert _guard(talk).hits_lru == 1, "the engine has gone on since"


def test_by_a_plan_that_changes_nothing_the_engine_has_gone_on() -> None:
    talk = Conversation()
    talk.find()
    talk.set_mode(Mode.OFF, "city")
    for number in range(10):
        talk.call(f"agent-{number}", simulation="city")
    talk.start("Ann")
    talk.plan()
    order = talk.engine.order
    talk.start("new", simulation="city")
    talk.start("Ann")
    talk.plan()
    assert talk.engine.order == order
    hits = _guard(talk).hits_lru
    talk.start("agent-1", simulation="city")
    assert _guard(talk).hits_lru == hits, "which had to leave for those two"


def test_a_plan_is_due_when_recency_takes_charge_as_another_order_arrives() -> None:
    engine = Engine(GPU, LoadQueue(GPU, max_in_flight=1, max_bytes=1), guarded=True)
    engine.find(Capabilities("emulated", "1", True, BOTH, "boot", capacity_tokens=2))
    assert engine.guard is not None
    owners = [Owner(f"agent-{number}") for number in range(3)]
    engine.guard.ordered([(owners[0], 1.0)])
    for owner in owners[:2]:
        engine.guard.called(owner, 1)
        engine.guard.ended(owner)
    engine.guard._behind = 100 * 2  # nothing may be risked any more
    engine.guard.called(owners[2], 1)
    engine.dirty = False
    assert engine.by_distance, "no room was made yet"
    engine.follow()
    assert not engine.by_distance
    assert engine.dirty


def test_each_engine_has_its_own() -> None:
    talk = Conversation()
    talk.find()
    talk.find(EngineId("other"))
    talk.call("Ann")
    talk.call("Ann", engine=EngineId("other"))
    states = [engine.guard for engine in talk.controller.engines()]
    assert [(state.calls, state.hits_lru) for state in states if state is not None] == [(1, 0), (1, 0)]


def test_the_call_of_an_agent_that_left_ends_all_the_same() -> None:
    talk = Conversation()
    talk.find()
    call = talk.start("Ann")
    assert talk.controller.sizes()["guard_running"] == 1
    talk.leave("Ann")
    talk.end(call)
    assert talk.controller.sizes()["guard_running"] == 0


def test_agents_of_simulations_that_are_not_on_are_played_as_they_are_and_leave_first() -> None:
    talk = Conversation()
    talk.find()
    talk.set_mode(Mode.OFF, "city")
    talk.set_mode(Mode.SHADOW, "farm")
    for number in range(8):
        talk.call(f"agent-{number}", acts_for=50)
    for simulation in ("city", "farm"):
        talk.call("Bob", simulation=simulation)
    for _ in range(2):
        talk.plan()
    talk.call("new", acts_for=50)
    assert (_guard(talk).calls, _guard(talk).hits_lru) == (11, 0)
    for simulation in ("city", "farm"):
        talk.call("Bob", simulation=simulation)
    assert (_guard(talk).hits_lru, _guard(talk).hits_guarded) == (2, 0), "no order names them"


def test_as_long_as_none_is_on_those_in_shadow_are_played_as_if_they_were() -> None:
    talk = Conversation(mode=Mode.SHADOW)
    talk.find()
    talk.call("near-0", acts_for=1)
    talk.plan()
    _misled(talk)
    state = _guard(talk)
    assert (state.in_charge, state.calls) == (InCharge.LRU, 35)
    assert talk.engine.guard_rehearses
    assert talk.engine.order == ()
    assert talk.engine.shadow is not None
    assert talk.engine.shadow.order == ()
    assert talk.controller.totals().orders == 0


def test_a_call_whose_start_was_not_played_ends_no_other_one() -> None:
    talk = Conversation()
    talk.find(capacity=None)
    before = talk.start("Ann")
    talk.find()
    talk.start("Ann")
    talk.end(before)
    assert talk.controller.sizes()["guard_running"] == 1


def test_an_engine_that_forgot_everything_starts_from_nothing_and_what_was_counted_stays() -> None:
    talk = Conversation()
    talk.find()
    running = talk.start("Ann")
    talk.call("Bob")
    talk.find(boot="boot-2")
    assert talk.controller.sizes()["guard_memories"] == talk.controller.sizes()["guard_running"] == 0
    talk.call("Bob")
    assert (_guard(talk).calls, _guard(talk).hits_lru) == (3, 0)
    talk.start("Ann")
    talk.end(running)
    assert talk.controller.sizes()["guard_running"] == 1, "that call is from before"


def test_an_engine_that_could_not_be_reached_for_a_while_has_forgotten_nothing() -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann")
    running = talk.start("Bob")
    talk.lose()
    talk.end(running, prompt=None, outcome=Outcome.ENGINE_FAILED)
    talk.find()
    for name in ("Ann", "Bob"):
        talk.call(name)
    assert _guard(talk).hits_lru == 1, "what the failed call left is not known"


def test_whoever_comes_after_those_who_misled_is_believed() -> None:
    talk = _in_charge_of_recency()
    talk.finish()
    assert _guard(talk).in_charge is InCharge.DISTANCE
    assert _guard(talk).reason == "nobody is left whose distances did worse than recency"


# What is in force


def test_an_order_counts_once_it_has_arrived_and_as_long_as_it_is_in_force() -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann", acts_for=1)
    talk.call("Bob", acts_for=2)

    def played() -> int:
        return talk.controller.sizes()["guard_ordered"]

    sent = talk.tick()
    assert played() == 0
    talk.settle(sent)
    assert played() == 2
    sent = talk.report(plan=False)
    assert played() == 0, "it has aged out"
    talk.settle(sent, error="refused")
    assert played() == 0
    talk.plan()
    assert played() == 2
    talk.lose()
    assert played() == 0


def test_while_recency_is_in_charge_what_would_be_ordered_is_played() -> None:
    talk = _in_charge_of_recency()
    assert talk.engine.order == ()
    assert talk.controller.sizes()["guard_ordered"] == 12


def test_an_engine_with_less_room_is_played_with_less() -> None:
    talk = Conversation()
    talk.find()
    for number in range(10):
        talk.call(f"agent-{number}")
    assert talk.controller.sizes()["guard_memories"] == 30
    talk.report(capacity=500)
    assert talk.controller.sizes()["guard_memories"] == 15


# What follows


def test_a_plan_is_due_when_somebody_else_takes_charge_and_not_before() -> None:
    engine = Engine(GPU, LoadQueue(GPU, max_in_flight=1, max_bytes=1), guarded=True)
    engine.find(Capabilities("emulated", "1", True, BOTH, "boot-1", 10))
    assert engine.guard is not None
    town = Simulation(TOWN, Mode.ON, 0.0)
    pair = [
        Agent(AgentName(name), owner, town, size_tokens=1)
        for name, owner in zip("LR", own(*"LR"), strict=True)
    ]
    near = [Agent(AgentName(str(n)), Owner(f"town/{n}"), town, size_tokens=1) for n in range(10)]
    for agent in near:
        assert engine.play(agent)
        engine.release(agent, engine.beginning)
    while engine.by_distance:
        assert not engine.dirty
        engine.guard.ordered(tuple((agent.owner, float(n)) for n, agent in enumerate((*near, *pair))))
        engine.play(pair[0])
        engine.release(pair[0], engine.beginning)
        pair.reverse()
    assert engine.dirty


def test_recency_in_charge_is_sent_as_an_empty_order() -> None:
    talk = Conversation()
    talk.find()
    _misled(talk, rounds=3)
    assert talk.engine.order
    _misled(talk)
    assert talk.engine.order == ()
    assert not talk.engine.plan_due


def test_recency_in_charge_is_told_to_an_engine_that_knows_what_is_of_no_use_any_more() -> None:
    for features, orders in ((BOTH, []), (BOTH | {"by_recency"}, [Order(GPU, (), by_recency=True)])):
        talk = _in_charge_of_recency(features)
        again = talk.report(plan=False)
        assert [action for action in again if isinstance(action, Order)] == orders


def test_recency_in_charge_takes_the_order_of_prefixes_and_nothing_else() -> None:
    talk = _in_charge_of_recency(EVERYTHING)
    talk.call("Ann", adapter="poet")
    talk.call("Bob", adapter="clerk", acts_for=5)
    talk.host_copy("Bob", False)
    order, pin = talk.plan()
    assert isinstance(order, Order)
    assert (order.distances, order.by_recency) == ((), True)
    assert [name for name, _ in order.adapters] == [key("poet"), key("clerk")]
    assert (order.pinned_adapters, order.no_host_copy) == ((key("poet"),), own("Bob"))
    assert order.ready_first
    assert pin == Pin(GPU, (ANN,))
    assert talk.tick() == []


# Shares


def test_the_weight_of_a_simulation_on_an_engine_is_what_it_used_of_late() -> None:
    engine = Engine(GPU, LoadQueue(GPU, max_in_flight=1, max_bytes=1))
    town, city, farm = (
        Simulation(SimulationId(name), mode, 0.0)
        for name, mode in (("town", Mode.ON), ("city", Mode.ON), ("farm", Mode.OFF))
    )
    for simulation, beginnings in ((town, 6), (city, 2), (farm, 9)):
        agent = Agent(AgentName("Ann"), Owner(f"{simulation.id}/Ann"), simulation)
        engine.take_in(agent)
        for _ in range(beginnings):
            agent.begin_activation(10.0)
    assert engine.weights({Mode.ON}, 10.0) == engine.weights({Mode.ON}, 1000.0) == {"town": 768, "city": 256}
    assert engine.modes == {Mode.ON, Mode.OFF}
    for agent in list(engine.agents):
        engine.let_go(agent)
    assert (engine.weights({Mode.ON}, 10.0), engine.modes) == ({}, set())

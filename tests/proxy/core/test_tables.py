"""What an engine tells its guard, and what follows from who is in charge."""

from __future__ import annotations

from typing import Any

from scalesim.proxy.core.actions import Order, Pin
from scalesim.proxy.core.guard import GuardState, InCharge
from scalesim.proxy.core.loads import LoadQueue
from scalesim.proxy.core.model import AgentName, Capabilities, EngineId, Mode, Owner, Part
from scalesim.proxy.core.tables import Agent, Engine, Simulation

from .conversation import BOTH, GPU, LORAS, TOWN, Conversation, key, own

(ANN,) = own("Ann")
EVERYTHING = LORAS | {"host_copy", "ready_first"}


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


def test_simulations_that_are_off_are_not_played_nor_such_in_shadow_beside_one_that_is_on() -> None:
    talk = Conversation()
    talk.find()
    talk.set_mode(Mode.OFF, "city")
    talk.set_mode(Mode.SHADOW, "farm")
    talk.call("Ann")
    talk.plan()
    for simulation in ("city", "farm", TOWN):
        talk.call("Ann", simulation=simulation)
    assert (_guard(talk).calls, _guard(talk).hits_lru) == (2, 1)


def test_a_simulation_that_is_on_is_played_from_its_first_call_on() -> None:
    talk = Conversation()
    talk.find()
    talk.set_mode(Mode.SHADOW, "city")
    talk.call("Ann", simulation="city")
    talk.call("Ann")
    assert _guard(talk).calls == 2
    talk.plan()
    talk.call("Ann", simulation="city")
    assert _guard(talk).calls == 2


def test_as_long_as_none_is_on_those_in_shadow_are_played_as_if_they_were() -> None:
    talk = Conversation(mode=Mode.SHADOW)
    talk.find()
    talk.call("near-0", acts_for=1)
    talk.plan()
    _misled(talk)
    state = _guard(talk)
    assert (state.in_charge, state.calls) == (InCharge.LRU, 35)
    assert talk.engine.order == ()
    assert talk.engine.shadow is not None
    assert talk.engine.shadow.order == ()
    assert talk.controller.totals().orders == 0


def test_a_call_whose_start_was_not_played_ends_no_other_one() -> None:
    talk = Conversation()
    talk.find()
    talk.set_mode(Mode.OFF)
    before = talk.start("Ann")
    talk.set_mode(Mode.ON)
    talk.start("Ann")
    talk.end(before)
    assert talk.controller.sizes()["guard_running"] == 1


def test_an_engine_that_forgot_everything_starts_from_nothing_and_what_was_counted_stays() -> None:
    talk = Conversation()
    talk.find()
    running = talk.start("Ann")
    talk.call("Bob")
    talk.lose()
    assert talk.controller.sizes()["guard_memories"] == talk.controller.sizes()["guard_running"] == 0
    talk.find(boot="boot-2")
    talk.end(running)
    talk.call("Bob")
    assert (_guard(talk).calls, _guard(talk).hits_lru) == (3, 0)


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
        engine.release(agent)
    while engine.by_distance:
        assert not engine.dirty
        engine.guard.ordered(tuple((agent.owner, float(n)) for n, agent in enumerate((*near, *pair))))
        engine.play(pair[0])
        engine.release(pair[0])
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


def test_recency_in_charge_takes_the_order_of_prefixes_and_nothing_else() -> None:
    talk = _in_charge_of_recency(EVERYTHING)
    talk.call("Ann", adapter="poet")
    talk.call("Bob", adapter="clerk", acts_for=5)
    talk.host_copy("Bob", False)
    assert talk.plan() == [
        Order(
            GPU,
            (),
            ((key("poet"), 0.0), (key("clerk"), 5.0)),
            pinned_adapters=(key("poet"),),
            no_host_copy=own("Bob"),
            ready_first=True,
        ),
        Pin(GPU, (ANN,)),
    ]
    assert talk.tick() == []

"""What is loaded ahead, as histories: reports and distances in, loads out."""

import pytest

from scalesim.proxy.core.actions import Action, DropAdapter, FetchAdapter, Load, Order, StopLoad
from scalesim.proxy.core.adapters import CLASH_LIMIT
from scalesim.proxy.core.events import Settled
from scalesim.proxy.core.hosting import ATTEMPTS
from scalesim.proxy.core.model import Clock, LoadState, Mode, Outcome, Part

from .conversation import BOTH, GPU, HOST_TIER, LORAS, TOWN, Conversation, key, lora, own, pool, prefix

ANN, BOB, CEM = own("Ann", "Bob", "Cem")
ROOM = (pool(free=1000),)
ALL = frozenset(Part)


def _town(*names: str, features: frozenset[str] = HOST_TIER, **config: object) -> Conversation:
    """A town whose agents have called once (100 tokens each), and whose order is in force. Pins are left out."""
    talk = Conversation(**{"parts": ALL - {Part.PIN}, **config})  # type: ignore[arg-type]
    talk.find(features=features, slots=4)
    for name in names:
        talk.call(name, acts_for=9)
    talk.plan()
    return talk


def _loads(actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, Load | StopLoad)]


def _load(agent: str, distance: float, within_s: float, *, recompute: bool = False) -> Load:
    return Load(GPU, prefix(agent), distance, within_s, recompute)


# Whose


def test_who_comes_near_is_loaded_for_before_it_calls() -> None:
    talk = _town("Ann")
    gone = {prefix("Ann"): (0, 100)}
    talk.hint(Ann=3)
    talk.plan()
    assert talk.report(pools=ROOM, memories=gone) == []
    talk.step()
    assert talk.plan() == [_load("Ann", 2.0, 12.0)]
    assert talk.report(pools=ROOM, memories={prefix("Ann"): (100, 0)}) == []
    assert talk.controller.totals().loads == 1


def test_what_is_resident_is_not_loaded() -> None:
    talk = _town("Ann")
    talk.hint(Ann=1)
    talk.plan()
    assert talk.report(pools=ROOM, memories={prefix("Ann"): (100, 0)}) == []


def test_what_the_engine_did_not_report_is_tried_once_until_it_calls_again() -> None:
    talk = _town("Ann")
    talk.hint(Ann=1)
    talk.plan()
    load = talk.report(pools=ROOM)
    assert load == [_load("Ann", 1.0, 11.0)]
    talk.settle(load, state=LoadState.ABSENT)
    talk.wait(60.0)
    assert _loads(talk.report(pools=ROOM)) == []
    talk.call("Ann", acts_for=1)
    assert _loads(talk.tick()) == []
    assert _loads(talk.report(pools=ROOM)) == load


def test_an_engine_that_tells_of_no_pools_is_not_loaded_to() -> None:
    talk = _town("Ann")
    talk.hint(Ann=1)
    talk.plan()
    assert talk.report(memories={prefix("Ann"): (0, 100)}) == []


def test_a_running_call_loads_for_itself_and_between_two_calls_it_is_done_ahead() -> None:
    talk = _town("Ann")
    call = talk.start("Ann")
    talk.plan()
    gone = {prefix("Ann"): (0, 100)}
    assert talk.report(pools=ROOM, memories=gone) == []
    talk.end(call, outcome=Outcome.CLIENT_GONE)
    assert talk.plan() == [_load("Ann", 0.0, 10.0)]


def test_a_call_leaves_its_memory_behind() -> None:
    talk = _town("Ann")
    talk.report(pools=ROOM, memories={prefix("Ann"): (0, 100)})
    talk.call("Ann", acts_for=1)
    (memory,) = talk.agent("Ann").memories
    assert (memory.device_bytes, memory.missing_bytes) == (100, 0)


def test_a_failed_call_leaves_nothing_behind() -> None:
    talk = _town("Ann")
    talk.report(pools=ROOM, memories={prefix("Ann"): (0, 100)})
    talk.end(talk.start("Ann"), outcome=Outcome.ENGINE_FAILED)
    (memory,) = talk.agent("Ann").memories
    assert (memory.device_bytes, memory.missing_bytes) == (0, 100)


def test_time_brings_those_near_who_count_in_seconds() -> None:
    talk = _town("Ann")
    talk.hint(Clock.SECONDS, Ann=40)
    talk.plan()
    assert talk.report(pools=ROOM, memories={prefix("Ann"): (0, 100)}) == []
    talk.wait(9.9)
    assert _loads(talk.plan()) == []
    talk.wait(0.2)
    (load,) = _loads(talk.plan())
    assert load == Load(GPU, prefix("Ann"), pytest.approx(29.9), pytest.approx(89.7))  # type: ignore[arg-type]


def test_a_deadline_follows_from_the_pace() -> None:
    talk = _town("Ann")
    for _ in range(3):
        talk.wait(20.0)
        talk.step()
    talk.hint(Ann=1)
    talk.plan()
    assert _loads(talk.report(pools=ROOM, memories={prefix("Ann"): (0, 100)})) == [_load("Ann", 20.0, 60.0)]


# Room


def test_the_nearest_take_the_free_room_and_the_farther_residents() -> None:
    """Bob's room is free, Cem's place is taken by nobody nearer than Dee."""
    talk = _town("Ann", "Bob", "Cem", "Dee", prefetch_steps=10.0)
    talk.hint(Ann=1, Bob=2, Cem=5, Dee=3)
    talk.plan()
    loads = talk.report(
        pools=[pool(free=100, capacity=200)],
        memories={
            prefix("Ann"): (0, 100),
            prefix("Bob"): (0, 100),
            prefix("Cem"): (0, 100),
            prefix("Dee"): (100, 0),
        },
    )
    assert loads == [_load("Ann", 1.0, 11.0), _load("Bob", 2.0, 12.0)]


def test_who_is_in_an_activation_is_not_replaced() -> None:
    talk = _town("Ann", "Bob")
    talk.start("Bob")
    talk.hint(Ann=1)
    talk.plan()
    full = {prefix("Ann"): (0, 100), prefix("Bob"): (100, 0)}
    assert talk.report(pools=[pool(free=0, capacity=100)], memories=full) == []


def test_memory_that_nobody_is_known_to_need_makes_room_first() -> None:
    talk = _town("Ann")
    talk.hint(Ann=1)
    talk.plan()
    full = {prefix("Ann"): (0, 100), prefix("Stranger"): (100, 0)}
    assert talk.report(pools=[pool(free=0, capacity=100)], memories=full) == [_load("Ann", 1.0, 11.0)]


def test_what_the_engine_holds_and_does_not_report_makes_room_as_well() -> None:
    """It is of owners that are in no plan, so they are farther than all that are."""
    for capacity, loaded in ((199, []), (200, [_load("Ann", 1.0, 11.0)])):
        talk = _town("Ann", "Bob")
        talk.start("Bob")
        talk.hint(Ann=1)
        talk.plan()
        known = {prefix("Ann"): (0, 100), prefix("Bob"): (100, 0)}
        assert talk.report(pools=[pool(free=0, capacity=capacity)], memories=known) == loaded


def test_room_that_is_kept_for_what_is_on_its_way_is_nobody_elses() -> None:
    talk = _town("Ann", "Bob")
    talk.hint(Ann=1, Bob=1.5)
    talk.plan()
    slot = pool(free=0, capacity=100)
    known = {prefix("Ann"): (0, 60), prefix("Bob"): (20, 80)}
    assert talk.report(pools=[slot], memories=known, loading=[prefix("Bob")]) == []


def test_what_was_given_up_keeps_no_room_from_others() -> None:
    talk = _town("Ann", "Bob")
    talk.hint(Ann=1, Bob=1.5)
    talk.plan()
    tight = [pool(free=100, capacity=100)]
    load = talk.report(pools=tight, memories={prefix("Bob"): (0, 100)}, capacity=100)
    assert load == [_load("Ann", 1.0, 11.0)]
    talk.settle(load, state=LoadState.ABSENT)
    assert talk.plan() == [_load("Bob", 1.5, 11.5)]


def test_kinds_in_one_pool_compete_and_those_in_two_do_not() -> None:
    for pools, loaded in (
        ([pool("kv_prefix", "lora", free=100, capacity=101)], [prefix("Ann")]),
        ([pool(free=100, capacity=101), pool("lora", free=100)], [lora("poet"), prefix("Ann")]),
    ):
        talk = Conversation(parts=ALL - {Part.PIN})
        talk.find(features=HOST_TIER | LORAS, slots=4)
        talk.call("Ann", acts_for=1)
        talk.call("Bob", adapter="poet", acts_for=1)
        talk.hint(Ann=1, Bob=1.5)
        talk.plan()
        memories = {prefix("Ann"): (0, 100), lora("poet"): (0, 100), prefix("Bob"): (1, 0)}
        actions = talk.report(pools=pools, memories=memories)
        assert sorted(action.memory for action in actions if isinstance(action, Load)) == sorted(loaded)


# On their way


def test_a_load_is_not_asked_for_twice_and_not_stopped_by_the_room_it_took() -> None:
    talk = _town("Ann")
    talk.hint(Ann=1)
    talk.plan()
    load = talk.report(pools=[pool(free=100)], memories={prefix("Ann"): (0, 100)})
    half = talk.report(pools=[pool(free=0)], memories={prefix("Ann"): (50, 50)}, loading=[prefix("Ann")])
    assert half == []
    talk.settle(load, state=LoadState.LOADED)
    assert talk.plan() == []
    assert talk.report(pools=[pool(free=0)], memories={prefix("Ann"): (100, 0)}) == []


def test_loads_are_bounded_and_the_next_begins_when_one_ends() -> None:
    talk = _town("Ann", "Bob", "Cem", loads_in_flight=2)
    talk.hint(Ann=1, Bob=1.1, Cem=1.2)
    talk.plan()
    gone = {prefix(name): (0, 100) for name in ("Ann", "Bob", "Cem")}
    first = talk.report(pools=ROOM, memories=gone)
    assert first == [_load("Ann", 1.0, 11.0), _load("Bob", 1.1, 11.1)]
    assert talk.controller.sizes()["loads_in_flight"] == 2
    assert talk.controller.sizes()["loads_waiting"] == 1
    talk.settle(first[:1], state=LoadState.LOADED)
    assert talk.controller.dirty
    assert talk.tick() == [_load("Cem", 1.2, 11.2)]


def test_a_nearer_load_interrupts_a_farther_one_that_then_has_its_turn_again() -> None:
    talk = _town("Ann", "Bob", loads_in_flight=1)
    talk.hint(Bob=1.5)
    talk.plan()
    gone = {prefix("Ann"): (0, 100), prefix("Bob"): (0, 100)}
    far = talk.report(pools=ROOM, memories=gone)
    assert far == [_load("Bob", 1.5, 11.5)]
    talk.hint(Ann=1)
    stop = _loads(talk.tick())
    assert stop == [StopLoad(GPU, prefix("Bob"))]
    talk.settle(stop)
    talk.settle(far, state=LoadState.STOPPED)
    near = _loads(talk.tick())
    assert near == [_load("Ann", 1.0, 11.0)]
    talk.settle(near, state=LoadState.LOADED)
    assert _loads(talk.tick()) == far


def test_without_preemption_nothing_is_interrupted() -> None:
    talk = _town("Ann", "Bob", loads_in_flight=1, parts=ALL - {Part.PREEMPT})
    talk.hint(Bob=1.5)
    talk.plan()
    talk.report(pools=ROOM, memories={prefix("Ann"): (0, 100), prefix("Bob"): (0, 100)})
    talk.hint(Ann=1)
    assert _loads(talk.tick()) == []


@pytest.mark.parametrize("farewell", ["off", "shadow", "end", "leave"])
def test_loads_for_those_who_are_gone_are_stopped(farewell: str) -> None:
    talk = _town("Ann")
    talk.hint(Ann=1)
    talk.plan()
    assert _loads(talk.report(pools=ROOM, memories={prefix("Ann"): (0, 100)}))
    match farewell:
        case "end":
            actions = talk.finish()
        case "leave":
            talk.leave("Ann")
            actions = talk.tick()
        case mode:
            actions = talk.set_mode(Mode(mode))
    assert _loads(actions) == [StopLoad(GPU, prefix("Ann"))]
    assert _loads(talk.tick()) == []


def test_a_load_is_left_to_finish_when_the_call_comes_that_it_was_for() -> None:
    talk = _town("Ann")
    talk.hint(Ann=1)
    talk.plan()
    load = talk.report(pools=ROOM, memories={prefix("Ann"): (0, 100)})
    talk.start("Ann")
    assert _loads(talk.tick()) == []
    talk.settle(load, state=LoadState.LOADED)
    assert talk.agent("Ann").memories[0].missing_bytes == 0


def test_a_failed_load_is_tried_again_after_a_while_and_not_for_ever() -> None:
    talk = _town("Ann")
    talk.hint(Ann=1)
    talk.plan()
    load = talk.report(pools=ROOM, memories={prefix("Ann"): (0, 100)})
    asked = [talk.at]
    for _ in range(200):
        talk.settle(load, "link down")
        talk.wait(0.1)
        load = _loads(talk.tick())
        asked += [talk.at] * bool(load)
    assert asked == [0.0, pytest.approx(0.5), pytest.approx(1.5)]
    assert talk.controller.totals().failed_actions == 3


def test_a_load_of_which_nothing_was_heard_holds_up_no_other_for_long() -> None:
    talk = _town("Ann", "Bob", loads_in_flight=1)
    talk.hint(Ann=1, Bob=1.5)
    talk.plan()
    memories = {prefix("Ann"): (0, 100), prefix("Bob"): (0, 100)}
    assert talk.report(pools=ROOM, memories=memories) == [_load("Ann", 1.0, 11.0)]
    memories[prefix("Ann")] = (100, 0)
    assert talk.report(pools=ROOM, memories=memories) == []
    assert talk.report(pools=ROOM, memories=memories) == [_load("Bob", 1.5, 11.5)]


def test_no_load_survives_the_loss_of_its_engine() -> None:
    talk = _town("Ann")
    talk.hint(Ann=1)
    talk.plan()
    load = talk.report(pools=ROOM, memories={prefix("Ann"): (0, 100)})
    talk.lose()
    assert talk.controller.sizes()["reported_memories"] == 0
    talk.settle(load, state=LoadState.LOADED)
    assert _loads(talk.find(features=HOST_TIER, boot="boot-2")) == []
    again = talk.report(boot="boot-2", plan=False, pools=ROOM, memories={prefix("Ann"): (0, 100)})
    assert _loads(again) == load


def test_what_the_engine_is_loading_already_is_not_asked_for() -> None:
    talk = _town("Ann")
    talk.hint(Ann=1)
    talk.plan()
    gone = {prefix("Ann"): (0, 100)}
    assert talk.report(pools=ROOM, memories=gone, loading=[prefix("Ann")]) == []
    assert talk.report(pools=ROOM, memories=gone) == [_load("Ann", 1.0, 11.0)]


# Without a copy


def test_what_has_no_copy_is_computed_while_nobody_calls() -> None:
    talk = _town("Ann", "Bob", features=BOTH | {"warm_up"})
    talk.hint(Ann=1)
    bob = talk.start("Bob")
    talk.plan()
    assert _loads(talk.report(pools=ROOM)) == []
    talk.end(bob, acts_for=9)
    load = _loads(talk.plan())
    assert load == [_load("Ann", 1.0, 11.0, recompute=True)]
    assert _loads(talk.report(pools=ROOM, memories={prefix("Ann"): (60, 0)})) == []


def test_what_was_computed_and_is_gone_before_any_report_showed_it_is_computed_again() -> None:
    """Nothing else happens: the reports alone must say so, although they are all alike."""
    talk = _town("Ann", features=BOTH | {"warm_up"})
    talk.hint(Ann=1)
    talk.plan()
    load = talk.report(pools=ROOM)
    assert talk.report(pools=ROOM) == []
    talk.settle(load, state=LoadState.RESIDENT)
    assert _loads(talk.tick()) == []
    assert _loads(talk.report(pools=ROOM)) == []
    talk.wait(1.0)
    assert _loads(talk.tick()) == load


def test_it_gives_way_to_whoever_calls() -> None:
    talk = _town("Ann", features=BOTH | {"warm_up"})
    talk.set_mode(Mode.OFF, "city")
    talk.hint(Ann=1)
    talk.plan()
    load = talk.report(pools=ROOM)
    assert load == [_load("Ann", 1.0, 11.0, recompute=True)]
    call = talk.start(None, simulation="city")
    stop = talk.tick()
    assert stop == [StopLoad(GPU, prefix("Ann"), recompute=True)]
    talk.settle([*stop, *load], state=LoadState.STOPPED)
    assert _loads(talk.tick()) == []
    talk.end(call)
    assert _loads(talk.tick()) == load


STOCK = frozenset({"abort", "warm_up"})


def _stock_town(**config: object) -> Conversation:
    """Room for two of the three who have called, Ann the longest ago; all are to call again, much later."""
    talk = Conversation(**config)  # type: ignore[arg-type]
    talk.find(features=STOCK, capacity=250)
    for name in ("Ann", "Bob", "Cem"):
        talk.call(name, acts_for=60)
    return talk


def test_on_a_stock_engine_what_others_must_have_taken_the_room_of_is_computed_again() -> None:
    """It tells nothing but its capacity: it evicts by recency, and those who called last fill it."""
    talk = _stock_town()
    assert talk.tick() == []
    talk.hint(Ann=1, Cem=2)
    load = talk.tick()
    assert load == [_load("Ann", 1.0, 11.0, recompute=True)]
    talk.settle(load, state=LoadState.LOADED)
    assert talk.tick() == []  # Cem's is there
    talk.hint(Bob=0.5)  # whose room Ann took
    assert talk.tick() == [_load("Bob", 0.5, 10.5, recompute=True)]


def test_on_a_stock_engine_nobody_farther_takes_the_room_of_the_near() -> None:
    talk = _stock_town()
    talk.hint(Bob=1, Cem=1.5, Ann=2)
    assert talk.tick() == []


def test_a_stock_engine_is_left_alone_while_it_computes_and_where_warm_ups_are_off() -> None:
    talk = _stock_town()
    talk.hint(Ann=1)
    call = talk.start(None)
    assert talk.tick() == []
    talk.end(call)
    assert talk.tick() == [_load("Ann", 1.0, 11.0, recompute=True)]
    off = _stock_town(parts=ALL - {Part.WARM_UP})
    off.hint(Ann=1)
    assert off.tick() == []


def test_a_stock_engine_that_starts_anew_holds_nothing() -> None:
    talk = _stock_town()
    talk.hint(Cem=1)
    assert talk.tick() == []
    talk.lose()
    assert talk.find(features=STOCK, capacity=250, boot="boot-2") == [_load("Cem", 1.0, 11.0, recompute=True)]


def test_a_stock_engine_that_does_not_tell_its_capacity_is_not_loaded_to() -> None:
    talk = Conversation()
    talk.find(features=STOCK, capacity=None)
    talk.call("Ann", acts_for=1)
    assert talk.tick() == []


def test_an_agent_may_be_without_a_copy_where_others_have_one() -> None:
    talk = _town("Ann", features=HOST_TIER)
    talk.host_copy("Ann", False)
    assert talk.plan() == [Order(GPU, ((ANN, 9.0),), no_host_copy=(ANN,))]
    talk.host_copy(None, False)
    talk.host_copy("Ann", True)
    assert talk.plan() == [Order(GPU, ((ANN, 9.0),))]


def test_of_an_unknown_kind_nothing_can_be_set() -> None:
    talk = _town("Ann")
    talk.host_copy("Ann", False, kind="thoughts")
    assert talk.controller.totals().refused == 1


# Parts and modes


@pytest.mark.parametrize("part", [Part.PREFIXES, Part.ADAPTERS])
def test_each_kind_has_a_switch(part: Part) -> None:
    talk = Conversation(parts=ALL - {Part.PIN, part})
    talk.find(features=HOST_TIER | LORAS, slots=4)
    talk.call("Ann", adapter="poet", acts_for=1)
    talk.plan()
    actions = talk.report(
        pools=[*ROOM, pool("lora", free=100)], memories={prefix("Ann"): (0, 100), lora("poet"): (0, 100)}
    )
    kept = lora("poet") if part is Part.PREFIXES else prefix("Ann")
    assert actions == [Load(GPU, kept, 1.0, 11.0)]


def test_the_order_can_be_off_while_loads_go_on() -> None:
    talk = _town("Ann", parts=frozenset({Part.PREFIXES}))
    talk.hint(Ann=1)
    assert talk.plan() == []
    assert talk.report(plan=False, pools=ROOM, memories={prefix("Ann"): (0, 100)}) == [
        _load("Ann", 1.0, 11.0)
    ]


def test_policies_of_recency_load_nothing() -> None:
    talk = _town("Ann", policy="lru")
    talk.hint(Ann=1)
    assert talk.report(plan=False, pools=ROOM, memories={prefix("Ann"): (0, 100)}) == []


def test_a_simulation_in_shadow_is_counted_and_nothing_is_loaded() -> None:
    talk = _town("Ann", mode=Mode.SHADOW)
    talk.hint(Ann=1)
    for missing in (100, 101, 0, 102):
        assert talk.report(plan=False, pools=ROOM, memories={prefix("Ann"): (0, missing)}) == []
    assert talk.controller.totals().shadow_loads == 2


# Adapters


def _poets(host_adapters: int | None = None) -> Conversation:
    """Ann's adapter is registered and assigned, and the engine has not heard of it."""
    talk = Conversation(parts=ALL - {Part.PIN})
    talk.find(features=LORAS, slots=4, host_adapters=host_adapters)
    talk.register("poet", "/disk/poet")
    return talk


FETCH = FetchAdapter(GPU, key("poet"), "/disk/poet")


def test_an_assigned_adapter_is_fetched_before_the_first_call_and_loaded_before_the_next() -> None:
    talk = _poets()
    assert talk.tick() == []
    talk.assign("Ann", "poet")
    assert talk.tick() == [FETCH]
    assert talk.tick() == []
    talk.settle([FETCH])
    talk.call("Ann", adapter="poet", acts_for=1)
    assert talk.plan() == [Order(GPU, ((ANN, 1.0),), ((key("poet"), 1.0),))]
    assert talk.report(pools=[pool("lora", free=100)], memories={lora("poet"): (0, 100)}) == [
        Load(GPU, lora("poet"), 1.0, 11.0)
    ]


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.SHADOW])
def test_an_assigned_adapter_is_fetched_in_every_mode_as_its_calls_would_fail_else(mode: Mode) -> None:
    talk = _poets()
    talk.set_mode(mode)
    talk.assign("Ann", "poet")
    assert talk.tick() == [FETCH]
    talk.settle([FETCH])
    talk.call("Ann", adapter="poet", acts_for=1)
    assert talk.plan() == []
    absent = {lora("poet"): (0, 100)}
    assert talk.report(plan=False, pools=[pool("lora", free=100)], memories=absent) == []


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.SHADOW])
def test_an_engine_that_starts_anew_is_told_of_the_adapters_of_every_mode(mode: Mode) -> None:
    talk = _poets()
    talk.set_mode(mode)
    talk.assign("Ann", "poet")
    talk.settle(talk.tick())
    talk.lose()
    assert talk.find(features=LORAS, slots=4, boot="boot-2") == [FETCH]


def test_the_first_calls_of_all_find_their_adapters_in_slots_where_there_is_one_engine() -> None:
    """Nobody has called yet: what is known of them is what an operator assigned, and what the simulation tells."""
    talk = _poets()
    talk.register("clerk", "/disk/clerk")
    talk.hint(Ann=2, Bob=1, Cem=50)
    talk.assign("Ann", "poet")  # known before it was assigned one, and the other way round
    talk.assign("Cem", "clerk")
    talk.assign("Bob", "clerk")
    far = FetchAdapter(GPU, key("clerk"), "/disk/clerk")
    order = Order(GPU, ((BOB, 1.0), (ANN, 2.0), (CEM, 50.0)), ((key("clerk"), 1.0), (key("poet"), 2.0)))
    first = talk.tick()
    assert first == [order, far]
    talk.settle(first)
    assert talk.plan() == [FETCH]
    held = {lora("clerk"): (0, 100), lora("poet"): (0, 100)}
    assert talk.report(pools=[pool("lora", free=200)], memories=held) == [
        Load(GPU, lora("clerk"), 1.0, 11.0),
        Load(GPU, lora("poet"), 2.0, 12.0),
    ]


def test_a_load_is_of_the_distance_that_the_order_says() -> None:
    """Also where only distances have moved: the order's ranks still hold, and the engine judges by ranks."""
    talk = _town("Ann", "Bob", prefetch_steps=10.0)
    talk.hint(Ann=2, Bob=5)
    (order,) = talk.plan()
    assert order == Order(GPU, ((ANN, 2.0), (BOB, 5.0)))
    talk.step()
    gone = {prefix("Ann"): (0, 100), prefix("Bob"): (0, 100)}
    loads = talk.report(pools=[pool(free=200)], memories=gone)
    assert loads == [_load("Ann", 1.0, 11.0), _load("Bob", 4.0, 14.0)]
    by_order = [owner for owner, _ in order.distances]
    assert [load.memory.key for load in loads if isinstance(load, Load)] == by_order
    talk.hint(Ann=6, Bob=3)
    swapped = talk.tick()
    assert [action for action in swapped if isinstance(action, Order)] == [
        Order(GPU, ((BOB, 3.0), (ANN, 6.0)))
    ]


def test_an_order_comes_before_the_loads_of_its_plan_and_only_once() -> None:
    talk = Conversation(parts=ALL - {Part.PIN})
    talk.find(features=HOST_TIER)
    talk.call("Ann", acts_for=1)
    order = Order(GPU, ((ANN, 1.0),))
    assert talk.tick() == [order]
    assert talk.report(pools=ROOM, memories={prefix("Ann"): (0, 100)}) == [_load("Ann", 1.0, 11.0)]
    talk.settle([order])
    assert talk.tick() == []
    talk.report(pools=ROOM, memories={prefix("Ann"): (100, 0)})
    talk.call("Bob", acts_for=2)
    gone = {prefix("Ann"): (100, 0), prefix("Bob"): (0, 100)}
    both = talk.report(pools=ROOM, memories=gone)
    assert both == [Order(GPU, ((ANN, 1.0), (BOB, 2.0))), _load("Bob", 2.0, 12.0)]


def test_adapters_are_fetched_one_after_the_other_nearest_first() -> None:
    talk = _poets()
    for name in ("clerk", "smith"):
        talk.register(name, f"/disk/{name}")
    for agent, name in (("Ann", "poet"), ("Bob", "clerk"), ("Cem", "smith")):
        talk.call(agent, acts_for=9)
        talk.assign(agent, name)
    talk.hint(Cem=1, Bob=2)
    fetched = []
    for _ in range(3):
        actions = [action for action in talk.plan() if isinstance(action, FetchAdapter)]
        assert len(actions) == 1
        fetched.append(actions[0].adapter)
    assert fetched == ["smith", "clerk", "poet"]
    assert talk.plan() == []


def test_an_adapter_that_cannot_be_fetched_is_tried_three_times_until_it_is_registered_anew() -> None:
    talk = _poets()
    talk.assign("Ann", "poet")
    for _ in range(2):
        asked = []
        for _ in range(100):
            actions = talk.tick()
            asked += [talk.at] * len(actions)
            talk.settle(actions, "no such file")
            talk.wait(0.1)
        waits = [asked[1] - asked[0], asked[2] - asked[1]]
        assert waits == [pytest.approx(0.5, abs=0.11), pytest.approx(1.0, abs=0.11)]
        assert len(asked) == 3
        talk.register("poet", "/disk/poet")


def test_an_adapter_on_which_the_engine_dies_is_not_its_end_each_time() -> None:
    talk = _poets()
    talk.assign("Ann", "poet")
    fetch = talk.tick()
    for boot in range(2, 5):
        assert fetch == [FETCH]
        talk.lose()
        talk.settle(fetch)
        talk.wait(5.0)
        fetch = talk.find(features=LORAS, slots=4, boot=f"boot-{boot}")
    talk.wait(60.0)
    assert fetch == talk.tick() == []


def test_a_full_host_makes_room_by_the_farthest_that_can_come_back() -> None:
    talk = _poets(host_adapters=2)
    talk.register("clerk", "/disk/clerk")
    talk.call("Bob", adapter="clerk", acts_for=3)
    talk.call("Ann", adapter="poet", acts_for=1)
    held = {lora("clerk"): (0, 50), lora("stranger"): (0, 50)}
    slots = [pool("lora", free=200)]
    drop = talk.report(plan=False, pools=slots, memories=held)
    assert [action for action in drop if not isinstance(action, Order)] == [DropAdapter(GPU, key("clerk"))]
    talk.settle(drop)
    fetch = [action for action in talk.tick() if isinstance(action, FetchAdapter)]
    assert fetch == [FETCH]
    talk.settle(fetch)
    # Clerk is farther than all that can be dropped: it waits.
    assert _hosting(talk.tick()) == []


def test_a_full_host_is_left_as_it_is_for_one_that_is_farther() -> None:
    talk = _poets(host_adapters=1)
    talk.register("clerk", "/disk/clerk")
    talk.call("Bob", adapter="clerk", acts_for=1)
    talk.call("Ann", adapter="poet", acts_for=3)
    actions = talk.report(plan=False, pools=[pool("lora", free=200)], memories={lora("clerk"): (50, 0)})
    fetch = _hosting(actions)
    assert fetch == [FetchAdapter(GPU, key("clerk"), "/disk/clerk")], "whose it is must be known"
    talk.settle(fetch)
    assert _hosting(talk.tick()) == []


def test_what_an_engine_holds_from_before_is_not_taken_for_what_is_registered_by_its_name() -> None:
    """The proxy was started anew, and counts its versions from one again."""
    talk = _poets()
    talk.assign("Ann", "poet")
    slots = [pool("lora", free=200)]
    held = {lora("poet"): (0, 50), lora("poet@2"): (0, 50)}
    (fetch,) = _hosting(talk.report(plan=False, pools=slots, memories=held))
    assert fetch == FETCH
    assert talk.post(Settled(talk.at, fetch, "from another path", name_taken=True)) == []
    assert talk.controller.adapter_of(TOWN, talk.agent("Ann").name) == "poet@3", "poet@2 is there as well"
    steps = _hosting(talk.tick())
    assert steps == [DropAdapter(GPU, key("poet"))]
    talk.settle(steps)
    steps = _hosting(talk.tick())
    assert steps == [FetchAdapter(GPU, key("poet@3"), "/disk/poet")]
    talk.settle(steps)
    assert _hosting(talk.tick()) == []
    held = {lora("poet@3"): (0, 50), lora("poet@2"): (0, 50)}
    assert _hosting(talk.report(plan=False, pools=slots, memories=held)) == []
    talk.hint(Ann=1)
    assert _hosting(talk.report(plan=False, pools=slots, memories={})) == steps, "somebody unloaded it"


def test_an_engine_that_refuses_every_name_is_not_asked_for_ever() -> None:
    talk = _poets()
    talk.assign("Ann", "poet")
    asked = 0
    for _ in range(200):
        for action in talk.tick():
            if isinstance(action, FetchAdapter):
                asked += 1
                talk.post(Settled(talk.at, action, "from another path", name_taken=True))
            else:
                talk.settle([action])
        talk.wait(1.0)
    assert asked == CLASH_LIMIT + ATTEMPTS


def test_what_is_registered_again_while_it_is_dropped_is_fetched_after_that() -> None:
    talk = _poets()
    talk.assign("Ann", "poet")
    talk.plan()
    talk.forget_adapter("poet")
    drop = talk.tick()
    assert drop == [DropAdapter(GPU, key("poet"))]
    talk.register("poet", "/disk/poet")
    talk.assign("Bob", "poet")  # far away: it is not asked for by distance
    assert _hosting(talk.tick()) == []
    talk.settle(drop)
    assert _hosting(talk.tick()) == [FETCH]


def test_a_superseded_version_is_dropped_once_nothing_runs_on_it() -> None:
    talk = _poets()
    talk.assign("Ann", "poet")
    talk.plan()
    call = talk.start("Ann", adapter="poet")
    talk.register("poet", "/disk/better")
    assert talk.controller.adapter_of(TOWN, talk.agent("Ann").name) == "poet@2"
    slots = [pool("lora", free=200)]
    actions = talk.report(plan=False, pools=slots, memories={lora("poet"): (50, 0)}, running=["poet"])
    assert _hosting(actions) == [FetchAdapter(GPU, key("poet@2"), "/disk/better")]
    talk.settle(actions)
    talk.end(call, acts_for=5)
    both = {lora("poet"): (50, 0), lora("poet@2"): (0, 50)}
    drop = _hosting(talk.report(pools=slots, memories=both))
    assert drop == [DropAdapter(GPU, key("poet"))]
    talk.settle(drop)
    assert _hosting(talk.report(pools=slots, memories={lora("poet@2"): (0, 50)})) == []
    assert talk.controller.sizes()["leaving_adapters"] == 0


def test_a_forgotten_adapter_is_dropped_and_assigned_to_nobody() -> None:
    talk = _poets()
    talk.assign("Ann", "poet")
    talk.plan()
    talk.forget_adapter("poet")
    assert talk.controller.adapter_of(TOWN, talk.agent("Ann").name) is None
    assert talk.plan() == [DropAdapter(GPU, key("poet"))]
    assert talk.plan() == []


def test_an_engine_whose_adapters_are_fixed_is_told_of_none() -> None:
    talk = Conversation()
    talk.find(features=BOTH | {"adapters", "load_lora"}, slots=4)
    talk.register("poet")
    talk.assign("Ann", "poet")
    talk.call("Ann", adapter="poet", acts_for=1)
    actions = talk.report(plan=False, pools=[pool("lora", free=100)], memories={lora("other"): (0, 50)})
    assert [type(action) for action in actions] == [Order]


def _hosting(actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, FetchAdapter | DropAdapter)]

"""Conversations: events in, actions out."""

import gc
import math
import sys
from itertools import count
from typing import Any

import pytest

from scalesim.proxy.core.actions import Evict, FetchAdapter, Order, Pin, Renew, Unpin
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.engine import ENGINE_TABLES
from scalesim.proxy.core.events import (
    ActionStarted,
    AgentLeft,
    CallEnded,
    CallStarted,
    DistanceHinted,
    EngineFound,
    EngineLost,
    Settled,
    StepTicked,
    Ticked,
)
from scalesim.proxy.core.model import (
    AgentName,
    CallId,
    Capabilities,
    Clock,
    EngineId,
    Mode,
    Outcome,
    SimulationId,
)
from scalesim.proxy.core.wanted import View, Wanted

from .conversation import BOTH, GPU, LORAS, TOWN, Conversation, own

ANN, BOB, CEM = own("Ann", "Bob", "Cem")


def _order(talk: Conversation) -> list[str]:
    """The names in the order of a plan made now."""
    talk.plan()
    return [owner.removeprefix("town/") for owner, _ in talk.engine.wanted.order]


def _known(*names: str, **config: Any) -> Conversation:
    """A town whose agents have called once, on an engine that is found, and did not say for how long they act."""
    talk = Conversation(**config)
    talk.find()
    for name in names:
        talk.call(name)
    talk.wait(3.0)
    talk.plan()
    return talk


# A day in town


def test_a_conversation_from_call_to_call() -> None:
    talk = Conversation()
    assert talk.find() == []

    ann = talk.start("Ann")
    assert talk.tick() == [Order(GPU, ((ANN, 0.0),))]
    talk.settle([Order(GPU, ((ANN, 0.0),))])
    talk.wait(1.0)
    talk.end(ann, acts_for=5)
    assert talk.plan() == [Renew(GPU)]  # alone, it is first whatever its distance

    talk.start("Bob")
    assert talk.plan() == [Order(GPU, ((BOB, 0.0), (ANN, 5.0)))]
    talk.wait(1.0)
    talk.step()
    assert talk.plan() == [Renew(GPU)]

    talk.start("Ann")
    assert talk.plan() == [Order(GPU, ((ANN, 0.0), (BOB, 0.0))), Pin(GPU, (ANN,))]
    assert talk.finish() == [Order(GPU, ()), Unpin(GPU, (ANN,))]


def test_only_five_kinds_of_events_are_answered() -> None:
    talk = _known("Ann", "Bob")
    talk.hint(Ann=1)
    at = talk.at + 10.0
    ann = AgentName("Ann")
    for event in (
        CallStarted(at, CallId(100), TOWN, ann, GPU),
        CallEnded(at, CallId(100), Outcome.DONE),
        DistanceHinted(at, TOWN, Clock.STEPS, {ann: 3.0}),
        ActionStarted(at, TOWN, ann, 3.0, Clock.STEPS),
        StepTicked(at, TOWN, 17.0),
        AgentLeft(at, TOWN, AgentName("Bob")),
        Settled(at, Renew(GPU)),
        Settled(at, Evict(GPU, ())),
        EngineLost(at, EngineId("other"), "unplugged"),
    ):
        assert talk.post(event) == []
    assert talk.controller.dirty
    assert talk.post(Ticked(at)) == [Order(GPU, ((ANN, 2.0),))]


# Clocks


def test_hints_keep_their_order_whatever_the_pace_was_when_they_were_told() -> None:
    """Converted at arrival, Ann's 20 steps at 0.1 s would be over before Bob's 10 at 10 s."""
    talk = _known("Ann", "Bob")
    for _ in range(9):
        talk.wait(0.1)
        talk.step()
    assert talk.town.pace_s == pytest.approx(0.1)
    talk.hint(Ann=20)
    for _ in range(9):
        talk.wait(10.0)
        talk.step()
    assert talk.town.pace_s == pytest.approx(10.0)
    talk.hint(Bob=10)
    assert _order(talk) == ["Bob", "Ann"]


def test_a_hint_of_three_steps_given_at_a_fast_pace_stays_behind_two_given_at_a_slow_one() -> None:
    talk = _known("Ann", "Bob")
    for seconds in (0.1, 0.1, 0.1):
        talk.wait(seconds)
        talk.step()
    talk.hint(Ann=3)
    talk.wait(60.0)
    talk.hint(Bob=2)
    assert _order(talk) == ["Bob", "Ann"]
    talk.wait(600.0)
    talk.step()
    assert _order(talk) == ["Bob", "Ann"]


def test_steps_and_seconds_are_compared_by_the_pace_of_now() -> None:
    talk = _known("Ann", "Bob")
    for _ in range(9):
        talk.wait(2.0)
        talk.step()
    talk.hint(Clock.STEPS, Ann=3)
    talk.hint(Clock.SECONDS, Bob=5)
    assert _order(talk) == ["Bob", "Ann"]
    for _ in range(8):
        talk.wait(0.1)
        talk.step()
    talk.hint(Clock.STEPS, Ann=3)
    assert _order(talk) == ["Ann", "Bob"]


def test_simulations_of_different_pace_share_an_engine_by_seconds() -> None:
    talk = Conversation()
    talk.find()
    for simulation in ("fast", "slow"):
        talk.call("Ann", simulation=simulation, acts_for=1)
    for tick in range(1, 41):
        talk.wait(1.0)
        talk.step(simulation="fast")
        if tick % 10 == 0:
            talk.step(simulation="slow")
    talk.hint(simulation="fast", Ann=9)
    talk.hint(simulation="slow", Ann=1)
    assert _order(talk) == ["fast/Ann", "slow/Ann"]
    talk.hint(simulation="fast", Ann=11)
    assert _order(talk) == ["slow/Ann", "fast/Ann"]


def test_a_paused_simulation_changes_nothing() -> None:
    talk = _known("Ann", "Bob", "Cem")
    talk.step()
    talk.wait(1.0)
    talk.step()
    talk.hint(Ann=1, Bob=2, Cem=0)
    before = _order(talk)
    for _ in range(5):  # as long as it does not come to rest
        talk.wait(100.0)
        assert talk.plan() == [Renew(GPU)]
        assert not talk.controller.dirty
    talk.start("Dee")
    assert _order(talk) == ["Dee", *before] == ["Dee", "Cem", "Ann", "Bob"]


def test_who_is_overdue_is_near_and_then_recedes() -> None:
    talk = _known("Ann", "Bob")
    talk.hint(Ann=1, Bob=20)
    orders = []
    for _ in range(16):
        talk.step()
        orders.append((talk.distance("Ann"), _order(talk)))
    assert [distance for distance, _ in orders[:5]] == [0.0, 0.0, 0.0, 1.0, 2.0]
    assert orders[3][1] == ["Ann", "Bob"]
    assert orders[-1] == (13.0, ["Bob", "Ann"])


def test_who_is_not_expected_again_is_not_in_the_plan() -> None:
    talk = _known("Ann", "Bob")
    talk.hint(Ann=1, Bob=math.inf)
    assert _order(talk) == ["Ann"]


def test_who_was_hinted_but_never_called_has_nothing_on_an_engine() -> None:
    talk = _known("Ann")
    talk.hint(Ann=2, Bob=1)
    assert _order(talk) == ["Ann"]


def test_a_plan_is_bounded_to_the_nearest() -> None:
    talk = _known("Ann", "Bob", "Cem", plan_limit=2)
    talk.hint(Ann=3, Bob=1, Cem=2)
    assert _order(talk) == ["Bob", "Cem"]


# Time


def test_the_end_of_a_pause_makes_a_new_plan() -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann")
    talk.wait(1.0)
    talk.call("Bob")
    assert _order(talk) == ["Bob", "Ann"]
    talk.wait(1.5)
    assert _order(talk) == ["Bob"]
    talk.wait(1.0)
    assert _order(talk) == []


def test_time_alone_makes_no_plan_due() -> None:
    talk = _known("Ann")
    talk.hint(Clock.SECONDS, Ann=3)
    talk.plan()
    plans = talk.controller.totals().plans
    for _ in range(20):
        talk.wait(0.5)
        assert not talk.controller.dirty
        talk.plan()
    assert talk.controller.totals().plans == plans


def test_a_plan_costs_what_is_known_and_a_settled_tick_costs_nothing() -> None:
    views: list[View] = []

    def spy(view: View) -> Wanted:
        views.append(view)
        return Wanted()

    talk = _known("Ann", "Bob", policy=spy)
    views.clear()
    for _ in range(10):
        talk.tick()
    assert views == []


# Modes


def test_a_simulation_that_is_off_contributes_nothing_and_is_counted() -> None:
    talk = Conversation(mode=Mode.OFF)
    talk.find()
    talk.call("Ann", acts_for=1)
    talk.step()
    talk.start("Ann")
    assert not talk.controller.dirty
    assert talk.tick() == []
    assert (talk.town.mode, talk.town.counters.calls) == (Mode.OFF, 2)


def test_a_simulation_in_shadow_is_computed_and_nothing_is_sent() -> None:
    talk = Conversation(mode=Mode.SHADOW)
    talk.find()
    talk.call("Ann", acts_for=1)
    talk.start("Ann")
    assert talk.tick() == []
    assert talk.engine.shadow == Wanted(((ANN, 0.0),), (ANN,))
    assert talk.engine.wanted == Wanted()
    assert talk.controller.totals().shadow_plans > 0
    talk.wait(5.0)
    assert talk.tick() == []


def test_a_shadow_shows_what_would_be_sent_beside_those_that_are_on() -> None:
    talk = _known("Ann")
    talk.set_mode(Mode.SHADOW, "city")
    talk.hint(Ann=2)
    talk.call("Ann", simulation="city", acts_for=1)
    assert talk.plan() == [Order(GPU, ((ANN, 2.0),))]
    assert talk.engine.shadow == Wanted(((own("Ann", simulation="city")[0], 1.0), (ANN, 2.0)))
    talk.set_mode(Mode.OFF, "city")
    assert talk.engine.shadow is None


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.SHADOW])
def test_switching_away_from_on_gives_back_order_and_pins(mode: Mode) -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann", acts_for=1)
    talk.start("Ann")
    given = talk.plan()
    back = talk.set_mode(mode)
    assert back == [Order(GPU, ()), Unpin(GPU, (ANN,))]
    talk.settle(back)
    talk.wait(5.0)
    assert talk.tick() == []
    assert talk.set_mode(Mode.ON) == given


def test_the_same_mode_again_is_silent() -> None:
    talk = _known("Ann")
    talk.hint(Ann=1)
    talk.plan()
    assert talk.set_mode(Mode.ON) == []
    assert not talk.controller.dirty


def test_an_ended_simulation_gives_back_its_part() -> None:
    talk = _known("Ann")
    talk.hint(Ann=2)
    talk.call("Ann", simulation="city", acts_for=1)
    talk.plan()
    assert talk.finish("city") == [Order(GPU, ((ANN, 2.0),))]


@pytest.mark.parametrize("policy", ["off", "lru"])
def test_policies_of_recency_send_nothing(policy: str) -> None:
    talk = Conversation(policy=policy)
    talk.find()
    talk.call("Ann", acts_for=1)
    talk.start("Ann")
    assert talk.tick() == []


# Several engines


def test_each_engine_gets_the_plan_of_what_is_on_it() -> None:
    other = EngineId("other")
    talk = Conversation()
    talk.find()
    talk.find(other)
    talk.call("Ann", acts_for=1)
    talk.call("Bob", acts_for=1, engine=other)
    assert talk.plan() == [Order(GPU, ((ANN, 1.0),)), Order(other, ((BOB, 1.0),))]
    talk.call("Ann", acts_for=2, engine=other)
    assert talk.plan() == [Order(GPU, ()), Order(other, ((BOB, 1.0), (ANN, 2.0)))]


def test_of_an_engine_that_was_removed_nothing_is_known() -> None:
    other = EngineId("other")
    talk = Conversation()
    talk.find()
    empty = talk.controller.sizes()
    talk.find(other)
    talk.call("Ann", acts_for=3)
    talk.call("Bob", acts_for=4, engine=other)
    assert talk.plan() == [Order(GPU, ((ANN, 3.0),)), Order(other, ((BOB, 4.0),))]
    running = talk.start("Bob", engine=other)
    talk.lose(other)
    talk.remove(other)
    talk.remove(other)
    assert [one.id for one in talk.controller.engines()] == [GPU]
    talk.end(running)
    for agent in ("Ann", "Bob"):
        talk.leave(agent)
    talk.plan()
    left = talk.controller.sizes()
    tables = ("engines", "ordered_owners", "agenda_agents", "noted_agents", "reported_memories")
    assert {name: left[name] for name in tables} == {name: empty[name] for name in tables}


def test_an_engine_that_comes_back_under_its_name_is_planned_for_as_a_new_one() -> None:
    other = EngineId("other")
    talk = Conversation()
    talk.find()
    talk.find(other)
    talk.call("Bob", acts_for=1, engine=other)
    assert talk.plan() == [Order(other, ((BOB, 1.0),))]
    talk.lose(other)
    talk.remove(other)
    assert talk.plan() == []
    talk.find(other, boot="boot-2")
    assert talk.plan() == [], "nobody's memory is there"
    talk.call("Bob", acts_for=2, engine=other)
    assert talk.plan() == [Order(other, ((BOB, 2.0),))]


# Reading


def test_modes_are_told_also_of_simulations_that_are_not_known_yet() -> None:
    talk = Conversation(mode=Mode.SHADOW)
    assert talk.controller.mode(TOWN) is Mode.SHADOW
    talk.set_mode(Mode.OFF)
    assert talk.controller.mode(TOWN) is Mode.OFF


def test_what_is_known_can_be_asked() -> None:
    talk = Conversation()
    town, ann, bob = TOWN, AgentName("Ann"), AgentName("Bob")
    assert not talk.controller.knows(town)
    assert talk.controller.agents(town) == []
    assert talk.controller.agent(town, ann) is None
    talk.call("Ann")
    assert talk.controller.knows(town)
    assert talk.controller.knows(town, ann)
    assert not talk.controller.knows(town, bob)
    assert talk.controller.agent(town, bob) is None


def test_sizes_name_every_table() -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann", acts_for=1)
    talk.start("Ann")
    talk.plan()
    assert talk.controller.sizes() == {
        "simulations": 1,
        "agents": 1,
        "calls": 1,
        "engines": 1,
        "ordered_owners": 1,
        "pinned_owners": 1,
        "adapters": 0,
        "leaving_adapters": 0,
        "answer_rules": 0,
        "positions": 0,
        "edges": 0,
        "graph_nodes": 0,
        "waves": 0,
        "being_forgotten": 0,
        "operator_pins": 0,
        "operator_adapter_pins": 0,
        "asked_agents": 0,
        "asked_adapters": 0,
        "previews": 0,
        "agenda_agents": 1,
        "noted_agents": 0,
        "stories": 1,
        "story_adapters": 0,
        "gap_classes": 0,
        "turn_agents": 1,
        "accuracy_agents": 0,
        **dict.fromkeys(ENGINE_TABLES, 0),
        "guard_memories": 3,
        "guard_running": 1,
        "guard_ordered": 1,
    }
    talk.find(features=LORAS)
    talk.register("poet")
    talk.register("clerk")
    for agent, adapter in (("Ann", "poet"), ("Bob", "clerk")):
        talk.assign(agent, adapter)
    talk.settle([action for action in talk.tick() if isinstance(action, FetchAdapter)], "no such file")
    talk.settle([action for action in talk.tick() if isinstance(action, FetchAdapter)])
    sizes = talk.controller.sizes()
    assert (sizes["hosted_adapters"], sizes["confirmed_adapters"], sizes["hosting_failures"]) == (1, 1, 1)
    assert sizes["hosting_queue"] >= 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"agent_limit": 0}, "agent_limit must be 1 or more, not 0"),
        ({"total_agent_limit": 0}, "total_agent_limit must be 1 or more, not 0"),
        ({"simulation_limit": -1}, "simulation_limit must be 1 or more, not -1"),
        ({"plan_limit": 0}, "plan_limit must be 1 or more, not 0"),
        ({"pin_share": 1.5}, "pin_share must be from 0 to 1, not 1.5"),
        ({"loads_in_flight": 0}, "loads_in_flight must be 1 or more, not 0"),
        ({"load_budget_bytes": 0}, "load_budget_bytes must be 1 or more, not 0"),
        ({"adapter_limit": 0}, "adapter_limit must be 1 or more, not 0"),
        ({"prefetch_steps": -1.0}, "prefetch_steps must be 0 or more, not -1.0"),
        ({"prefetch_s": math.inf}, "prefetch_s must be 0 or more, not inf"),
        ({"idle_after_s": -1.0}, "idle_after_s must be 0 or more, not -1.0"),
        ({"policy": "clairvoyant"}, "no policy is called 'clairvoyant'"),
        ({"distance": "astrology"}, "no distance is called 'astrology'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Conversation(**config)


# Cost


def _events_cost(idle: int) -> int:
    """Python functions called for one agent's activation in a town of `idle` others."""
    core = Controller(ControllerConfig())
    names = {AgentName(f"idle-{number}"): 5.0 for number in range(idle)}
    core.handle(EngineFound(0.0, GPU, Capabilities("emulated", "1", True, BOTH)))
    core.handle(DistanceHinted(0.0, TOWN, Clock.STEPS, names))
    calls = count()

    def profile(frame: object, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            next(calls)

    gc.disable()  # whoever listens to it would be counted
    sys.setprofile(profile)
    core.handle(CallStarted(1.0, CallId(1), TOWN, AgentName("Ann"), GPU))
    core.handle(DistanceHinted(1.0, TOWN, Clock.STEPS, {AgentName("Ann"): 2.0}))
    core.handle(CallEnded(2.0, CallId(1), Outcome.DONE, None, (3.0, Clock.STEPS)))
    sys.setprofile(None)
    gc.enable()
    return next(calls)


def test_the_cost_of_an_event_does_not_grow_with_the_idle() -> None:
    assert _events_cost(5000) == _events_cost(50), "as many as are followed to see who told the right order"
    assert _events_cost(5000) <= _events_cost(5)


def test_another_config_holds_for_plans_that_begin_and_simulations_that_come() -> None:
    talk = Conversation(pin_share=0.0)
    talk.find()
    for agent in ("Ann", "Bob"):
        talk.call(agent, acts_for=1)
    talk.start("Ann")
    first = talk.plan()
    assert Pin not in {type(action) for action in first}
    talk.settle(first)
    talk.controller.configure(ControllerConfig(mode=Mode.SHADOW, pin_share=0.5))
    talk.start("Bob")
    assert Pin in {type(action) for action in talk.plan()}
    assert talk.controller.mode(TOWN) is Mode.ON
    assert talk.controller.mode(SimulationId("city")) is Mode.SHADOW


def test_what_cannot_change_while_it_runs_is_refused_and_changes_nothing() -> None:
    talk = Conversation()
    with pytest.raises(ValueError, match="only mode, reading, pin_share"):
        talk.controller.configure(ControllerConfig(mode=Mode.OFF, plan_limit=7))
    assert talk.controller.mode(TOWN) is Mode.ON

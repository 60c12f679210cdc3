"""What events do to simulations, agents and calls, seen through the controller's snapshots."""

import math
from random import Random

import pytest

from scalesim.proxy.core.actions import Order
from scalesim.proxy.core.events import ActionStarted, CallEnded, CallStarted, SimulationEnded
from scalesim.proxy.core.model import (
    AgentName,
    CallId,
    Clock,
    EngineId,
    MemoryReport,
    Mode,
    Outcome,
    SimulationId,
    Source,
)

from .conversation import GPU, HOST_TIER, TOWN, Conversation, own, pool, prefix

OTHER = EngineId("other")
ANN, BOB = AgentName("Ann"), AgentName("Bob")

# Activations


def test_an_activation_begins_with_a_call_and_lasts_through_its_pauses() -> None:
    talk = Conversation()
    for _ in range(3):
        call = talk.start("Ann")
        talk.wait(5.0)
        talk.end(call)
        talk.wait(1.9)
        talk.tick()
        assert talk.agent("Ann").in_activation
    assert (talk.town.counters.calls, talk.town.counters.activations) == (3, 1)


def test_a_running_call_is_near_whatever_is_said() -> None:
    talk = Conversation()
    call = talk.start("Ann")
    other = talk.start("Ann")
    talk.end(call, acts_for=9)
    talk.act("Ann", 9)
    talk.hint(Ann=math.inf)
    talk.wait(1000.0)
    talk.tick()
    assert talk.distance("Ann") == 0.0
    talk.end(other)
    assert talk.distance("Ann") == math.inf


def test_an_action_that_is_told_while_a_call_runs_begins_with_its_end() -> None:
    talk = Conversation()
    call = talk.start("Ann")
    talk.act("Ann", 4)
    talk.end(call)
    assert not talk.agent("Ann").in_activation


def test_a_further_call_goes_on_with_the_activation_that_was_to_end() -> None:
    talk = Conversation()
    call = talk.start("Ann")
    talk.act("Ann", 4)
    another = talk.start("Ann")
    talk.end(call)
    talk.end(another)
    assert talk.agent("Ann").in_activation
    assert talk.agent("Ann").activations == 1


@pytest.mark.parametrize("end", ["action", "acts_for", "hint", "pause"])
def test_an_activation_ends_when_the_agent_acts_or_pauses(end: str) -> None:
    talk = Conversation()
    call = talk.start("Ann")
    talk.end(call, acts_for=3 if end == "acts_for" else None)
    if end == "action":
        talk.act("Ann", 3)
    if end == "hint":
        talk.hint(Ann=3)
    if end == "pause":
        talk.wait(2.1)
        talk.tick()
    assert not talk.agent("Ann").in_activation
    talk.call("Ann")
    assert talk.agent("Ann").activations == 2


def test_a_hint_of_zero_does_not_end_an_activation() -> None:
    talk = Conversation()
    talk.call("Ann")
    talk.hint(Ann=0)
    assert talk.agent("Ann").in_activation


def test_a_pause_that_nobody_looked_at_ends_an_activation_too() -> None:
    talk = Conversation()
    talk.call("Ann")
    talk.wait(60.0)
    talk.call("Ann")
    assert talk.agent("Ann").activations == 2


def test_the_pause_is_learned_from_those_inside_activations() -> None:
    talk = Conversation()
    talk.call("Ann")
    for _ in range(10):
        talk.wait(0.5)
        talk.call("Ann")
    assert talk.town.pause_s == pytest.approx(2.0)
    for _ in range(40):
        talk.wait(0.25)
        talk.call("Ann")
    assert talk.town.pause_s == pytest.approx(1.0, rel=0.01)


def test_the_learned_pause_is_never_very_short_and_never_very_long() -> None:
    talk = Conversation()
    for _ in range(20):
        talk.call("Ann")
    assert talk.town.pause_s == 0.2
    talk = Conversation()
    talk.call("Ann")
    pause = 1.9
    for _ in range(30):
        talk.wait(pause)
        talk.call("Ann")
        pause = talk.town.pause_s * 0.99
    assert talk.town.pause_s == 30.0


def test_who_does_not_go_on_as_soon_as_usual_is_expected_like_others_before_its_activation_is_over() -> None:
    talk = Conversation()
    talk.find()
    for _ in range(3):
        for _ in range(10):
            talk.call("Ann")
        talk.wait(10.0)
        talk.plan()
    talk.call("Ann")
    assert talk.agent("Ann").source is Source.ACTIVATION
    talk.wait(0.1)
    talk.plan()
    ann = talk.agent("Ann")
    assert ann.in_activation
    assert ann.source is Source.GAP
    talk.call("Ann")
    assert talk.agent("Ann").activations == ann.activations, "it went on after all"
    assert talk.agent("Ann").source is Source.ACTIVATION


def test_where_pauses_are_not_alike_memory_is_kept_for_the_longer_ones() -> None:
    talk = Conversation()
    for _ in range(30):
        talk.call("Ann")
        talk.wait(0.15)
        talk.call("Ann")
    talk.wait(0.16)
    talk.plan()
    assert talk.agent("Ann").source is Source.ACTIVATION


def test_calls_that_overlap_are_no_pauses() -> None:
    talk = Conversation()
    first = talk.start("Ann")
    talk.wait(1.0)
    second = talk.start("Ann")
    talk.end(first)
    talk.end(second)
    assert talk.town.pause_s == 2.0


# Histories that should not be


def test_an_end_without_a_beginning_is_counted_and_ignored() -> None:
    talk = Conversation()
    talk.end(CallId(99))
    call = talk.start("Ann")
    talk.end(call)
    talk.end(call)
    assert talk.controller.totals().unknown_calls == 2
    assert talk.agent("Ann").running_calls == 0


def test_a_call_that_begins_twice_is_one_call() -> None:
    talk = Conversation()
    call = talk.start("Ann")
    talk.post(CallStarted(0.0, call, SimulationId("city"), AgentName("Bob"), GPU))
    assert talk.controller.totals().repeated_calls == 1
    assert not talk.controller.knows(SimulationId("city"))


def test_time_never_goes_back() -> None:
    talk = Conversation()
    talk.wait(100.0)
    talk.call("Ann", acts_for=10, clock=Clock.SECONDS)
    for at in (50.0, math.nan, -math.inf, math.inf):
        talk.at = at
        talk.tick()
        assert talk.controller.snapshot().at == 100.0
        assert talk.distance("Ann") == 10.0


@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_values_that_are_no_distance_change_nothing(value: float) -> None:
    talk = Conversation()
    talk.hint(Ann=3, Bob=4)
    talk.hint(Ann=value, Bob=5)
    talk.act("Ann", value)
    call = talk.start("Cem")
    talk.end(call, acts_for=value)
    assert (talk.distance("Ann"), talk.distance("Bob")) == (3.0, 5.0)
    assert talk.agent("Cem").in_activation
    assert talk.controller.totals().refused == 3


def test_those_who_are_unknown_may_leave() -> None:
    talk = Conversation()
    talk.leave("Ann")
    talk.hint(Ann=3)
    talk.leave("Bob")
    talk.finish("city")
    assert [agent.name for agent in talk.controller.agents(TOWN)] == ["Ann"]


def test_agents_and_simulations_may_end_while_they_call() -> None:
    talk = Conversation()
    ann, bob = talk.start("Ann"), talk.start("Bob")
    talk.leave("Ann")
    talk.end(ann, acts_for=3)
    assert talk.town.running_calls == 1
    talk.finish()
    talk.end(bob)
    assert talk.controller.sizes()["calls"] == 0
    assert talk.controller.totals().unknown_calls == 0
    talk.call("Bob")
    assert talk.agent("Bob").activations == 1


# Callers and engines


def _crowd(talk: Conversation, simulation: str = TOWN, size: int = 200) -> None:
    talk.hint(simulation=simulation, **{f"agent-{number}": 1.0 for number in range(size)})


def test_a_large_simulation_that_ends_is_forgotten_in_pieces_and_another_one_may_take_its_name() -> None:
    talk = Conversation(total_agent_limit=250)
    talk.find()
    talk.call("Ann", acts_for=1)
    call = talk.start("Bob")
    _crowd(talk)
    talk.plan()
    assert talk.engine.order == own("Bob", "Ann")
    talk.settle(talk.finish())
    assert not talk.controller.knows(TOWN)
    assert talk.controller.behind
    talk.call("Ann", acts_for=4)
    while talk.controller.dirty:
        talk.plan()
        assert talk.engine.order in ((), own("Ann"))
    assert talk.engine.order == own("Ann")
    assert (talk.agent("Ann").activations, talk.distance("Ann")) == (1, 4.0)
    talk.end(call)
    sizes = talk.controller.sizes()
    assert (sizes["agents"], sizes["being_forgotten"]) == (1, 0)


def test_agents_of_a_simulation_that_ended_make_room_before_those_of_others() -> None:
    talk = Conversation(total_agent_limit=201)
    talk.hint(simulation="city", Ann=1)
    _crowd(talk)
    talk.finish()
    _crowd(talk, "farm")
    assert talk.controller.totals().dropped_agents == 0
    assert talk.controller.knows(SimulationId("city"), ANN)


def test_an_adapter_is_taken_from_those_too_whose_simulation_ended() -> None:
    talk = Conversation()
    talk.register("poet")
    talk.assign("Ann", "poet")
    _crowd(talk)
    talk.finish()
    talk.assign("Ann", "poet")
    talk.forget_adapter("poet")
    assert talk.agent("Ann").adapter is None


# Of whom something else is known


def _epoch(talk: Conversation) -> int:
    return talk.controller._world.population.simulations[TOWN].epoch


def test_all_agents_are_looked_at_anew_only_when_something_else_may_be_known_of_all() -> None:
    talk = Conversation()
    talk.hint(Ann=1)
    talk.call("Ann", acts_for=3)
    talk.call("Bob")
    begun = _epoch(talk)
    talk.step()
    assert _epoch(talk) == begun + 1, "its clock is another one"
    talk.step()
    talk.hint(Ann=1)
    assert _epoch(talk) == begun + 1
    for _ in range(6):
        for agent in ("Ann", "Bob", "Cem"):
            talk.call(agent, acts_for=1)
    learned = _epoch(talk)
    assert learned > begun + 1, "there is a round"
    for _ in range(5):
        for agent in ("Ann", "Bob", "Cem"):
            talk.call(agent, acts_for=1)
    assert _epoch(talk) <= learned + 1


def test_a_beginning_makes_plans_due_only_where_agents_of_the_simulation_are() -> None:
    other = EngineId("other")
    talk = Conversation()
    talk.find()
    talk.find(other)
    talk.call("Zoe", simulation="city", engine=other, acts_for=1)
    for agent in ("Ann", "Bob", "Cem") * 4:
        talk.call(agent, acts_for=1)
    talk.plan()
    talk.plan()
    talk.call("Ann", acts_for=1)
    talk.step()
    assert [engine.plan_due for engine in talk.controller.engines()] == [True, False]


def test_an_unknown_caller_counts_and_is_no_agent() -> None:
    talk = Conversation()
    talk.end(talk.start(None), prompt=50, cached=20)
    assert talk.town.agents == 0
    assert (talk.town.counters.calls, talk.town.counters.cached_tokens) == (1, 20)


def test_the_memory_of_an_agent_is_where_its_last_call_went() -> None:
    talk = Conversation()
    talk.call("Ann")
    talk.call("Ann", engine=EngineId("other"))
    assert talk.agent("Ann").engine == "other"
    assert [engine.agents for engine in talk.controller.engines()] == [0, 1]


def test_who_has_not_called_belongs_to_the_only_engine_if_an_adapter_was_assigned_to_it() -> None:
    other = EngineId("other")
    talk = Conversation()
    talk.find()
    talk.register("poet")
    talk.hint(Ann=1, Bob=2)
    talk.assign("Ann", "poet")
    assert talk.agent("Ann").engine == GPU
    assert talk.agent("Bob").engine is None
    talk.assign("Bob", "poet")
    assert talk.agent("Bob").engine == GPU
    talk.find(other)
    talk.assign("Cem", "poet")
    talk.hint(Cem=1)
    assert talk.agent("Cem").engine is None
    talk.call("Ann", engine=other)
    assert talk.agent("Ann").engine == other


def test_only_first_calls_of_later_activations_count_as_first() -> None:
    talk = Conversation()
    for _ in range(2):
        talk.call("Ann", prompt=100, cached=30)
        talk.call("Ann", prompt=100, cached=90, acts_for=1)
    counters = talk.town.counters
    assert (counters.prompt_tokens, counters.cached_tokens) == (400, 240)
    assert (counters.first_prompt_tokens, counters.first_cached_tokens) == (100, 30)


def test_a_call_without_usage_says_nothing_of_sizes() -> None:
    talk = Conversation()
    talk.call("Ann", prompt=None, outcome=Outcome.CLIENT_GONE)
    assert talk.agent("Ann").size_tokens is None


# Limits


def test_the_least_recently_seen_agent_without_a_call_makes_room() -> None:
    talk = Conversation(agent_limit=3)
    talk.start("Ann")
    talk.hint(Bob=1, Cem=1)
    talk.hint(Bob=2)
    talk.call("Dee")
    assert [agent.name for agent in talk.controller.agents(TOWN)] == ["Ann", "Bob", "Dee"]
    assert talk.controller.totals().dropped_agents == 1


def test_agents_that_call_are_not_dropped_and_new_ones_not_taken() -> None:
    talk = Conversation(agent_limit=2)
    calls = [talk.start("Ann"), talk.start("Bob"), talk.start("Cem")]
    talk.hint(Dee=1)
    talk.act("Eve", 1)
    assert [agent.name for agent in talk.controller.agents(TOWN)] == ["Ann", "Bob"]
    assert talk.controller.totals().refused == 3
    for call in calls:
        talk.end(call)
    assert talk.town.counters.calls == 3


def test_an_agent_of_the_same_simulation_makes_room_when_there_are_too_many_in_all() -> None:
    talk = Conversation(total_agent_limit=4)
    talk.hint(simulation="city", Ann=1, Bob=1)
    talk.hint(Ann=1, Bob=1)
    talk.hint(Cem=1)
    assert [agent.name for agent in talk.controller.agents(TOWN)] == ["Bob", "Cem"]
    assert [agent.name for agent in talk.controller.agents(SimulationId("city"))] == ["Ann", "Bob"]
    assert talk.controller.totals().dropped_agents == 1


def test_an_agent_of_the_least_recently_seen_simulation_makes_room_when_there_is_no_other() -> None:
    talk = Conversation(total_agent_limit=4)
    talk.start("Ann", simulation="a")
    talk.hint(simulation="b", Ann=1)
    talk.hint(simulation="c", Ann=1)
    talk.hint(simulation="b", Bob=1)
    talk.hint(Ann=1)
    known = {one.id: one.agents for one in talk.controller.simulations()}
    assert known == {"a": 1, "c": 0, "b": 2, "town": 1}


def test_a_simulation_that_ends_makes_room_for_agents() -> None:
    talk = Conversation(total_agent_limit=2)
    talk.start("Ann", simulation="city")
    talk.start("Bob", simulation="city")
    talk.hint(Ann=1)
    assert talk.controller.totals().refused == 1
    talk.finish("city")
    talk.hint(Ann=1, Bob=1)
    assert talk.town.agents == 2


def test_a_simulation_in_the_default_mode_makes_room_before_one_that_was_switched_off() -> None:
    talk = Conversation(simulation_limit=2)
    talk.hint(simulation="a", Ann=1)
    talk.set_mode(Mode.OFF, "a")
    for name in ("b", "c"):
        talk.hint(simulation=name, Ann=1)
        assert [known.id for known in talk.controller.simulations()] == ["a", name]
    talk.set_mode(Mode.SHADOW, "c")
    talk.hint(simulation="d", Ann=1)
    assert [known.id for known in talk.controller.simulations()] == ["c", "d"]


def test_the_least_recently_seen_simulation_without_a_call_makes_room() -> None:
    talk = Conversation(simulation_limit=3)
    talk.start("Ann", simulation="a")
    running = talk.start("Ann", simulation="b")
    talk.hint(simulation="c", Ann=1)
    talk.end(running)
    talk.hint(simulation="d", Ann=1)
    assert [known.id for known in talk.controller.simulations()] == ["a", "b", "d"]
    assert talk.controller.totals().dropped_simulations == 1


def test_simulations_that_call_are_not_dropped_and_new_ones_not_taken() -> None:
    talk = Conversation(simulation_limit=1)
    talk.start("Ann")
    ignored = talk.start("Ann", simulation="city")
    talk.end(ignored)
    talk.hint(simulation="city", Ann=1)
    talk.step(simulation="city")
    talk.set_mode(Mode.OFF, "city")
    talk.post(ActionStarted(0.0, SimulationId("city"), AgentName("Ann"), 1.0, Clock.STEPS))
    talk.post(SimulationEnded(0.0, SimulationId("city")))
    assert [known.id for known in talk.controller.simulations()] == [TOWN]
    assert talk.controller.totals().refused == 5
    assert talk.controller.totals().unknown_calls == 1


def test_the_oldest_call_is_given_up_when_too_many_run() -> None:
    talk = Conversation(call_limit=2)
    oldest = talk.start("Ann")
    talk.start("Bob")
    talk.start("Cem")
    assert talk.agent("Ann").running_calls == 0
    talk.post(CallEnded(0.0, oldest, Outcome.DONE))
    totals = talk.controller.totals()
    assert (totals.lost_calls, totals.unknown_calls) == (1, 1)


# Who was assigned something


def test_agents_with_an_assigned_adapter_make_room_for_nobody() -> None:
    """It is told once: the next call of one that was given up would run on the base model, without a word."""
    talk = Conversation(agent_limit=2)
    talk.register("poet")
    talk.assign("Ann", "poet")
    talk.call("Bob")
    talk.call("Cem")
    assert (talk.controller.knows(TOWN, ANN), talk.controller.knows(TOWN, BOB)) == (True, False)
    talk.end(talk.start("Ann"))
    talk.assign("Cem", "poet")
    talk.call("Dee")
    assert talk.controller.totals().refused == 1
    assert {agent.name for agent in talk.controller.agents(TOWN)} == {"Ann", "Cem"}
    talk.assign("Ann", None)
    talk.call("Dee")
    assert {agent.name for agent in talk.controller.agents(TOWN)} == {"Dee", "Cem"}


def test_whose_adapter_was_forgotten_makes_room_again() -> None:
    talk = Conversation(agent_limit=2)
    talk.register("poet")
    talk.assign("Ann", "poet")
    talk.assign("Bob", "poet")
    call = talk.start("Bob")
    talk.forget_adapter("poet")
    talk.call("Cem")
    assert {agent.name for agent in talk.controller.agents(TOWN)} == {"Bob", "Cem"}
    talk.end(call)


def test_a_simulation_with_assigned_adapters_makes_room_for_no_other() -> None:
    talk = Conversation(simulation_limit=2)
    talk.register("poet")
    talk.assign("Ann", "poet")
    talk.call("Bob", simulation="city")
    talk.call("Cem", simulation="farm")
    assert {one.id for one in talk.controller.simulations()} == {"town", "farm"}
    talk.assign("Cem", "poet", simulation="farm")
    talk.call("Bob", simulation="city")
    assert talk.controller.totals().refused == 1
    assert {one.id for one in talk.controller.simulations()} == {"town", "farm"}
    talk.leave("Ann")
    talk.call("Bob", simulation="city")
    assert {one.id for one in talk.controller.simulations()} == {"city", "farm"}


# Calls that go elsewhere, or later


def test_a_detour_leaves_the_agents_memory_where_it_is() -> None:
    talk = Conversation()
    talk.find()
    talk.find(OTHER)
    talk.end(talk.start("Ann"))
    talk.end(talk.start("Ann", engine=OTHER, moves=False), acts_for=3)
    assert talk.agent("Ann").engine == GPU
    assert [one.running_calls for one in talk.controller.engines()] == [0, 0]
    assert talk.plan() == [Order(GPU, ((own("Ann")[0], 3.0),))]


def test_whoever_has_no_memory_yet_has_it_where_its_first_call_goes() -> None:
    talk = Conversation()
    talk.start("Ann", engine=OTHER, moves=False)
    assert talk.agent("Ann").engine == OTHER


@pytest.mark.parametrize("moves", [True, False])
def test_a_call_that_is_sent_elsewhere_runs_there_and_is_still_one_call(moves: bool) -> None:
    talk = Conversation()
    talk.find()
    talk.find(OTHER)
    call = talk.start("Ann", adapter="red")
    talk.send(call, OTHER, adapter="blue", moves=moves)
    assert {one.id: one.running_calls for one in talk.controller.engines()} == {GPU: 0, OTHER: 1}
    assert talk.agent("Ann").engine == (OTHER if moves else GPU)
    talk.end(call)
    assert [one.running_calls for one in talk.controller.engines()] == [0, 0]
    assert (talk.town.counters.calls, talk.town.counters.activations) == (1, 1)


def test_what_a_call_finds_is_what_is_there_when_it_is_sent() -> None:
    talk = Conversation()
    talk.find(features=HOST_TIER)
    talk.call("Ann", cached=0)
    talk.call("Ann", cached=80, acts_for=9)
    talk.step()
    ann = prefix("Ann")
    talk.report(pools=(pool(free=1000),), memories={ann: MemoryReport(0, 100)})
    for is_sent_later in (False, True):
        call = talk.start("Ann")
        talk.report(pools=(pool(free=900),), memories={ann: MemoryReport(100, 0)})
        if is_sent_later:
            talk.send(call)
        talk.end(call, cached=80)
        talk.report(pools=(pool(free=1000),), memories={ann: MemoryReport(0, 100)})
    story = talk.controller.story(TOWN, ANN)
    assert story is not None
    assert [one.miss is None for one in story.calls][-2:] == [False, True]


def test_a_call_that_has_ended_is_sent_nowhere() -> None:
    talk = Conversation()
    call = talk.start("Ann")
    talk.end(call)
    talk.send(call, OTHER)
    assert talk.controller.totals().unknown_calls == 1
    assert talk.agent("Ann").engine == GPU


def test_an_agent_that_left_while_it_called_may_still_be_sent_elsewhere() -> None:
    talk = Conversation()
    talk.find()
    talk.find(OTHER)
    call = talk.start("Ann")
    talk.leave("Ann")
    talk.send(call, OTHER)
    talk.end(call)
    assert [one.running_calls for one in talk.controller.engines()] == [0, 0]


def test_calls_that_go_here_and_there_break_nothing() -> None:
    random = Random(7)
    talk = Conversation()
    talk.find()
    talk.find(OTHER)
    running: list[CallId] = []
    for _ in range(400):
        talk.wait(random.choice((0.0, 0.1, 2.0)))
        engine, moves = random.choice((GPU, OTHER)), random.random() < 0.5
        adapter = random.choice((None, "red", "blue"))
        match random.randrange(5):
            case 0 | 1:
                name = random.choice(("Ann", "Bob", "Cem", None))
                running.append(talk.start(name, engine=engine, adapter=adapter, moves=moves))
            case 2 if running:
                talk.send(random.choice(running), engine, adapter=adapter, moves=moves)
            case 3 if running:
                talk.end(running.pop(random.randrange(len(running))))
            case 4:
                talk.leave(random.choice(("Ann", "Bob", "Cem")))
        talk.tick()

from scalesim.proxy.core.accuracy import Score
from scalesim.proxy.core.actions import Load, Order
from scalesim.proxy.core.events import PrefetchAsked
from scalesim.proxy.core.model import AgentName, Clock, LoadState, Mode, Source
from scalesim.proxy.core.snapshot import AdapterSnapshot, AgentSnapshot, MemorySnapshot, Place

from .conversation import GPU, HOST_TIER, LORAS, TOWN, Conversation, key, lora, own, pool, prefix

(ANN,) = own("Ann")


def test_a_snapshot_shows_simulations_engines_and_totals() -> None:
    talk = Conversation()
    talk.find()
    talk.wait(2.0)
    talk.step(3)
    talk.call("Ann", acts_for=2)
    snapshot = talk.controller.snapshot()
    assert (snapshot.at, snapshot.totals.plans) == (2.0, 1)
    (town,), (gpu,) = snapshot.simulations, snapshot.engines
    assert (town.id, town.mode, town.step, town.pace_s) == (TOWN, Mode.ON, 3.0, None)
    assert (town.agents, town.running_calls, town.seen_at) == (1, 0, 2.0)
    assert (gpu.id, gpu.reachable, gpu.capacity_tokens, gpu.agents, gpu.plan_due) == (
        GPU,
        True,
        1000,
        1,
        True,
    )


def test_a_simulation_that_never_ticked_has_no_step() -> None:
    talk = Conversation()
    talk.call("Ann")
    assert talk.town.step is None


def test_an_engine_shows_what_is_wanted_on_its_way_and_in_force() -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann", acts_for=2)
    order = talk.tick()
    assert order == [Order(GPU, ((ANN, 2.0),))]
    before = talk.engine
    assert (before.wanted.order, before.in_flight, before.order) == (((ANN, 2.0),), tuple(order), ())
    talk.settle(order)
    after = talk.engine
    assert (after.in_flight, after.order) == ((), (ANN,))


def test_an_agent_shows_its_distance_and_where_that_comes_from() -> None:
    talk = Conversation()
    talk.call("Ann", acts_for=2)
    assert talk.agent("Ann") == AgentSnapshot(
        name=talk.agent("Ann").name,
        owner=ANN,
        distance=2.0,
        clock=Clock.STEPS,
        spread=0.0,
        source=talk.agent("Ann").source,
        in_activation=False,
        running_calls=0,
        activations=1,
        engine=GPU,
        size_tokens=100,
        used_at=0.0,
        number=1,
        adapter=None,
        memories=(MemorySnapshot("kv_prefix", ANN, None, None, False),),
    )


def test_an_agent_shows_its_memories_as_the_engine_reported_them() -> None:
    talk = Conversation()
    talk.find(features=LORAS, slots=4)
    talk.call("Ann", adapter="poet", acts_for=9)
    talk.report(
        pools=[pool(free=0)],
        memories={prefix("Ann"): (300, 100), lora("poet"): (0, 50)},
        loading=[lora("poet")],
    )
    assert talk.agent("Ann").adapter == "poet"
    assert talk.agent("Ann").memories == (
        MemorySnapshot("kv_prefix", ANN, 300, 100, False),
        MemorySnapshot("lora", "poet", 0, 50, True),
    )


def test_an_engine_shows_its_pools_and_what_is_on_its_way() -> None:
    talk = Conversation()
    talk.find(features=HOST_TIER)
    talk.call("Ann", acts_for=1)
    talk.start("Bob")
    talk.tick()
    loads = talk.report(pools=[pool(free=500)], memories={prefix("Ann"): (0, 100)})
    gpu = talk.engine
    assert gpu.pools == (pool(free=500),)
    assert (gpu.loading, gpu.loading_bytes, gpu.running_calls) == ((prefix("Ann"),), 100, 1)
    assert [type(action) for action in gpu.in_flight] == [Order, Load]
    assert gpu.loads.started == 1
    talk.settle(loads, state=LoadState.LOADED)
    assert (talk.engine.loading, talk.engine.loads.loaded) == ((), 1)
    assert talk.engine.pools == (pool(free=400),)


def test_an_adapter_shows_where_it_is() -> None:
    talk = Conversation()
    talk.find(features=LORAS, slots=4)
    for name in ("poet", "clerk", "smith", "baker"):
        talk.register(name)
    talk.assign("Ann", "poet")
    talk.plan()
    talk.report(
        pools=[pool("lora", free=0)],
        memories={lora("poet"): (50, 0), lora("clerk"): (0, 50), lora("smith"): (0, 50)},
        loading=[lora("smith")],
    )
    assert [list(known.engines.values()) for known in talk.controller.adapters()] == [
        [Place.SLOT],
        [Place.HOST],
        [Place.LOADING],
        [Place.UNKNOWN],
    ]
    assert [known.name for known in talk.controller.adapters(offset=1, limit=2)] == ["clerk", "smith"]
    poet = talk.controller.adapter("poet")
    places = {GPU: Place.SLOT}
    assert poet == AdapterSnapshot(
        "poet", "/adapters", 1, key("poet"), 1, places, {}, frozenset({GPU}), number=1
    )
    clerk = talk.controller.adapter("clerk")
    assert clerk is not None
    assert not clerk.ready, "nobody knows from where it came"
    assert talk.controller.adapter("stranger") is None


def test_an_adapter_shows_why_it_could_not_be_fetched() -> None:
    talk = Conversation()
    talk.find(features=LORAS, slots=4)
    talk.register("poet", "/nowhere")
    talk.assign("Ann", "poet")
    talk.settle(talk.tick(), "no such file")
    (poet,) = talk.controller.adapters()
    assert poet.problems == {GPU: "no such file"}


def test_copies_do_not_change_with_the_world() -> None:
    talk = Conversation()
    talk.call("Ann")
    before = talk.controller.snapshot()
    talk.call("Ann")
    talk.end(talk.start("Ann"))
    assert before.simulations[0].counters.calls == 1
    assert before.totals == talk.controller.totals()
    assert before.totals is not talk.controller.totals()


def test_a_simulation_shows_how_well_each_source_told() -> None:
    talk = Conversation()
    talk.call("Ann")
    assert (talk.town.accuracy, talk.town.in_charge) == ({}, None)
    talk.hint(Ann=2, Bob=3, Cem=4)
    talk.step()
    talk.call("Cem")
    assert talk.town.accuracy == {Source.HINTED: Score(0.0, 1.0, 1, 3.0, Clock.STEPS)}


def test_who_should_have_called_is_overdue_however_far_it_counts_as() -> None:
    talk = Conversation()
    talk.call("Ann")
    talk.hint(Clock.SECONDS, Ann=2.0)
    assert (talk.agent("Ann").distance, talk.agent("Ann").overdue) == (2.0, None)
    talk.wait(2.5)
    talk.tick()
    assert (talk.agent("Ann").distance, talk.agent("Ann").overdue) == (0.0, 0.5)
    talk.wait(500.0)
    talk.tick()
    known = talk.agent("Ann")
    assert known.distance is not None
    assert (known.distance > 400.0, known.overdue) == (True, 500.5)


def test_whose_memory_an_operator_asked_for_need_not_have_called() -> None:
    talk = Conversation()
    talk.call("Ann")
    talk.post(PrefetchAsked(talk.at, TOWN, AgentName("Ann"), 100.0))
    talk.wait(2.5)
    talk.tick()
    known = talk.agent("Ann")
    assert (known.source, known.overdue) == (Source.OPERATOR, None)

from scalesim.proxy.core.actions import Order
from scalesim.proxy.core.model import Clock, Mode
from scalesim.proxy.core.snapshot import AgentSnapshot

from .conversation import GPU, TOWN, Conversation, own

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
    )


def test_copies_do_not_change_with_the_world() -> None:
    talk = Conversation()
    talk.call("Ann")
    before = talk.controller.snapshot()
    talk.call("Ann")
    talk.end(talk.start("Ann"))
    assert before.simulations[0].counters.calls == 1
    assert before.totals == talk.controller.totals()
    assert before.totals is not talk.controller.totals()

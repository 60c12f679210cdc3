"""Wanted and believed in, actions out. The controller around it only decides when."""

from itertools import pairwise

import pytest

from scalesim.proxy.core.actions import Action, Evict, Order, Pin, Renew, Unpin
from scalesim.proxy.core.model import CallId, EngineId
from scalesim.proxy.core.reconciler import Belief, ranks_of

from .conversation import GPU, Conversation, own

ANN, BOB, CEM = own("Ann", "Bob", "Cem")


def _settled_town() -> Conversation:
    """Ann calls in 2 steps and Bob in 5, and the engine has that in force."""
    talk = Conversation()
    talk.find()
    talk.call("Ann", acts_for=2)
    talk.call("Bob", acts_for=5)
    assert talk.plan() == [Order(GPU, ((ANN, 2.0), (BOB, 5.0)))]
    return talk


def _calling(*names: str, capacity: int = 1000) -> Conversation:
    """A town in which all have called before (100 tokens each) and are calling again; nothing is planned yet."""
    talk = Conversation()
    talk.find(capacity=capacity)
    for name in names:
        talk.call(name, acts_for=1)
    for name in names:
        talk.start(name)
    return talk


# Orders


def test_ranks_are_an_order_without_its_values() -> None:
    assert ranks_of([(ANN, 0.0), (BOB, 0.0), (CEM, 7.5)]) == {ANN: 0, BOB: 0, CEM: 1}
    assert ranks_of([]) == {}


def test_a_settled_plan_is_silent() -> None:
    talk = _settled_town()
    assert talk.tick() == []
    assert not talk.controller.dirty


def test_a_plan_of_the_same_order_is_not_sent_again() -> None:
    talk = _settled_town()
    talk.hint(Ann=1, Bob=40)
    assert talk.controller.dirty
    assert talk.tick() == []
    assert not talk.controller.dirty


def test_a_changed_order_and_a_changed_membership_are_sent_whole() -> None:
    talk = _settled_town()
    talk.hint(Ann=9)
    assert talk.plan() == [Order(GPU, ((BOB, 5.0), (ANN, 9.0)))]
    talk.leave("Bob")
    assert talk.plan() == [Order(GPU, ((ANN, 9.0),))]


def test_equals_that_change_places_are_no_change() -> None:
    talk = _settled_town()
    talk.hint(Ann=5)
    assert talk.plan() == [Order(GPU, ((ANN, 5.0), (BOB, 5.0)))]
    talk.wait(0.1)
    talk.call("Bob", acts_for=5)
    assert talk.plan() == []
    assert talk.engine.wanted.order == ((BOB, 5.0), (ANN, 5.0))


def test_an_order_waits_for_the_one_before_it() -> None:
    talk = _settled_town()
    talk.hint(Ann=9)
    first = talk.tick()
    talk.hint(Bob=20)
    assert talk.tick() == []
    assert talk.engine.plan_due
    assert talk.engine.in_flight == tuple(first)
    talk.settle(first)
    assert talk.controller.dirty
    assert talk.plan() == [Order(GPU, ((ANN, 9.0), (BOB, 20.0)))]
    assert not talk.engine.plan_due


def test_while_all_it_could_send_waits_no_plan_is_due() -> None:
    talk = Conversation()
    talk.find(features=frozenset({"order"}))
    talk.call("Ann", acts_for=2)
    first = talk.tick()
    talk.call("Bob", acts_for=1)
    assert not talk.controller.dirty
    assert talk.tick() == []
    talk.settle(first)
    assert talk.plan() == [Order(GPU, ((BOB, 1.0), (ANN, 2.0)))]


def test_a_failed_order_is_sent_by_the_next_plan() -> None:
    talk = _settled_town()
    talk.hint(Ann=9)
    order = talk.tick()
    talk.settle(order, "no answer")
    assert talk.engine.order is None
    assert talk.tick() == order
    assert talk.controller.totals().failed_actions == 1


def test_an_engine_that_keeps_failing_is_asked_less_often() -> None:
    talk = _settled_town()
    talk.hint(Ann=9)
    asked = []
    for _ in range(400):
        actions = talk.tick()
        if actions:
            asked.append(talk.at)
            talk.settle(actions, "no answer")
        talk.wait(0.05)
    waits = [later - earlier for earlier, later in pairwise(asked)]
    assert waits[0] == pytest.approx(0.05)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(5.0, abs=0.1)


def test_a_success_ends_the_restraint() -> None:
    talk = _settled_town()
    talk.hint(Ann=9)
    for _ in range(3):
        talk.settle(talk.tick(), "no answer")
        talk.wait(5.0)
    assert len(talk.plan()) == 1
    talk.hint(Ann=1)
    order = talk.tick()
    talk.settle(order, "no answer")
    assert talk.tick() == order


def test_an_engine_that_was_given_nothing_is_not_told_so() -> None:
    talk = Conversation()
    assert talk.find() == []
    talk.call("Ann")
    talk.wait(3.0)
    assert talk.tick() == []


# Pins


def test_pins_of_one_plan_go_in_one_action() -> None:
    talk = _calling("Ann", "Bob")
    assert talk.plan() == [Order(GPU, ((ANN, 0.0), (BOB, 0.0))), Pin(GPU, (ANN, BOB))]
    assert talk.engine.pins == (ANN, BOB)


def test_only_the_difference_is_pinned_and_released() -> None:
    talk = _calling("Ann", "Bob")
    assert len(talk.plan()) == 2
    talk.act("Ann", 3)
    talk.end(CallId(3))
    talk.call("Cem", acts_for=1)
    talk.start("Cem")
    assert talk.plan() == [
        Order(GPU, ((BOB, 0.0), (CEM, 0.0), (ANN, 3.0))),
        Unpin(GPU, (ANN,)),
        Pin(GPU, (CEM,)),
    ]
    assert talk.engine.pins == (BOB, CEM)


def test_a_pin_waits_for_the_room_of_one_that_goes() -> None:
    talk = _calling("Ann", capacity=300)
    talk.plan()
    talk.end(CallId(2), acts_for=3)
    talk.call("Bob", acts_for=1)
    talk.start("Bob")
    first = talk.tick()
    assert first[1:] == [Unpin(GPU, (ANN,))]
    assert talk.tick() == []
    talk.settle(first)
    assert talk.plan() == [Pin(GPU, (BOB,))]


def test_the_size_of_an_agent_is_learned_from_its_calls_and_shrinks_slowly() -> None:
    talk = Conversation()
    talk.call("Ann", prompt=700, output=100)
    assert talk.agent("Ann").size_tokens == 800
    talk.call("Ann", prompt=10, output=6)
    assert talk.agent("Ann").size_tokens == 700


def test_an_activation_that_outgrows_the_budget_is_released() -> None:
    talk = _calling("Ann")
    talk.plan()
    talk.end(CallId(2), prompt=600)
    talk.start("Ann")
    assert talk.plan() == [Unpin(GPU, (ANN,))]


def test_pins_are_given_out_again_when_the_capacity_shrinks() -> None:
    talk = _calling("Ann", "Bob")
    talk.plan()
    assert talk.report(pins=(ANN, BOB), capacity=200) == [Unpin(GPU, (BOB,))]
    assert talk.engine.pin_budget_tokens == 100


def test_pins_in_flight_are_not_sent_twice() -> None:
    talk = _calling("Ann")
    first = talk.tick()
    talk.hint(Ann=3)
    assert talk.tick() == []
    talk.call("Bob", acts_for=1)
    talk.start("Bob")
    assert talk.tick() == []
    assert talk.engine.plan_due
    talk.settle(first)
    assert talk.plan() == [Order(GPU, ((ANN, 0.0), (BOB, 0.0))), Pin(GPU, (BOB,))]


def test_a_pin_waits_for_the_one_before_it() -> None:
    talk = _calling("Ann")
    order, pin = talk.tick()
    talk.settle([order])
    talk.act("Ann", 3)
    talk.end(CallId(2))
    assert talk.tick() == []
    assert talk.engine.plan_due
    assert talk.report(pins=()) == []
    talk.settle([pin])
    release = talk.tick()
    assert release == [Unpin(GPU, (ANN,))]
    talk.start("Ann")
    talk.plan()
    assert talk.engine.plan_due
    talk.settle(release)
    assert talk.plan() == [Pin(GPU, (ANN,))]


def test_a_failed_pin_is_asked_for_again() -> None:
    talk = _calling("Ann")
    actions = talk.tick()
    talk.settle(actions[:1])
    talk.settle(actions[1:], "no answer")
    assert not talk.engine.pins
    assert talk.plan() == [Pin(GPU, (ANN,))]
    assert talk.engine.pins == (ANN,)


def test_a_failed_pin_that_is_wanted_no_more_is_released_for_safety() -> None:
    talk = _calling("Ann")
    actions = talk.tick()
    talk.settle(actions[1:], "no answer")
    talk.settle(actions[:1])
    talk.end(CallId(2), acts_for=4)
    assert talk.plan() == [Unpin(GPU, (ANN,))]
    assert talk.tick() == []


def test_a_failed_release_is_asked_for_again() -> None:
    talk = _calling("Ann")
    talk.plan()
    talk.end(CallId(2), acts_for=4)
    for _ in range(2):
        actions = talk.tick()
        assert actions == [Unpin(GPU, (ANN,))]
        talk.settle(actions, "no answer")
    talk.wait(1.0)
    assert talk.plan() == [Unpin(GPU, (ANN,)), Renew(GPU)]


# Renewals


def test_what_is_in_force_is_renewed_every_second() -> None:
    talk = _settled_town()
    talk.wait(0.9)
    assert talk.tick() == []
    talk.wait(0.1)
    assert talk.plan() == [Renew(GPU)]
    assert talk.tick() == []
    talk.wait(1.0)
    assert talk.plan() == [Renew(GPU)]


def test_a_renewal_waits_for_the_one_before_it() -> None:
    talk = _settled_town()
    talk.wait(1.0)
    first = talk.tick()
    talk.wait(5.0)
    assert talk.tick() == []
    talk.settle(first)
    assert talk.tick() == [Renew(GPU)]


def test_an_order_is_as_good_as_a_renewal() -> None:
    talk = _settled_town()
    talk.wait(0.9)
    talk.hint(Ann=9)
    talk.plan()
    talk.wait(0.9)
    assert talk.tick() == []


def test_pins_are_renewed_without_an_order() -> None:
    talk = Conversation()
    talk.find(features=frozenset({"pin"}))
    talk.call("Ann", acts_for=1)
    talk.start("Ann")
    assert talk.plan() == [Pin(GPU, (ANN,))]
    assert talk.tick() == []
    talk.wait(1.0)
    assert talk.plan() == [Renew(GPU)]


def test_nothing_in_force_is_not_renewed() -> None:
    talk = _settled_town()
    talk.finish()
    talk.settle([Order(GPU, ())])
    talk.wait(5.0)
    assert talk.tick() == []


def test_after_a_failed_renewal_all_is_sent_again() -> None:
    talk = _calling("Ann")
    talk.plan()
    talk.wait(1.0)
    talk.settle(talk.tick(), "no answer")
    assert talk.plan() == [Order(GPU, ((ANN, 0.0),)), Pin(GPU, (ANN,))]


# Engines that are lost, start anew, or say otherwise


def test_a_lost_engine_is_left_alone_and_told_everything_when_it_is_back() -> None:
    talk = _settled_town()
    talk.lose()
    talk.hint(Ann=9)
    talk.wait(3.0)
    assert talk.tick() == []
    assert not talk.controller.dirty
    assert talk.find(boot="boot-2") == [Order(GPU, ((BOB, 5.0), (ANN, 9.0)))]


def test_a_boot_seen_in_a_report_makes_us_tell_everything() -> None:
    talk = _calling("Ann")
    everything = talk.plan()
    assert talk.report(boot="boot-2", plan=False) == everything


def test_a_boot_found_without_a_loss_makes_us_tell_everything() -> None:
    talk = _settled_town()
    assert talk.find(boot="boot-1") == []
    assert len(talk.find(boot="boot-2")) == 1


def test_an_engine_that_does_not_name_its_boots_is_believed_to_be_the_same() -> None:
    talk = _settled_town()
    assert talk.find(boot=None) == []


def test_what_was_in_flight_to_a_lost_engine_says_nothing_when_it_ends() -> None:
    talk = _calling("Ann")
    late = [*talk.tick(), Unpin(GPU, (ANN,)), Renew(GPU), Evict(GPU, (ANN,)), Renew(EngineId("other"))]
    talk.lose()
    talk.settle(late)
    assert (talk.engine.order, talk.engine.pins) == ((), ())
    talk.settle(late, "connection reset")
    assert talk.controller.totals().failed_actions == 0


def test_a_report_that_agrees_changes_nothing() -> None:
    talk = _calling("Ann")
    talk.plan()
    assert talk.report(pins=(ANN,)) == []
    assert talk.controller.totals().healed == 0


def test_a_plan_that_aged_out_is_sent_again() -> None:
    talk = _settled_town()
    assert talk.report(plan=False) == [Order(GPU, ((ANN, 2.0), (BOB, 5.0)))]
    assert talk.controller.totals().healed == 1


def test_a_report_from_before_an_order_does_not_send_it_twice() -> None:
    talk = _settled_town()
    talk.hint(Ann=9)
    talk.tick()
    assert talk.report(plan=False) == []


def test_the_plan_of_a_predecessor_is_taken_back_once() -> None:
    talk = Conversation()
    talk.find()
    taken_back = talk.report(plan=True)
    assert taken_back == [Order(GPU, ())]
    talk.settle(taken_back)
    assert talk.report(plan=True) == []


def test_lost_pins_are_set_again_and_those_of_a_predecessor_released() -> None:
    talk = _calling("Ann")
    talk.plan()
    assert talk.report(pins=own("Old", "Elder")) == [Unpin(GPU, own("Elder", "Old")), Pin(GPU, (ANN,))]


def test_a_predecessors_pin_that_we_want_too_is_made_ours() -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann", acts_for=2)
    talk.start("Ann")
    assert talk.report(plan=False, pins=(ANN,)) == [Order(GPU, ((ANN, 0.0),)), Pin(GPU, (ANN,))]


def test_a_report_settles_doubts_about_pins() -> None:
    talk = _calling("Ann")
    actions = talk.tick()
    talk.settle(actions[:1])
    talk.settle(actions[1:], "no answer")
    talk.end(CallId(2), acts_for=4)
    assert talk.report(pins=()) == []


def test_a_report_of_an_engine_that_was_not_found_yet_changes_nothing() -> None:
    talk = Conversation()
    assert talk.report(plan=True, pins=(ANN,)) == []
    assert talk.find() == []


# Capabilities


@pytest.mark.parametrize(
    ("features", "kinds"),
    [({"order"}, [Order]), ({"pin"}, [Pin]), ({"evict", "owners"}, []), (set(), [])],
)
def test_an_engine_is_asked_only_for_what_it_can_do(features: set[str], kinds: list[type[Action]]) -> None:
    talk = Conversation()
    talk.find(features=frozenset(features))
    talk.call("Ann", acts_for=2)
    talk.start("Ann")
    assert [type(action) for action in talk.plan()] == kinds
    assert not talk.controller.dirty


def test_without_a_known_capacity_nothing_is_pinned() -> None:
    talk = Conversation()
    talk.find(capacity=None)
    talk.call("Ann", acts_for=2)
    talk.start("Ann")
    assert talk.plan() == [Order(GPU, ((ANN, 0.0),))]
    assert talk.report(capacity=500) == [Pin(GPU, (ANN,))]


def test_a_belief_has_no_use_for_actions_it_did_not_ask_for() -> None:
    belief = Belief()
    for action in (Order(GPU, ()), Pin(GPU, ()), Unpin(GPU, ()), Renew(GPU), Evict(GPU, ())):
        assert not belief.settle(action, None, 0.0)

from __future__ import annotations

import math

import pytest

from scalesim.proxy.core import pins
from scalesim.proxy.core.actions import Order, Pin, Unpin
from scalesim.proxy.core.events import AdapterPinned, AdapterUnpinned, AgentPinned, AgentUnpinned
from scalesim.proxy.core.model import AgentName, Clock, EngineId, Mode, Part, SimulationId
from scalesim.proxy.core.pins import PinRoom, Refusal

from .conversation import BOTH, GPU, LORAS, TOWN, Conversation, own


def _pin(talk: Conversation, agent: str, for_s: float = math.inf, reason: str = "") -> None:
    assert talk.post(AgentPinned(talk.at, TOWN, AgentName(agent), for_s, reason)) == []


def _unpin(talk: Conversation, agent: str) -> None:
    assert talk.post(AgentUnpinned(talk.at, TOWN, AgentName(agent))) == []


def _room(talk: Conversation, agent: str) -> PinRoom:
    room = talk.controller.pin_room(TOWN, AgentName(agent))
    assert room is not None
    return room


def _away(*agents: str, **config: object) -> Conversation:
    """An engine of 1,000 tokens, of which operators may pin 250; each agent has 100 and comes much later."""
    talk = Conversation(**config)  # type: ignore[arg-type]
    talk.find()
    for agent in agents:
        talk.call(agent)
        talk.act(agent, 5000.0, Clock.SECONDS)
    while talk.plan():
        pass
    return talk


def test_what_an_operator_pins_is_pinned_until_it_is_taken_back() -> None:
    talk = _away("Ann", "Bob")
    _pin(talk, "Ann", reason="the judge")
    (pin,) = talk.plan()
    assert pin == Pin(GPU, own("Ann"))
    assert talk.controller.why(pin) == "town/Ann: pinned by an operator (the judge)"
    known = talk.agent("Ann")
    assert known.pin is not None
    assert (known.pin.reason, known.pin.until, known.pin_in_force) == ("the judge", math.inf, True)
    talk.wait(4000.0)
    assert not any(isinstance(one, Unpin) for one in talk.plan())
    _unpin(talk, "Ann")
    _unpin(talk, "Ann")
    assert talk.plan()[0] == Unpin(GPU, own("Ann"))
    assert talk.agent("Ann").pin is None


def test_a_pin_ends_when_its_time_is_over() -> None:
    talk = _away("Ann")
    _pin(talk, "Ann", for_s=30.0)
    talk.plan()
    talk.wait(29.0)
    talk.plan()
    assert talk.engine.pins == own("Ann")
    talk.wait(1.0)
    assert Unpin(GPU, own("Ann")) in talk.plan()
    assert talk.controller.sizes()["operator_pins"] == 0


def test_pinned_again_it_lasts_from_then_on_and_takes_no_more_room() -> None:
    talk = _away("Ann")
    _pin(talk, "Ann", for_s=30.0, reason="first")
    talk.wait(20.0)
    _pin(talk, "Ann", for_s=30.0, reason="second")
    talk.wait(20.0)
    talk.plan()
    pin = talk.agent("Ann").pin
    assert pin is not None
    assert (pin.reason, pin.until, pin.since, pin.number) == ("second", 50.0, 0.0, 1)
    assert talk.controller.pin_budgets() == {GPU: (100, 250)}


def test_operators_pin_no_more_than_their_part_of_the_budget() -> None:
    talk = _away("Ann", "Bob", "Cem")
    for agent in ("Ann", "Bob"):
        assert _room(talk, agent).refusal is None
        _pin(talk, agent)
    assert _room(talk, "Cem") == PinRoom(200, 250, 100, Refusal.FULL)
    _pin(talk, "Cem")
    assert talk.agent("Cem").pin is None
    assert talk.controller.totals().refused == 1
    talk.plan()
    assert set(talk.engine.pins) == set(own("Ann", "Bob"))
    _unpin(talk, "Ann")
    assert _room(talk, "Cem").refusal is None


def test_activations_keep_the_rest_of_the_budget() -> None:
    talk = _away("Ann", "Bob", "Cem", "Dan", "Eve")
    _pin(talk, "Ann")
    _pin(talk, "Bob")
    for agent in ("Cem", "Dan", "Eve"):
        talk.start(agent)
    talk.plan()
    talk.plan()
    assert set(talk.engine.pins) == set(own("Ann", "Bob", "Cem", "Dan", "Eve"))
    talk.call("Fay")
    talk.start("Fay")
    talk.plan()
    talk.plan()
    assert len(talk.engine.pins) == 5


def test_memory_that_has_grown_beyond_the_budget_is_pinned_no_more() -> None:
    talk = _away("Ann", "Bob")
    _pin(talk, "Ann")
    _pin(talk, "Bob")
    talk.plan()
    talk.call("Bob", prompt=190)
    talk.act("Bob", 5000.0, Clock.SECONDS)
    talk.plan()
    talk.plan()
    assert talk.engine.pins == own("Ann")
    assert (talk.agent("Bob").pin is None, talk.agent("Bob").pin_in_force) == (False, False)


def test_nothing_is_pinned_for_a_simulation_that_is_not_on() -> None:
    talk = _away("Ann")
    _pin(talk, "Ann")
    talk.plan()
    talk.settle(talk.set_mode(Mode.SHADOW))
    talk.plan()
    assert talk.engine.pins == ()
    assert talk.agent("Ann").pin is not None
    talk.settle(talk.set_mode(Mode.ON))
    talk.plan()
    assert talk.engine.pins == own("Ann")


def test_a_pin_outlasts_the_rest_of_its_simulation() -> None:
    talk = _away("Ann", idle_after_s=60.0)
    _pin(talk, "Ann")
    talk.plan()
    talk.wait(100.0)
    talk.plan()
    talk.plan()
    assert talk.town.resting
    assert talk.engine.pins == own("Ann")


@pytest.mark.parametrize("policy", ["lru", "off"])
def test_an_operators_pin_needs_no_policy(policy: str) -> None:
    talk = _away("Ann", policy=policy)
    _pin(talk, "Ann")
    assert talk.plan() == [Pin(GPU, own("Ann"))]


def test_there_is_no_pin_without_memory_or_an_engine_that_takes_pins() -> None:
    talk = _away("Ann", parts=frozenset({Part.ORDER}))
    assert _room(talk, "Ann").refusal is Refusal.CANNOT_PIN
    talk = _away("Ann")
    talk.hint(Zoe=1.0)
    assert _room(talk, "Zoe").refusal is Refusal.NO_MEMORY
    talk.find(EngineId("plain"), features=frozenset({"order"}))
    talk.call("Bob", engine=EngineId("plain"))
    assert _room(talk, "Bob").refusal is Refusal.CANNOT_PIN
    talk.lose()
    assert _room(talk, "Ann").refusal is Refusal.CANNOT_PIN
    assert talk.controller.pin_room(TOWN, AgentName("Nobody")) is None
    assert talk.controller.pin_room(SimulationId("atlantis"), AgentName("Ann")) is None
    _pin(talk, "Nobody")
    assert talk.controller.sizes()["operator_pins"] == 0


def test_who_is_pinned_is_not_forgotten_for_others() -> None:
    talk = _away("Ann", "Bob", agent_limit=2)
    _pin(talk, "Ann")
    talk.call("Cem")
    assert talk.controller.knows(TOWN, AgentName("Ann"))
    assert not talk.controller.knows(TOWN, AgentName("Bob"))
    _unpin(talk, "Ann")
    talk.call("Dan")
    talk.call("Eve")
    assert not talk.controller.knows(TOWN, AgentName("Ann"))


def test_a_simulation_with_pins_is_not_forgotten_for_others() -> None:
    talk = _away("Ann", simulation_limit=1)
    _pin(talk, "Ann")
    talk.call("Bob", simulation="village")
    assert not talk.controller.knows(SimulationId("village"))
    _unpin(talk, "Ann")
    talk.call("Bob", simulation="village")
    assert talk.controller.knows(SimulationId("village"))


@pytest.mark.parametrize("how", ["leaves", "ends"])
def test_pins_go_with_whom_they_are_of(how: str) -> None:
    talk = _away("Ann")
    _pin(talk, "Ann")
    talk.plan()
    if how == "leaves":
        talk.leave("Ann")
    else:
        talk.settle(talk.finish())
    talk.plan()
    assert talk.engine.pins == ()
    assert talk.controller.sizes()["operator_pins"] == 0
    assert talk.controller.pins(0, 9) == []


def test_there_are_only_so_many_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "LIMIT", 1)
    talk = _away("Ann", "Bob")
    _pin(talk, "Ann")
    assert _room(talk, "Bob").refusal is Refusal.TOO_MANY
    assert _room(talk, "Ann").refusal is None


def test_pins_are_read_in_the_order_in_which_they_were_made() -> None:
    talk = _away("Ann", "Bob")
    _pin(talk, "Bob")
    _pin(talk, "Ann")
    ((simulation, first),) = talk.controller.pins(0, 1)
    assert (simulation, first.name) == (TOWN, "Bob")
    assert first.pin is not None
    assert [one.name for _, one in talk.controller.pins(first.pin.number, 9)] == ["Ann"]


# Adapters


def _slots(slots: int = 4) -> Conversation:
    talk = Conversation()
    talk.find(features=LORAS, slots=slots)
    for name in ("poet", "clerk", "judge"):
        talk.register(name, f"/{name}")
    talk.call("Ann")
    talk.act("Ann", 5000.0, Clock.SECONDS)
    while talk.plan():
        pass
    return talk


def _pin_adapter(talk: Conversation, name: str, for_s: float = math.inf) -> None:
    assert talk.post(AdapterPinned(talk.at, name, for_s, "")) == []


def _pinned(talk: Conversation) -> tuple[str, ...]:
    talk.plan()
    return talk.engine.wanted.pinned_adapters


def test_an_adapter_is_pinned_until_it_is_taken_back_or_its_time_is_over() -> None:
    talk = _slots()
    _pin_adapter(talk, "poet")
    orders = [one for one in talk.plan() if isinstance(one, Order)]
    assert [order.pinned_adapters for order in orders] == [("poet",)]
    (poet,) = (one for one in talk.controller.adapters() if one.name == "poet")
    assert (poet.pin is not None, poet.pinned_on) == (True, {GPU})
    assert talk.post(AdapterUnpinned(talk.at, "poet")) == []
    assert _pinned(talk) == ()
    _pin_adapter(talk, "clerk", for_s=5.0)
    assert _pinned(talk) == ("clerk",)
    talk.wait(5.0)
    assert _pinned(talk) == ()


def test_operators_pin_no_more_than_half_of_the_slots_that_may_be() -> None:
    talk = _slots()
    _pin_adapter(talk, "poet")
    room = talk.controller.adapter_pin_room("clerk")
    assert room == PinRoom(1, 1, 1, Refusal.FULL)
    _pin_adapter(talk, "clerk")
    assert (_pinned(talk), talk.controller.totals().refused) == (("poet",), 1)
    assert talk.controller.adapter_pin_room("unheard") is None


def test_the_pin_of_an_adapter_goes_with_it_and_stays_for_its_next_version() -> None:
    talk = _slots()
    _pin_adapter(talk, "poet")
    talk.register("poet", "/elsewhere")
    assert _pinned(talk) == ("poet@2",)
    talk.forget_adapter("poet")
    assert _pinned(talk) == ()
    assert talk.controller.sizes()["operator_adapter_pins"] == 0


def test_no_adapter_is_pinned_where_there_are_no_slots() -> None:
    for talk in (Conversation(), Conversation(parts=frozenset({Part.ORDER})), Conversation()):
        talk.register("poet")
        room = talk.controller.adapter_pin_room("poet")
        assert room is not None
        assert room.refusal is Refusal.CANNOT_PIN
    talk.find(features=BOTH | {"adapters"}, slots=1)
    room = talk.controller.adapter_pin_room("poet")
    assert room is not None
    assert room.refusal is Refusal.CANNOT_PIN

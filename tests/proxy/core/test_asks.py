from __future__ import annotations

from collections.abc import Mapping

import pytest

from scalesim.proxy.core import asks
from scalesim.proxy.core.actions import Action, DropAdapter, FetchAdapter, Load, Order
from scalesim.proxy.core.events import AdapterAsked, AdapterLetGo, PrefetchAsked
from scalesim.proxy.core.loading import Standing
from scalesim.proxy.core.model import LORA, AgentName, Clock, EngineId, LoadState, MemoryId, Mode, Part
from scalesim.proxy.core.snapshot import Place

from .conversation import GPU, HOST_TIER, LORAS, TOWN, Conversation, key, lora, pool, prefix

ROOM = (pool(free=1000),)
GONE = {prefix("Ann"): (0, 100)}


def _ask(talk: Conversation, agent: str, for_s: float = 30.0) -> None:
    assert talk.post(PrefetchAsked(talk.at, TOWN, AgentName(agent), for_s)) == []


def _standing(talk: Conversation, agent: str = "Ann") -> Mapping[MemoryId, Standing] | None:
    return talk.controller.standing(TOWN, AgentName(agent))


def _away(policy: str = "nearest_first", memories: Mapping[MemoryId, tuple[int, int]] = GONE) -> Conversation:
    """Ann comes much later, and her memory is in host memory alone."""
    talk = Conversation(policy=policy, parts=frozenset(Part) - {Part.PIN})
    talk.find(features=HOST_TIER)
    talk.call("Ann")
    talk.act("Ann", 5000.0, Clock.SECONDS)
    talk.plan()
    talk.settle(talk.report(pools=ROOM, memories=memories))
    talk.plan()
    return talk


def _loads(actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, Load)]


@pytest.mark.parametrize("policy", ["nearest_first", "cost_aware", "lru", "off"])
def test_who_is_asked_for_is_loaded_for_at_once_whatever_the_policy(policy: str) -> None:
    talk = _away(policy)
    assert _standing(talk) == {prefix("Ann"): Standing.WAITS}
    _ask(talk, "Ann")
    assert (talk.agent("Ann").source, talk.distance("Ann")) == ("operator", 0.0)
    (load,) = _loads(talk.tick())
    assert load == Load(GPU, prefix("Ann"), 0.0, 10.0)
    assert talk.controller.why(load) == "town/Ann is wanted by an operator; to be copied"
    assert _standing(talk) == {prefix("Ann"): Standing.COMING}
    talk.settle([load], state=LoadState.LOADED)
    talk.report(pools=ROOM, memories={prefix("Ann"): (100, 0)})
    assert _standing(talk) == {prefix("Ann"): Standing.HERE}


def test_what_was_asked_for_stays_near_until_its_time_is_over_or_it_is_taken_back() -> None:
    talk = _away(memories={prefix("Ann"): (100, 0)})
    _ask(talk, "Ann", 30.0)
    for _ in range(3):
        talk.wait(9.0)
        talk.plan()
        assert talk.engine.wanted.order[0][1] == 0.0
    talk.wait(9.0)
    talk.plan()
    assert talk.agent("Ann").source == "plan"
    assert talk.engine.wanted.order[0][1] > 4000.0
    assert talk.controller.sizes()["asked_agents"] == 0
    _ask(talk, "Ann", 30.0)
    _ask(talk, "Ann", 0.0)
    assert talk.agent("Ann").source == "plan"


def test_a_call_ends_what_was_asked() -> None:
    talk = _away()
    _ask(talk, "Ann")
    talk.wait(5.0)
    talk.call("Ann")
    talk.act("Ann", 5000.0, Clock.SECONDS)
    assert talk.agent("Ann").source == "plan"
    talk.tick()
    assert talk.controller.sizes()["asked_agents"] == 0


def test_a_call_of_the_same_activation_ends_it_as_well() -> None:
    talk = _away()
    call = talk.start("Ann")
    _ask(talk, "Ann")
    talk.end(call)
    talk.call("Ann")
    talk.act("Ann", 5000.0, Clock.SECONDS)
    assert talk.agent("Ann").source == "plan"


def test_a_stock_engine_is_asked_to_compute_a_prefix_again() -> None:
    talk = Conversation()
    talk.find(features=frozenset({"warm_up"}), capacity=200)
    for agent in ("Ann", "Bob", "Cem"):
        talk.call(agent)
        talk.act(agent, 5000.0, Clock.SECONDS)
    talk.plan()
    assert _standing(talk) == {prefix("Ann"): Standing.WAITS}
    assert _standing(talk, "Cem") == {prefix("Cem"): Standing.HERE}
    _ask(talk, "Ann")
    (load,) = _loads(talk.tick())
    assert talk.controller.why(load) == "town/Ann is wanted by an operator; to be computed again"
    talk.settle([load], state=LoadState.LOADED)
    assert _standing(talk) == {prefix("Ann"): Standing.HERE}


@pytest.mark.parametrize(
    ("state", "standing"), [(LoadState.ABSENT, Standing.ABSENT), (LoadState.NO_ROOM, Standing.NO_ROOM)]
)
def test_why_memory_does_not_come_is_known(state: LoadState, standing: Standing) -> None:
    talk = _away()
    _ask(talk, "Ann")
    talk.settle(_loads(talk.tick()), state=state)
    assert _standing(talk) == {prefix("Ann"): standing}
    assert standing.may_change is (state is LoadState.NO_ROOM)


def test_loads_that_fail_time_and_again_are_given_up_and_tried_anew_when_asked_again() -> None:
    talk = _away()
    _ask(talk, "Ann", 600.0)
    for _ in range(3):
        talk.settle(_loads(talk.tick()), "it broke")
        talk.wait(20.0)
    assert _standing(talk) == {prefix("Ann"): Standing.FAILED}
    assert _loads(talk.tick()) == []
    _ask(talk, "Ann", 600.0)
    assert len(_loads(talk.tick())) == 1


def test_what_cannot_be_loaded_says_so() -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann")
    assert _standing(talk) == {prefix("Ann"): Standing.IMPOSSIBLE}
    talk.lose()
    assert _standing(talk) == {}
    talk.hint(Zoe=3.0)
    assert (_standing(talk, "Zoe"), _standing(talk, "Nobody")) == (None, None)


def test_nothing_is_loaded_for_a_simulation_that_is_not_on() -> None:
    talk = _away()
    talk.settle(talk.set_mode(Mode.SHADOW))
    _ask(talk, "Ann")
    assert _loads(talk.tick()) == []


def test_only_so_many_are_asked_for_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asks, "LIMIT", 1)
    talk = _away()
    talk.call("Bob")
    talk.act("Bob", 5000.0, Clock.SECONDS)
    _ask(talk, "Ann")
    _ask(talk, "Bob")
    assert (talk.agent("Bob").source, talk.controller.totals().refused) == ("plan", 1)
    _ask(talk, "Nobody")
    assert talk.controller.totals().refused == 2
    talk.wait(30.0)
    _ask(talk, "Bob")
    assert talk.agent("Bob").source == "operator"


def test_who_left_is_asked_for_no_more() -> None:
    talk = _away()
    _ask(talk, "Ann")
    talk.leave("Ann")
    talk.tick()
    assert talk.controller.sizes()["asked_agents"] == 0


# Adapters

SLOTS = (pool(LORA, free=300, capacity=400),)


def _adapters() -> Conversation:
    talk = Conversation(parts=frozenset(Part) - {Part.PIN})
    talk.find(features=LORAS, slots=4)
    talk.settle(talk.report(pools=SLOTS))
    for name in ("poet", "clerk"):
        talk.register(name, f"/{name}")
    while talk.plan():
        pass
    return talk


def _ask_for(talk: Conversation, name: str, for_s: float = 30.0) -> None:
    assert talk.post(AdapterAsked(talk.at, name, for_s)) == []


def _let_go(talk: Conversation, name: str, for_s: float = 30.0) -> None:
    assert talk.post(AdapterLetGo(talk.at, name, for_s)) == []


def _place(talk: Conversation, name: str) -> Place:
    known = talk.controller.adapter(name)
    assert known is not None
    return known.engines[GPU]


def test_an_adapter_that_is_asked_for_comes_to_host_memory_and_to_a_slot() -> None:
    talk = _adapters()
    assert talk.controller.adapter_places() == {GPU: Place.SLOT}
    _ask_for(talk, "poet")
    (fetch,) = talk.tick()
    assert fetch == FetchAdapter(GPU, key("poet"), "/poet")
    talk.settle([fetch])
    assert talk.report(pools=SLOTS, memories={lora("poet"): (0, 100)}) != []
    assert _place(talk, "poet") is Place.LOADING
    talk.settle(talk.report(pools=SLOTS, memories={lora("poet"): (100, 0)}))
    assert talk.controller.sizes()["asked_adapters"] == 1
    talk.wait(30.0)
    talk.tick()
    assert talk.controller.sizes()["asked_adapters"] == 0


def test_an_adapter_is_let_go_once_no_call_runs_on_it() -> None:
    talk = _adapters()
    call = talk.start("Ann", adapter="poet")
    talk.settle(talk.report(pools=SLOTS, memories={lora("poet"): (100, 0)}))
    _let_go(talk, "poet")
    assert not any(isinstance(one, DropAdapter) for one in talk.plan())
    talk.end(call)
    talk.act("Ann", 5000.0, Clock.SECONDS)
    assert DropAdapter(GPU, key("poet")) in talk.plan()
    assert _place(talk, "poet") is Place.UNKNOWN
    talk.tick()
    assert talk.controller.sizes()["unwanted_adapters"] == 0
    assert talk.controller.knows_adapter("poet")


def test_it_is_not_tried_for_ever_to_let_an_adapter_go() -> None:
    talk = _adapters()
    call = talk.start("Ann", adapter="poet")
    talk.settle(talk.report(pools=SLOTS, memories={lora("poet"): (100, 0)}))
    _let_go(talk, "poet", 30.0)
    talk.wait(31.0)
    talk.plan()
    talk.end(call)
    talk.act("Ann", 5000.0, Clock.SECONDS)
    talk.plan()
    assert not any(isinstance(one, DropAdapter) for one in talk.plan())


def test_an_adapter_that_is_assigned_is_not_let_go() -> None:
    talk = _adapters()
    talk.assign("Ann", "poet")
    talk.settle(talk.report(pools=SLOTS, memories={lora("poet"): (100, 0)}))
    _let_go(talk, "poet")
    _let_go(talk, "unheard")
    _ask_for(talk, "unheard")
    assert (talk.controller.sizes()["unwanted_adapters"], talk.controller.totals().refused) == (0, 3)


def test_who_asks_for_an_adapter_anew_takes_back_that_it_be_let_go() -> None:
    talk = _adapters()
    talk.settle(talk.report(pools=SLOTS, memories={lora("poet"): (0, 100)}))
    _let_go(talk, "poet")
    _ask_for(talk, "poet")
    assert not any(isinstance(one, DropAdapter) for one in talk.plan())


def test_an_engine_without_slots_gets_adapters_to_its_host_memory() -> None:
    talk = Conversation()
    talk.find(features=LORAS)
    talk.find(EngineId("plain"))
    assert talk.controller.adapter_places() == {GPU: Place.HOST}


def test_an_adapter_that_was_asked_for_stands_first_in_the_order() -> None:
    talk = _adapters()
    talk.call("Ann", adapter="clerk")
    talk.act("Ann", 50.0, Clock.SECONDS)
    _ask_for(talk, "poet")
    (order,) = (one for one in talk.plan() if isinstance(one, Order))
    assert order.adapters == ((key("poet"), 0.0), (key("clerk"), 50.0))

from __future__ import annotations

from scalesim.proxy.core.actions import Action, DropAdapter, FetchAdapter, Load, Order, Pin, StopLoad, Unpin
from scalesim.proxy.core.model import KV_PREFIX, Clock, EngineId

from .conversation import GPU, HOST_TIER, LORAS, Conversation, key, pool, prefix


def _why(talk: Conversation, actions: list[Action], kind: type[Action]) -> str:
    (action,) = (one for one in actions if isinstance(one, kind))
    return talk.controller.why(action)


def _away(missing: int = 500) -> Conversation:
    """Ann's memory is in host memory alone."""
    talk = Conversation()
    talk.find(features=HOST_TIER)
    talk.call("Ann")
    talk.wait(10.0)
    talk.plan()
    talk.report(pools=[pool(KV_PREFIX, free=500)], memories={prefix("Ann"): (0, missing)})
    return talk


def test_an_order_says_by_which_policy_and_who_is_nearest() -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann")
    talk.wait(10.0)
    talk.plan()
    talk.hint(Clock.SECONDS, Ann=30.0)
    assert _why(talk, talk.plan(), Order) == "nearest_first of 1 agents, town/Ann the nearest at 30"
    talk.hint(Clock.SECONDS, Ann=float("inf"))
    assert _why(talk, talk.plan(), Order) == "nothing is to be ordered by nearest_first: recency decides"


def test_a_pin_says_of_whom_it_is_and_so_does_its_end() -> None:
    talk = Conversation()
    talk.find()
    talk.call("Ann")
    assert _why(talk, talk.plan(), Pin) == "town/Ann: in an activation"
    talk.act("Ann", 100.0, Clock.SECONDS)
    said = "town/Ann: no longer in an activation, or the room is for others"
    assert _why(talk, talk.plan(), Unpin) == said


def test_a_load_says_for_whom_it_is_and_how_that_is_known() -> None:
    talk = _away()
    talk.hint(Clock.SECONDS, Ann=20.0)
    said = "town/Ann is expected in 20 s (hinted); to be copied"
    loads = talk.tick()
    assert _why(talk, loads, Load) == said
    talk.hint(Clock.SECONDS, Ann=2000.0)
    assert _why(talk, talk.tick(), StopLoad) == "nobody is expected to need it soon any more"


def test_moves_of_adapters_say_who_needs_them() -> None:
    talk = Conversation()
    talk.find(features=LORAS, slots=4)
    talk.register("pirate")
    talk.assign("Ann", "pirate")
    actions = talk.plan()
    assert _why(talk, actions, FetchAdapter) == "it is assigned to 1 agents"
    talk.forget_adapter("pirate")
    assert _why(talk, talk.plan(), DropAdapter) == "it was forgotten, or another version took its place"
    assert talk.controller.why(FetchAdapter(GPU, key("poet"), "/poet")) == "an agent on it is expected soon"


def test_what_became_of_an_engine_that_was_removed_is_said() -> None:
    talk = Conversation()
    assert talk.controller.why(Order(EngineId("gone"), ())) == "its engine was removed meanwhile"

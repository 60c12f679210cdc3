from __future__ import annotations

from scalesim.proxy.core.actions import Action, Evict, Load, Order, Pin, Renew, StopLoad, Unpin
from scalesim.proxy.core.events import Settled
from scalesim.proxy.core.model import KV_PREFIX, EngineId, LoadResult, LoadState, MemoryId, Owner
from scalesim.proxy.dashboard.actions import KEPT, Log

ENGINE = EngineId("engine-0")
ANN = MemoryId(KV_PREFIX, "town/Ann")


def told(action: Action, error: str | None = None, result: LoadResult | None = None) -> list[object]:
    log = Log()
    log.note(Settled(7.0, action, error, result))
    entries = log.since(0)
    return entries[0] if entries else []


def test_an_order_says_who_calls_first_and_who_leaves_first() -> None:
    order = Order(ENGINE, ((Owner("town/Ann"), 0.0), (Owner("town/Bob"), 3.0)))
    why = "town/Ann calls first, town/Bob last: the farthest leaves first"
    assert told(order) == [1, 7.0, "engine-0", "order", "2 agents", why, "done", False]


def test_a_load_says_when_its_agent_calls_and_how_it_ended() -> None:
    load = Load(ENGINE, ANN, 2.25, 5.0)
    ended = told(load, result=LoadResult(LoadState.LOADED, 12_000_000))
    assert ended[3:7] == [
        *("load", "town/Ann"),
        "calls in about 2.2 s; to be copied to the device before that",
        "on the device now (12.0 MB moved)",
    ]
    assert told(load, result=LoadResult(LoadState.NO_ROOM))[6] == "no room: all that is there is nearer"


def test_a_failure_says_why() -> None:
    assert told(Load(ENGINE, ANN, 2.0, 5.0), "timed out")[6:] == ["timed out", True]


def test_of_many_the_first_are_named() -> None:
    pinned = told(Pin(ENGINE, tuple(Owner(f"town/{one}") for one in "ABCDE")))
    assert pinned[4] == "town/A, town/B, town/C and 2 more"


def test_every_action_has_a_reason_but_for_what_is_only_said_again() -> None:
    actions: list[Action] = [
        Order(ENGINE, ()),
        Order(ENGINE, ((Owner("town/Ann"), 0.0),), by_recency=True),
        Unpin(ENGINE, (Owner("town/Ann"),)),
        Evict(ENGINE, (Owner("town/Ann"),)),
        StopLoad(ENGINE, ANN),
    ]
    assert all(told(action)[5] for action in actions)
    assert told(Renew(ENGINE)) == []


def test_only_the_last_are_kept_and_those_after_a_number_are_told() -> None:
    log = Log()
    for _ in range(KEPT + 20):
        log.note(Settled(7.0, StopLoad(ENGINE, ANN)))
    assert len(log.since(0)) == KEPT
    assert [one[0] for one in log.since(log.number - 2)] == [log.number - 1, log.number]

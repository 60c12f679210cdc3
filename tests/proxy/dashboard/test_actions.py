from __future__ import annotations

from scalesim.proxy.action_log import ActionLog
from scalesim.proxy.core.actions import Action, FetchAdapter, Load, Order, Pin, Renew
from scalesim.proxy.core.model import (
    KV_PREFIX,
    AdapterName,
    EngineId,
    LoadResult,
    LoadState,
    MemoryId,
    Owner,
)
from scalesim.proxy.dashboard.actions import row
from scalesim.proxy.dispatch import Outcome

ENGINE = EngineId("engine-0")
ANN = MemoryId(KV_PREFIX, "town/Ann")
DONE = Outcome("done")


def told(action: Action, outcome: Outcome = DONE) -> list[object]:
    now = [7.0]
    log = ActionLog(lambda: now[0], lambda action: "somebody near needs it")
    log.asked(action)
    now[0] = 7.5
    log.ended(action, outcome)
    (entry,) = log.ended_after(0)
    return row(entry)


def ended(state: LoadState, moved_bytes: int = 0) -> Outcome:
    return Outcome("done", None, LoadResult(state, moved_bytes))


def test_a_row_says_what_was_done_when_for_whom_and_why() -> None:
    order = Order(ENGINE, ((Owner("town/Ann"), 0.0), (Owner("town/Bob"), 3.0)))
    why = "somebody near needs it"
    assert told(order) == [1, 7.5, "engine-0", "order", "2 agents", why, "done", False]
    assert told(Order(ENGINE, ((Owner("town/Ann"), 0.0),)))[4] == "1 agent"
    assert told(Order(ENGINE, ()))[4] == "nobody"
    assert told(FetchAdapter(ENGINE, AdapterName("pirate"), "/adapters/pirate"))[3:5] == [
        *("fetchadapter", "pirate")
    ]


def test_a_load_says_how_it_ended_and_what_it_moved() -> None:
    load = Load(ENGINE, ANN, 2.25, 5.0)
    assert told(load, ended(LoadState.LOADED, 12_000_000))[6] == "on the device now (12.0 MB moved)"
    assert told(load, ended(LoadState.NO_ROOM))[6] == "no room: all that is there is nearer"
    assert all(told(load, ended(state))[6] != state.value for state in LoadState)


def test_a_failure_says_why() -> None:
    assert told(Load(ENGINE, ANN, 2.0, 5.0), Outcome("timeout", "no answer"))[6:] == ["no answer", True]
    assert told(Renew(ENGINE), Outcome("timeout", "no answer"))[3:5] == ["renew", "nobody"]


def test_of_many_the_first_are_named() -> None:
    pinned = told(Pin(ENGINE, tuple(Owner(f"town/{one}") for one in "ABCDE")))
    assert pinned[4] == "town/A, town/B, town/C and 2 more"
    many = told(Pin(ENGINE, tuple(Owner(f"town/{one}") for one in range(40))))
    assert many[4] == "town/0, town/1, town/2 and 37 more"

from __future__ import annotations

from scalesim.proxy.action_log import LATEST, ActionLog, Entry
from scalesim.proxy.core.actions import Action, Load, Order, Pin, Renew
from scalesim.proxy.core.model import KV_PREFIX, EngineId, LoadResult, LoadState, MemoryId, Owner
from scalesim.proxy.dispatch import Outcome

GPU = EngineId("gpu")
ANN = MemoryId(KV_PREFIX, "town/Ann")


def log(kept: int = 4) -> tuple[ActionLog, list[float]]:
    now = [10.0]
    return ActionLog(lambda: now[0], lambda action: f"because of a {type(action).__name__}", kept=kept), now


def test_an_action_is_kept_with_its_reason_and_its_end() -> None:
    kept, now = log()
    load = Load(GPU, ANN, 2.5, 9.0)
    kept.asked(load)
    (entry,) = kept
    assert (entry.kind, entry.memories, entry.count, entry.distance) == ("load", (ANN,), 1, 2.5)
    assert (entry.at, entry.why, entry.result, entry.took_s) == (10.0, "because of a Load", "", None)
    now[0] = 10.5
    kept.ended(load, Outcome("done", None, LoadResult(LoadState.NO_ROOM)))
    assert (entry.result, entry.error, entry.took_s) == ("no_room", "", 0.5)


def test_what_failed_says_why() -> None:
    kept, _ = log()
    pin = Pin(GPU, (Owner("town/Ann"), Owner("town/Bob")))
    kept.asked(pin)
    kept.ended(pin, Outcome("refused", "not done here"))
    (entry,) = kept
    assert (entry.count, entry.result, entry.error) == (2, "refused", "not done here")


def test_two_equal_actions_are_two() -> None:
    kept, _ = log()
    one, other = Order(GPU, ((Owner("town/Ann"), 1.0),)), Order(GPU, ((Owner("town/Ann"), 1.0),))
    assert one == other
    for action in (one, other):
        kept.asked(action)
    kept.ended(other, Outcome("done"))
    assert [(entry.number, entry.count, entry.result) for entry in kept] == [(2, 1, "done"), (1, 1, "")]


def test_renewals_are_kept_only_where_they_failed() -> None:
    kept, _ = log()
    renewals = [Renew(GPU) for _ in range(3)]
    for renewal, result in zip(renewals, ("done", "timeout", "superseded"), strict=True):
        kept.asked(renewal)
        kept.ended(renewal, Outcome(result, None if result == "done" else "why not"))
    assert [(entry.kind, entry.result) for entry in kept] == [("renew", "timeout")]
    assert kept.sizes() == {"logged_actions": 1, "logged_actions_under_way": 0}


def test_the_last_of_them_are_kept_the_newest_first() -> None:
    kept, _ = log(kept=2)
    actions: list[Action] = [Pin(GPU, (Owner(f"town/{name}"),)) for name in "abc"]
    for action in actions:
        kept.asked(action)
    found: list[Entry] = list(kept)
    assert [entry.memories[0].key for entry in found] == ["town/c", "town/b"]
    kept.ended(actions[0], Outcome("done"))
    assert kept.sizes() == {"logged_actions": 2, "logged_actions_under_way": 2}


def test_who_follows_it_is_told_of_each_end_once_and_of_the_latest_alone() -> None:
    kept, _ = log(kept=500)
    one, other = (Pin(GPU, (Owner(f"town/{name}"),)) for name in "ab")
    for action in (one, other):
        kept.asked(action)
    assert kept.ended_after(0) == []
    for action in (other, one):
        kept.ended(action, Outcome("done"))
    assert [entry.memories[0].key for entry in kept.ended_after(0)] == ["town/b", "town/a"]
    seen = kept.ends
    renewal = Renew(GPU)
    kept.asked(renewal)
    kept.ended(renewal, Outcome("done"))
    assert kept.ended_after(seen) == [], "it says nothing new"
    for _ in range(LATEST + 10):
        action = Order(GPU, ())
        kept.asked(action)
        kept.ended(action, Outcome("done"))
    latest = [entry.end for entry in kept.ended_after(seen)]
    assert latest == list(range(seen + 11, seen + LATEST + 11))

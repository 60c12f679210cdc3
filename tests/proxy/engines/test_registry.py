from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.model import EngineId
from scalesim.proxy.engines.registry import (
    Added,
    Address,
    CameUp,
    Change,
    Drains,
    EngineRejected,
    FrontOf,
    NameTaken,
    Registry,
    RegistryFull,
    Removed,
    State,
    WentSilent,
)

A, B = EngineId("a"), EngineId("b")
AT_A, AT_B = Address(A, "http://a:30000"), Address(B, "http://b:30000")


def _state(registry: Registry, engine: EngineId) -> State | None:
    entry = registry.get(engine)
    return None if entry is None else entry.state


def test_an_engine_is_used_once_it_has_answered() -> None:
    registry = Registry()
    assert registry.register(AT_A, 0.0) == [Added(AT_A)]
    assert (_state(registry, A), registry.usable) == (State.STARTING, frozenset())
    assert registry.answered(A, "1", 1.0) == [CameUp(A, "1", restarted=False)]
    assert (_state(registry, A), registry.usable) == (State.UP, {A})
    assert registry.answered(A, "1", 2.0) == [], "it is no news that it is up"


def test_who_registers_an_engine_may_do_so_again_and_again() -> None:
    registry = Registry()
    registry.register(AT_A, 0.0)
    registry.answered(A, "1", 1.0)
    assert registry.register(Address(A, "http://A:30000/"), 2.0) == []
    assert registry.usable == {A}
    assert registry.sizes() == {"registered_engines": 1}


def test_one_silence_is_none_yet() -> None:
    registry = Registry(patience=2)
    registry.register(AT_A, 0.0)
    registry.answered(A, "1", 0.0)
    assert registry.silent(A, 1.0) == []
    assert registry.answered(A, "1", 2.0) == []
    assert registry.silent(A, 3.0) == []
    assert registry.usable == {A}
    assert registry.silent(A, 4.0) == [WentSilent(A)]
    assert (_state(registry, A), registry.usable) == (State.LOST, frozenset())
    assert registry.silent(A, 5.0) == [], "it is no news that it is lost"
    assert registry.answered(A, "1", 6.0) == [CameUp(A, "1", restarted=False)]


def test_a_restart_is_told_by_the_boot_id_even_if_nobody_saw_it_go() -> None:
    registry = Registry()
    registry.register(AT_A, 0.0)
    registry.answered(A, "1", 0.0)
    assert registry.answered(A, "2", 1.0) == [CameUp(A, "2", restarted=True)]
    assert registry.usable == {A}


def test_an_engine_that_is_removed_takes_no_new_calls_and_leaves_with_its_last() -> None:
    registry = Registry()
    registry.register(AT_A, 0.0)
    registry.answered(A, "1", 0.0)
    assert registry.remove(A, 1.0, running=2) == [Drains(A)]
    assert registry.usable == frozenset()
    assert registry.answered(A, "1", 2.0) == []
    assert registry.remove(A, 2.0, running=1) == []
    assert registry.drained(A) == [Removed(A)]
    assert (len(registry), registry.drained(A), registry.remove(A, 3.0)) == (0, [], [])


def test_an_engine_without_calls_leaves_at_once() -> None:
    registry = Registry()
    registry.register(AT_A, 0.0)
    registry.answered(A, "1", 0.0)
    assert registry.remove(A, 1.0) == [Removed(A)]
    assert registry.usable == frozenset()


def test_draining_ends_in_time() -> None:
    registry = Registry(drain_s=60.0)
    registry.register(AT_A, 0.0)
    registry.answered(A, "1", 0.0)
    registry.remove(A, 1.0, running=1)
    assert registry.tidy(60.9) == []
    assert registry.tidy(61.0) == [Removed(A)]


def test_draining_ends_when_it_is_registered_again() -> None:
    registry = Registry(drain_s=60.0)
    registry.register(AT_A, 0.0)
    registry.answered(A, "1", 0.0)
    registry.remove(A, 1.0, running=1)
    assert registry.register(AT_A, 2.0) == []
    assert registry.answered(A, "1", 3.0) == [CameUp(A, "1", restarted=False)]
    assert (registry.tidy(99.0), registry.drained(A), registry.usable) == ([], [], {A})


def test_two_engines_share_neither_name_nor_address() -> None:
    registry = Registry()
    registry.register(AT_A, 0.0)
    with pytest.raises(NameTaken, match="http://a:30000"):
        registry.register(Address(A, "http://other:30000"), 1.0)
    with pytest.raises(NameTaken, match="counted twice"):
        registry.register(Address(B, "http://a:30000"), 1.0)
    assert registry.sizes() == {"registered_engines": 1}


def test_there_are_only_so_many() -> None:
    registry = Registry(limit=1)
    registry.register(AT_A, 0.0)
    with pytest.raises(RegistryFull, match="1 engines"):
        registry.register(AT_B, 0.0)
    registry.remove(A, 1.0)
    registry.register(AT_B, 2.0)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a:30000",
        "ftp://a",
        "file:///etc/passwd",
        "http://",
        "http://a:0",
        "http://a:99999",
        "http://a:x",
        "http://user:secret@a",
        "http://a?x=1",
        "http://a#x",
        "http://a b",
        "http://a\r\nHost: b",
        "http://a\\b",
        "http://ä",
        "http://[::1",
        f"http://{'a' * 3000}",
    ],
)
def test_an_address_that_is_none_of_an_engine_is_refused(url: str) -> None:
    with pytest.raises(EngineRejected, match="no address of an engine"):
        Registry().register(Address(A, url), 0.0)


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "ä", "a\n", "x" * 65])
def test_a_name_that_would_be_unclear_is_refused(name: str) -> None:
    with pytest.raises(EngineRejected, match="no name for an engine"):
        Registry().register(Address(EngineId(name), "http://a"), 0.0)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_a_weight_that_means_nothing_is_refused(weight: float) -> None:
    with pytest.raises(EngineRejected, match="above 0"):
        Registry().register(Address(A, "http://a", weight), 0.0)


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("HTTP://A:80/", "http://a"),
        ("https://a:443", "https://a"),
        ("http://a:443/engine/", "http://a:443/engine"),
        ("http://[::1]:30000", "http://[::1]:30000"),
    ],
)
def test_an_address_has_one_form(url: str, same: str) -> None:
    assert Registry().register(Address(A, url), 0.0) == [Added(Address(A, same))]


def test_of_engines_that_nobody_registered_nothing_is_learned() -> None:
    registry = Registry()
    assert (registry.answered(A, "1", 0.0), registry.silent(A, 0.0)) == ([], [])
    assert registry.sizes() == {"registered_engines": 0}


_STEP = st.tuples(
    st.sampled_from(["register", "remove", "drained", "answered", "restarted", "silent", "tidy"]),
    st.sampled_from([A, B]),
    st.integers(0, 2),
)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_STEP, max_size=60))
def test_events_alone_tell_which_engines_may_be_used(steps: list[tuple[str, EngineId, int]]) -> None:
    registry, usable, there, boots = Registry(drain_s=5.0), set(), set(), {A: 1, B: 1}
    for number, (what, engine, running) in enumerate(steps):
        at = float(number)
        changes: list[Change] = []
        match what:
            case "register":
                changes = registry.register(AT_A if engine == A else AT_B, at)
            case "remove":
                changes = registry.remove(engine, at, running=running)
            case "drained":
                changes = registry.drained(engine)
            case "answered" | "restarted":
                boots[engine] += what == "restarted"
                changes = registry.answered(engine, str(boots[engine]), at)
            case "silent":
                changes = registry.silent(engine, at)
            case "tidy":
                changes = registry.tidy(at)
        for change in changes:
            match change:
                case Added(address=address):
                    there.add(address.name)
                case CameUp(engine=one):
                    usable.add(one)
                case WentSilent(engine=one) | Drains(engine=one):
                    usable.discard(one)
                case Removed(engine=one):
                    usable.discard(one)
                    there.remove(one)
        assert registry.usable == usable
        assert {entry.address.name for entry in registry} == there


def front(name: EngineId, url: str, *engines: str, kind: str = "smg") -> Address:
    return Address(name, url, front=FrontOf(kind, engines))


def test_addresses_behind_a_front_end_have_one_form_too() -> None:
    registry = Registry()
    (added,) = registry.register(front(A, "http://F:80/", "http://GPU:1/"), 0.0)
    assert added == Added(front(A, "http://f", "http://gpu:1"))


@pytest.mark.parametrize(
    "second",
    [
        Address(B, "http://gpu:1"),
        front(B, "http://g", "http://gpu:1"),
        front(B, "http://gpu:1"),
        Address(B, "http://f"),
    ],
)
def test_an_engine_behind_a_front_end_is_nobody_else_s(second: Address) -> None:
    """Two lines of command to one engine would outrank each other."""
    registry = Registry()
    registry.register(front(A, "http://f", "http://gpu:1"), 0.0)
    with pytest.raises(NameTaken, match="is registered as 'a'"):
        registry.register(second, 0.0)


@pytest.mark.parametrize("twice", ["http://f", "http://gpu:1/"])
def test_a_front_end_names_each_address_once(twice: str) -> None:
    with pytest.raises(EngineRejected, match="names an address twice"):
        Registry().register(front(A, "http://f", "http://gpu:1", twice), 0.0)


def test_what_is_behind_a_front_end_is_changed_by_removing_it_first() -> None:
    registry = Registry()
    registry.register(front(A, "http://f", "http://gpu:1"), 0.0)
    assert registry.register(front(A, "http://f", "http://gpu:1"), 1.0) == []
    for other in (front(A, "http://f"), Address(A, "http://f")):
        with pytest.raises(NameTaken, match="other engines behind it"):
            registry.register(other, 2.0)

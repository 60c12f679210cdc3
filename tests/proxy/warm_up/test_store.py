"""The store of prefixes: what it keeps, and that it stays within its bytes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core.model import AdapterName, Owner, SimulationId
from scalesim.proxy.warm_up.prefixes import Learned
from scalesim.proxy.warm_up.store import PrefixStore

ANN, BOB = Owner("town/Ann"), Owner("town/Bob")


def text(name: str, size: int) -> str:
    draw = Random(name)
    return "".join(draw.choice("abcdefghijklmnopqrstuvwxyz ") for _ in range(size))


def call(
    store: PrefixStore, owner: Owner, name: str, size: int = 1_000, adapter: AdapterName | None = None
) -> None:
    body = {"text": text(name, size)} | ({} if adapter is None else {"lora_path": adapter})
    store.remember(owner, "/generate", body, size // 4, adapter)


def test_a_prefix_is_kept_with_what_its_cache_depends_on() -> None:
    store = PrefixStore(1_000_000)
    messages = [{"role": "user", "content": text("a", 300)}]
    store.remember(
        ANN, "/v1/chat/completions", {"model": "m:ad", "messages": messages, "cache_salt": "s"}, 90
    )
    (prefix,) = store.prefixes_of(ANN)
    assert (prefix.path, prefix.fields) == ("/v1/chat/completions", {"model": "m:ad", "cache_salt": "s"})
    assert prefix.text == b"\0user\0" + text("a", 300).encode()
    assert store.prefixes_of(BOB) == []


def test_what_cannot_be_warmed_up_leaves_no_trace() -> None:
    store = PrefixStore(1_000_000)
    store.remember(ANN, "/generate", {"input_ids": [1, 2, 3]}, 3)
    assert store.sizes() == {
        "warm_up_owners": 0,
        "warm_up_templates": 0,
        "warm_up_bytes": 0,
        "warm_up_evictions": 0,
    }


def test_texts_are_kept_packed() -> None:
    store = PrefixStore(1_000_000)
    store.remember(ANN, "/generate", {"text": "the same words " * 2_000}, 6_000)
    assert store.sizes()["warm_up_bytes"] < 6_000


def test_the_owner_longest_unused_goes_first() -> None:
    store = PrefixStore(6_000)
    call(store, ANN, "a")
    call(store, BOB, "b")
    assert store.prefixes_of(ANN)
    call(store, Owner("town/Cleo"), "c")
    assert store.prefixes_of(BOB) == []
    assert store.prefixes_of(ANN)
    assert store.evictions == store.sizes()["warm_up_evictions"] == 1


def test_an_owner_too_large_for_the_store_is_not_kept() -> None:
    store = PrefixStore(6_000)
    call(store, ANN, "a", 20_000)
    assert store.sizes()["warm_up_bytes"] == 0


def test_only_the_texts_of_near_agents_stay() -> None:
    store = PrefixStore(1_000_000)
    call(store, ANN, "a")
    call(store, BOB, "b")
    before = store.sizes()["warm_up_bytes"]
    store.keep_only({ANN})
    assert store.prefixes_of(ANN)
    assert store.prefixes_of(BOB) == []
    assert store.sizes()["warm_up_bytes"] < before


def test_owners_without_texts_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store = PrefixStore(1_000_000)
    dropped: list[Learned] = []
    monkeypatch.setattr(Learned, "drop_texts", _noting(dropped, Learned.drop_texts))
    call(store, ANN, "a")
    store.keep_only({BOB})
    store.keep_only({BOB})
    assert len(dropped) == 1
    call(store, ANN, "a")
    store.keep_only({BOB})
    assert len(dropped) == 2


def _noting(seen: list[Learned], drop: Callable[[Learned], None]) -> Callable[[Learned], None]:
    def drop_texts(learned: Learned) -> None:
        seen.append(learned)
        drop(learned)

    return drop_texts


PIRATE, POET = AdapterName("pirate"), AdapterName("poet")


def adapters_of(store: PrefixStore, owner: Owner) -> set[object]:
    return {prefix.fields.get("lora_path") for prefix in store.prefixes_of(owner)}


def test_of_an_owner_only_what_ran_on_its_adapter_stays() -> None:
    store = PrefixStore(1_000_000)
    call(store, ANN, "a")
    call(store, ANN, "a", adapter=PIRATE)
    assert adapters_of(store, ANN) == {None, "pirate"}
    assert store.keep_adapter(ANN, PIRATE)
    assert adapters_of(store, ANN) == {"pirate"}
    assert not store.keep_adapter(ANN, PIRATE)
    assert not store.keep_adapter(BOB, PIRATE)
    assert store.keep_adapter(ANN, None)
    assert store.sizes()["warm_up_bytes"] == store.sizes()["warm_up_owners"] == 0


def test_what_ran_on_an_adapter_can_be_forgotten_of_all() -> None:
    store = PrefixStore(1_000_000)
    call(store, ANN, "a", adapter=PIRATE)
    call(store, ANN, "b", adapter=POET)
    call(store, BOB, "b", adapter=POET)
    assert store.forget_adapters(lambda one: one == POET) == [ANN, BOB]
    assert (adapters_of(store, ANN), adapters_of(store, BOB)) == ({"pirate"}, set())
    assert store.forget_adapters(lambda one: one == POET) == []
    call(store, BOB, "b")
    assert store.forget_adapters(lambda one: True) == [ANN]
    assert adapters_of(store, BOB) == {None}


def test_a_simulation_is_forgotten_alone() -> None:
    store = PrefixStore(1_000_000)
    for owner in (ANN, BOB, Owner("town2/Ann")):
        call(store, owner, owner)
    store.forget_simulation(SimulationId("town"))
    assert [bool(store.prefixes_of(owner)) for owner in (ANN, BOB, Owner("town2/Ann"))] == [
        False,
        False,
        True,
    ]
    store.forget(Owner("town2/Ann"))
    store.forget(Owner("town2/Ann"))
    assert store.sizes()["warm_up_bytes"] == store.sizes()["warm_up_owners"] == 0


def test_a_size_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="max_bytes: -1"):
        PrefixStore(-1)


OWNERS = st.sampled_from([Owner(f"s/{n}") for n in range(5)])
STEPS = st.one_of(
    st.tuples(st.just("call"), OWNERS, st.sampled_from("abcdef"), st.integers(0, 4_000)),
    st.tuples(st.sampled_from(["forget", "read", "keep"]), OWNERS, st.just(""), st.just(0)),
)


@given(st.integers(0, 20_000), st.lists(STEPS, max_size=40))
def test_it_never_holds_more_than_it_may_and_counts_right(
    max_bytes: int, steps: list[tuple[str, Owner, str, int]]
) -> None:
    store = PrefixStore(max_bytes)
    for step, owner, name, size in steps:
        match step:
            case "call":
                call(store, owner, name, size)
            case "forget":
                store.forget(owner)
            case "read":
                store.prefixes_of(owner)
            case "keep":
                store.keep_only({owner})
        sizes = store.sizes()
        assert 0 <= sizes["warm_up_bytes"] <= max_bytes
        assert sizes["warm_up_owners"] <= 5
        kept = sum(len(prefix.text) for n in range(5) for prefix in store.prefixes_of(Owner(f"s/{n}")))
        assert bool(sizes["warm_up_bytes"]) or not kept
    for n in range(5):
        store.forget(Owner(f"s/{n}"))
    assert store.sizes()["warm_up_bytes"] == 0

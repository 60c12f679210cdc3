from __future__ import annotations

import pytest

from scalesim.proxy.core.actions import Load, Order, Pin, Unpin
from scalesim.proxy.core.model import KV_PREFIX, LoadState, MemoryId, Owner
from scalesim.workloads.bench_core import engine as engines
from scalesim.workloads.bench_core.engine import ENGINE, MEMORY_BYTES, Engine

ANN, BOB, CEM = map(Owner, ("town/Ann", "town/Bob", "town/Cem"))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """With room for two, and one on the host."""
    monkeypatch.setattr(engines, "MEMORIES", 2)
    monkeypatch.setattr(engines, "EVICTED", 1)
    monkeypatch.setattr(engines, "HOST_MEMORIES", 1)
    return Engine()


def _on_device(engine: Engine) -> dict[str, bool]:
    return {memory.key: bool(told.device_bytes) for memory, told in engine.looked_at().memories.items()}


def test_without_an_order_who_was_used_longest_ago_leaves(engine: Engine) -> None:
    for owner in (ANN, BOB, ANN, CEM):
        engine.use(owner)
    assert _on_device(engine) == {ANN: True, CEM: True, BOB: False}
    engine.use(BOB)
    assert _on_device(engine) == {CEM: True, BOB: True, ANN: False}


def test_with_an_order_the_farthest_leaves(engine: Engine) -> None:
    engine.do(Order(ENGINE, ((ANN, 1.0), (CEM, 2.0), (BOB, 3.0))))
    for owner in (ANN, BOB, CEM):
        engine.use(owner)
    assert _on_device(engine) == {ANN: True, CEM: True, BOB: False}


def test_a_load_brings_back_what_the_host_has(engine: Engine) -> None:
    for owner in (ANN, BOB, CEM):
        engine.use(owner)

    def load(owner: Owner) -> tuple[LoadState, int]:
        result = engine.do(Load(ENGINE, MemoryId(KV_PREFIX, owner), 0.0, 1.0))
        assert result is not None
        return result.state, result.moved_bytes

    assert load(ANN) == (LoadState.LOADED, MEMORY_BYTES)
    assert load(ANN) == (LoadState.RESIDENT, 0)
    assert load(Owner("town/Dee")) == (LoadState.ABSENT, 0)


def test_it_reports_its_room_and_pins(engine: Engine) -> None:
    engine.use(ANN)
    engine.do(Pin(ENGINE, (ANN, BOB)))
    engine.do(Unpin(ENGINE, (BOB,)))
    report = engine.looked_at()
    assert report.pinned_owners == {ANN}
    (pool,) = report.pools
    assert (pool.capacity_bytes, pool.free_bytes) == (2 * MEMORY_BYTES, MEMORY_BYTES)

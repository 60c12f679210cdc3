import pytest

from scalesim.proxy.core import residency
from scalesim.proxy.core.kinds import EngineView
from scalesim.proxy.core.model import EngineReport, MemoryId, MemoryReport, Pool
from scalesim.proxy.core.residency import Residency

from .conversation import lora, pool, prefix

ANN, BOB, CEM = prefix("Ann"), prefix("Bob"), prefix("Cem")


def _report(
    memories: dict[MemoryId, tuple[int, int]], *pools: Pool, capacity_tokens: int = 100
) -> EngineReport:
    known = {memory: MemoryReport(*sizes) for memory, sizes in memories.items()}
    return EngineReport("boot-1", True, frozenset(), 0, capacity_tokens, pools or (pool(free=500),), known)


def test_the_last_report_counts_and_says_whether_it_changed_anything() -> None:
    known = Residency()
    assert known.learn(_report({ANN: (10, 20)}))
    assert not known.learn(_report({ANN: (10, 20)}))
    assert known.learn(_report({ANN: (10, 0)}))
    assert known.learn(_report({}))
    assert known.memories == {}


def test_sizes_are_learned_from_reports() -> None:
    known = Residency()
    known.learn(_report({lora("poet"): (0, 40), lora("clerk"): (50, 0)}))
    assert known.view == EngineView(bytes_per_token=10, adapter_bytes=50)
    known.learn(_report({}, pool("lora", free=0)))
    assert known.view == EngineView()
    known.learn(_report({}, capacity_tokens=0))
    assert known.view == EngineView()


def test_what_arrives_takes_room() -> None:
    known = Residency()
    known.learn(_report({ANN: (10, 20)}, pool(free=500), pool("lora", free=100)))
    known.settle(ANN, None)
    known.use(BOB, 200)
    assert known.memories == {ANN: (30, 0), BOB: (200, 0)}
    assert [one.free_bytes for one in known.pools] == [280, 100]
    known.use(BOB, 5000)
    assert [one.free_bytes for one in known.pools] == [0, 100]


def test_before_a_report_nothing_is_believed() -> None:
    known = Residency()
    known.use(ANN, 100)
    known.host(lora("poet"), 10)
    known.compute(ANN, 100)
    assert known.memories == {}


def test_an_adapter_in_host_memory_is_not_on_the_device() -> None:
    known = Residency()
    known.learn(_report({}))
    known.host(lora("poet"), 40)
    assert known.memories == {lora("poet"): (0, 40)}
    known.settle(lora("poet"), None)
    known.host(lora("poet"), 40)
    assert known.memories == {lora("poet"): (40, 0)}
    known.drop(lora("poet"))
    assert known.memories == {}


def test_memory_without_a_copy_is_missing_when_more_than_half_of_it_is_gone() -> None:
    known = Residency()
    assert known.missing_when_computed(ANN, 100) == 100
    known.learn(_report({ANN: (49, 0)}))
    assert known.missing_when_computed(ANN, 100) == 51
    known.learn(_report({ANN: (50, 0)}))
    assert known.missing_when_computed(ANN, 100) == 0


def test_what_was_computed_as_far_as_it_can_be_is_not_computed_again_until_it_goes() -> None:
    """Of 100 bytes only 30 can be computed ahead: the rest are answers."""
    known = Residency()
    known.learn(_report({}))
    known.compute(ANN, 100)
    assert known.missing_when_computed(ANN, 100) == 0
    known.learn(_report({ANN: (30, 0)}))
    known.learn(_report({ANN: (20, 0)}))
    assert known.missing_when_computed(ANN, 100) == 0
    known.learn(_report({ANN: (14, 0)}))
    assert known.missing_when_computed(ANN, 100) == 16
    known.use(ANN, 100)
    known.learn(_report({ANN: (30, 0)}))
    assert known.missing_when_computed(ANN, 100) == 70


def test_what_went_before_any_report_showed_it_is_missing_again() -> None:
    known = Residency()
    known.learn(_report({}))
    known.compute(ANN, 100)
    assert known.learn(_report({}))
    assert known.missing_when_computed(ANN, 100) == 100
    assert not known.learn(_report({}))


def test_what_is_added_between_reports_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residency, "MEMORY_LIMIT", 1)
    known = Residency()
    known.learn(_report({ANN: (10, 20)}))
    known.use(BOB, 100)
    known.host(lora("poet"), 10)
    known.use(ANN, 100)
    assert known.memories == {ANN: (100, 0)}


def test_a_lost_engine_holds_nothing() -> None:
    known = Residency()
    known.learn(_report({ANN: (10, 20)}))
    known.forget()
    assert known == Residency()


def test_an_engine_that_does_not_tell_is_taken_to_hold_what_was_used_last() -> None:
    known = Residency()
    known.assume(100)
    assert known.view == EngineView(bytes_per_token=1)
    known.use(ANN, 60)
    known.use(BOB, 30)
    assert known.missing_when_computed(ANN, 60) == 0
    assert [pool.free_bytes for pool in known.pools] == [10]
    known.use(ANN, 65)  # it grows, and is what was used last
    known.use(CEM, 20)
    assert known.memories == {ANN: (65, 0), CEM: (20, 0)}
    assert known.reported(ANN) is None
    assert known.missing_when_computed(BOB, 30) == 30
    known.compute(BOB, 30)
    assert known.memories == {CEM: (20, 0), BOB: (30, 0)}
    assert [pool.free_bytes for pool in known.pools] == [50]


def test_adapters_are_not_among_what_is_taken_to_be_there_and_what_fits_nowhere_is_nowhere() -> None:
    known = Residency()
    known.assume(100)
    known.use(lora("poet"), 40)
    known.host(lora("poet"), 40)
    known.use(ANN, 101)
    assert known.memories == {}
    assert [pool.free_bytes for pool in known.pools] == [100]


def test_a_report_takes_the_place_of_what_was_assumed() -> None:
    known = Residency()
    known.assume(100)
    known.use(ANN, 60)
    known.learn(_report({BOB: (10, 0)}))
    known.settle(ANN, 600)
    assert known.memories == {BOB: (10, 0), ANN: (600, 0)}
    assert known.reported(BOB) == (10, 0)


def test_what_is_taken_to_be_there_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residency, "MEMORY_LIMIT", 2)
    known = Residency()
    known.assume(100)
    for memory in (ANN, BOB, CEM):
        known.use(memory, 1)
    assert known.memories == {BOB: (1, 0), CEM: (1, 0)}
    assert [pool.free_bytes for pool in known.pools] == [98]

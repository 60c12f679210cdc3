"""Loads ahead of calls: their order, what stops them, and that whoever is waited for goes first."""

from __future__ import annotations

import asyncio

import pytest

from scalesim.engine_adapters.emulated.counts import Tally
from scalesim.engine_adapters.emulated.link import SLICE_BYTES, Link
from scalesim.engine_adapters.emulated.loads import Loads
from scalesim.engine_adapters.emulated.pools import Limit, limit_of
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.anyio

KIND = "model"
SLICES = 3
SIZE = SLICES * SLICE_BYTES


class Shelf:
    """A store that notes each slice; `full`: there is room for nothing."""

    def __init__(self) -> None:
        self.missing: dict[str, int] = {}
        self.slices: list[str] = []
        self.moving: set[str] = set()
        self.full = False
        self.limits: set[Limit] = set()

    def report(self, key: str) -> tuple[int, int]:
        missing = self.missing.get(key)
        return (0, 0) if missing is None else (SIZE - missing, missing)

    def sizes_of(self, nearest: object) -> dict[str, tuple[int, int]]:
        return {key: self.report(key) for key in self.missing}

    def can_place(self, key: str, below: Limit) -> bool:
        return not self.full

    def begin_slice(self, key: str, below: Limit, most_bytes: int) -> int | None:
        if self.full:
            return None
        self.limits.add(below)
        assert not self.moving, "one slice at a time"
        moved = min(most_bytes, self.missing[key])
        self.missing[key] -= moved
        self.slices.append(key)
        self.moving.add(key)
        return moved

    def end_slice(self, key: str) -> None:
        self.moving.remove(key)


class HeldLink(Link):
    """Each slice takes until the test lets it pass."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = asyncio.Semaphore(0)

    async def slice(self, seconds: float) -> None:
        await self.passes.acquire()

    def open(self) -> None:
        for _ in range(100):
            self.passes.release()


class Bench:
    def __init__(self, link: Link | None = None) -> None:
        self.now = 0.0
        self.shelf = Shelf()
        self.shelf.missing = dict.fromkeys("abc", SIZE)
        self.link = link or Link()
        self.tally = Tally([KIND])
        self.plan: dict[str, float] = {}
        self.loads = Loads(
            {KIND: self.shelf},
            self.link,
            self.tally,
            lambda: self.now,
            lambda memory: self.plan.get(memory[1]),
        )

    def load(self, key: str, distance: float, within_s: float = 9.0) -> asyncio.Task[tuple[str, int]]:
        return asyncio.create_task(self.loads.load((KIND, key), distance, within_s))

    async def slices(self, count: int) -> None:
        """Until so many have begun."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.shelf.slices) < count:  # noqa: ASYNC110  a few turns of this loop
                await asyncio.sleep(0)

    async def under_way(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.loads.under_way) < count:  # noqa: ASYNC110  as above
                await asyncio.sleep(0)


async def test_the_nearest_is_loaded_first_and_a_nearer_one_goes_in_between() -> None:
    link = HeldLink()
    bench = Bench(link)
    far = bench.load("a", 5.0)
    await bench.slices(1)
    near, nearer = bench.load("b", 2.0), bench.load("c", 1.0)
    await bench.under_way(3)
    link.open()
    assert {await load for load in (far, near, nearer)} == {("loaded", SIZE)}
    assert bench.shelf.slices == ["a", "c", "c", "c", "b", "b", "b", "a", "a"]
    assert bench.loads.under_way == []


async def test_what_makes_room_for_a_load_is_farther_in_the_plan_if_it_is_in_there() -> None:
    bench = Bench()
    bench.plan["a"] = 7.0
    await bench.load("a", 1.0)
    assert bench.shelf.limits == {limit_of(7.0)}
    bench.shelf.limits.clear()
    await bench.load("b", 1.0)
    assert bench.shelf.limits == {limit_of(1.0)}


async def test_a_second_load_of_the_same_memory_joins_the_first() -> None:
    bench = Bench()
    first, second = bench.load("a", 5.0), bench.load("a", 1.0)
    assert await first == await second == ("loaded", SIZE)
    assert len(bench.shelf.slices) == SLICES
    assert bench.tally.of[KIND].issued == 1


async def test_a_stop_ends_a_load_after_its_slice_and_the_next_load_goes_on_from_there() -> None:
    link = HeldLink()
    bench = Bench(link)
    load = bench.load("a", 1.0)
    await bench.slices(1)
    assert bench.loads.stop((KIND, "a"))
    link.open()
    assert await load == ("stopped", SLICE_BYTES)
    assert not bench.loads.stop((KIND, "a"))
    assert await bench.load("a", 1.0) == ("loaded", SIZE - SLICE_BYTES)
    counts = bench.tally.of[KIND]
    assert (counts.issued, counts.stopped, counts.moved_bytes) == (2, 1, SIZE)


async def test_a_load_that_waits_is_stopped_at_once() -> None:
    link = HeldLink()
    bench = Bench(link)
    first, second = bench.load("a", 1.0), bench.load("b", 2.0)
    await bench.under_way(2)
    bench.loads.stop((KIND, "b"))
    assert await second == ("stopped", 0)
    link.open()
    assert await first == ("loaded", SIZE)
    assert bench.tally.of[KIND].issued == 1


async def test_a_load_whose_time_has_passed_is_stopped() -> None:
    link = HeldLink()
    bench = Bench(link)
    load = bench.load("a", 1.0, within_s=3.0)
    await bench.slices(1)
    bench.now = 3.0
    link.open()
    assert await load == ("stopped", SLICE_BYTES)


async def test_while_a_step_waits_for_the_link_no_slice_begins() -> None:
    bench = Bench()
    demand = asyncio.create_task(bench.link.demand(3600.0))
    await asyncio.sleep(0)
    load = bench.load("a", 1.0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert bench.shelf.slices == []
    demand.cancel()
    assert await load == ("loaded", SIZE)


async def test_a_step_waits_for_one_slice_and_no_more() -> None:
    bench = Bench(Link(bytes_per_s=50.0 * SLICE_BYTES))
    load = bench.load("a", 1.0)
    await bench.slices(1)
    await bench.link.demand(0.0)
    assert bench.shelf.moving == set()
    assert len(bench.shelf.slices) == 1
    assert await load == ("loaded", SIZE)


async def test_what_cannot_be_loaded_is_refused() -> None:
    bench = Bench()
    assert await bench.load("nobody", 1.0) == ("absent", 0)
    bench.shelf.full = True
    assert await bench.load("a", 1.0) == ("no_room", 0)
    bench.shelf.missing["b"] = 0
    assert await bench.load("b", 1.0) == ("resident", 0)
    counts = bench.tally.of[KIND]
    assert (counts.refused, counts.issued) == (2, 0)


async def test_a_call_is_late_once_for_a_load_and_such_a_load_was_not_used() -> None:
    link = HeldLink()
    bench = Bench(link)
    load = bench.load("a", 1.0)
    await bench.slices(1)
    assert [bench.loads.call_came((KIND, "a")) for _ in range(2)] == [True, False]
    link.open()
    await load
    bench.tally.called((KIND, "a"), late=True, was_ahead=True, brought_itself=False)
    bench.tally.called((KIND, "a"), late=False, was_ahead=True, brought_itself=False)
    counts = bench.tally.of[KIND]
    assert (counts.late, counts.used, counts.missed) == (1, 0, 0)


async def test_nobody_waits_for_a_load_of_an_engine_that_stops() -> None:
    bench = Bench(Link(bytes_per_s=1.0))
    load = bench.load("a", 1.0)
    await bench.slices(1)
    await bench.loads.close()
    assert (await load)[0] == "stopped"
    assert bench.shelf.moving == set()


def test_a_link_costs_overhead_and_bytes_or_nothing() -> None:
    assert Link(100.0, 0.5).seconds(200, loads=2) == 3.0
    assert Link(0.0, 0.5).seconds(200, loads=2) == 0.0
    assert Link(100.0, 0.5).seconds(0, loads=0) == 0.0
    with pytest.raises(ValueError, match="link_bytes_per_s"):
        Link(-1.0)


def test_a_fast_link_moves_more_at_a_time() -> None:
    assert Link(bytes_per_s=50.0 * SLICE_BYTES).slice_bytes == SLICE_BYTES
    assert Link(bytes_per_s=64e9).slice_bytes == 64_000_000

"""Tasks that wait for a place at an engine."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from scalesim.proxy.core.model import EngineId
from scalesim.proxy.data_plane.admission import Admission, Admissions, EngineFull
from scalesim.proxy.data_plane.queueing import FairQueue, Place, Ticket

pytestmark = pytest.mark.anyio


def admission(capacity: int = 1, max_waiting: int = 100, max_wait_s: float | None = None) -> Admission:
    return Admission(
        FairQueue(capacity=capacity, max_waiting=max_waiting), lambda: 0.0, max_wait_s=max_wait_s
    )


async def waiters(of: Admission, count: int) -> None:
    while of.sizes()["queue_waiters"] != count:  # noqa: ASYNC110 - nothing tells of it but the sizes
        await asyncio.sleep(0)


async def test_who_waits_is_woken_when_a_place_is_free() -> None:
    places = admission()
    first, second = places.come("a"), places.come("a")
    waiting = asyncio.create_task(places.wait(second))
    await waiters(places, 1)
    assert not waiting.done()
    places.done(first)
    await waiting
    assert second.place is Place.RUNNING
    places.done(second)
    assert set(places.sizes().values()) == {0}


async def test_who_was_given_its_place_before_it_came_to_wait_does_not_wait() -> None:
    places = admission()
    first, second = places.come("a"), places.come("a")
    places.done(first)
    await places.wait(second)
    assert second.place is Place.RUNNING


async def test_who_has_to_make_room_is_told_when_to_come_again() -> None:
    places = admission(max_waiting=2)
    _, _, last = (places.come("a") for _ in range(3))
    waiting = asyncio.create_task(places.wait(last))
    await waiters(places, 1)
    places.come("b")
    with pytest.raises(EngineFull, match="try again in") as told:
        await waiting
    assert (told.value.status, told.value.retry_after_s >= 1) == (429, True)
    places.done(last)
    with pytest.raises(EngineFull):
        places.come("b")


async def test_who_has_to_make_room_before_it_came_to_wait_is_told_too() -> None:
    places = admission(max_waiting=2)
    _, _, last = (places.come("a") for _ in range(3))
    places.come("b")
    with pytest.raises(EngineFull):
        await places.wait(last)


async def test_nobody_waits_for_longer_than_allowed() -> None:
    places = admission(max_wait_s=0)
    _, second = places.come("a"), places.come("a")
    with pytest.raises(EngineFull, match="within 0 s"):
        await places.wait(second)
    places.done(second)
    assert places.sizes()["queue_waiting"] == 0


async def test_a_place_given_to_one_who_is_being_cancelled_goes_to_the_next() -> None:
    places = admission()
    first, second, third = (places.come("a") for _ in range(3))

    async def call(ticket: Ticket) -> None:
        try:
            await places.wait(ticket)
            await asyncio.Event().wait()
        finally:
            places.done(ticket)

    tasks = [asyncio.create_task(call(ticket)) for ticket in (second, third)]
    await waiters(places, 2)
    places.done(first)  # the second is woken, but its task has not run yet
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    assert third.place is Place.RUNNING
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    assert set(places.sizes().values()) == {0}


async def test_more_capacity_wakes_who_waits() -> None:
    places = admission()
    _, second = places.come("a"), places.come("a")
    waiting = asyncio.create_task(places.wait(second))
    await waiters(places, 1)
    places.resize(2)
    await waiting


@pytest.mark.parametrize("seed", range(20))
async def test_no_waiter_is_lost_whoever_is_cancelled(seed: int) -> None:
    random, places, most = Random(seed), admission(capacity=3, max_waiting=30), 0
    running, served, full = 0, 0, 0

    async def call(simulation: str) -> None:
        nonlocal running, most, served, full
        try:
            ticket = places.come(simulation)
        except EngineFull:
            full += 1
            return
        try:
            await places.wait(ticket)
            running += 1
            most = max(most, running)
            try:
                for _ in range(random.randrange(4)):
                    await asyncio.sleep(0)
                served += 1
            finally:
                running -= 1
        except EngineFull:
            full += 1
        finally:
            places.done(ticket)

    tasks = []
    for _ in range(200):
        tasks.append(asyncio.create_task(call(random.choice("aaab"))))
        if random.random() < 0.3:
            random.choice(tasks).cancel()
        if random.random() < 0.3:
            await asyncio.sleep(0)
    _, pending = await asyncio.wait(tasks, timeout=10)
    assert not pending
    # Who was cancelled before its task began counts nowhere else.
    assert served + full + sum(task.cancelled() for task in tasks) >= len(tasks)
    assert most == 3
    assert set(places.sizes().values()) == {0}


def test_each_engine_has_a_queue_of_its_own_until_it_is_forgotten() -> None:
    all_of_them = Admissions(lambda: 0.0, capacity=1, max_waiting=10, max_wait_s=None)
    a, b = (all_of_them.of(EngineId(name)) for name in "ab")
    assert a is not None
    assert b is not None
    assert all_of_them.of(EngineId("a")) is a
    tickets = [a.come("x"), a.come("x"), b.come("x")]
    assert [ticket.place for ticket in tickets] == [Place.RUNNING, Place.WAITING, Place.RUNNING]
    assert (all_of_them.sizes()["queue_running"], all_of_them.sizes()["queue_waiting"]) == (2, 1)
    for name in "ab":
        all_of_them.forget(EngineId(name))
    assert set(all_of_them.sizes().values()) == {0}


def test_where_engines_run_whatever_comes_there_is_no_queue() -> None:
    assert Admissions(lambda: 0.0, capacity=None, max_waiting=0, max_wait_s=None).of(EngineId("a")) is None


async def test_other_limits_hold_for_queues_that_are_there() -> None:
    admissions = Admissions(lambda: 0.0, capacity=1, max_waiting=1, max_wait_s=None)
    places = admissions.of(EngineId("a"))
    assert places is not None
    places.come("a")
    waiting = places.come("b")
    with pytest.raises(EngineFull):
        places.come("b")
    admissions.configure(capacity=1, max_waiting=2, max_wait_s=0.001)
    third = places.come("b")
    with pytest.raises(EngineFull, match=r"no place at the engine within 0\.001 s"):
        await places.wait(third)
    admissions.configure(capacity=2, max_waiting=2, max_wait_s=None)
    assert waiting.place is Place.RUNNING


async def test_without_a_capacity_any_more_whoever_waits_is_sent() -> None:
    admissions = Admissions(lambda: 0.0, capacity=1, max_waiting=9, max_wait_s=None)
    places = admissions.of(EngineId("a"))
    assert places is not None
    tickets = [places.come("a") for _ in range(4)]
    admissions.configure(capacity=None, max_waiting=9, max_wait_s=None)
    assert [ticket.place for ticket in tickets] == [Place.RUNNING] * 4
    assert admissions.of(EngineId("a")) is None

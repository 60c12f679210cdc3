"""Tasks that wait for one answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scalesim.proxy.data_plane.joining import First, Joined, JoinRules, Joins, Kept, Name, Shared
from scalesim.proxy.data_plane.sharing import Sharing

pytestmark = pytest.mark.anyio

NAME = Name(b"key", b"request", is_promise=True, is_retry=False)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def sharing(clock: Time | None = None, **rules: Any) -> Sharing:
    return Sharing(Joins(JoinRules(**rules)), clock or Time())


def first(of: Sharing) -> Shared:
    came = of.come(NAME)
    assert isinstance(came, First)
    return came.call


def joined(of: Sharing) -> asyncio.Task[Kept | None]:
    came = of.come(NAME)
    assert isinstance(came, Joined)
    return asyncio.create_task(of.answer(came.call))


async def waiters(of: Sharing, count: int) -> None:
    while of.sizes()["joined_waiters"] != count:  # noqa: ASYNC110 - nothing tells of it but the sizes
        await asyncio.sleep(0)


async def test_all_who_joined_get_the_answer() -> None:
    shared = sharing()
    call = first(shared)
    retries = [joined(shared) for _ in range(3)]
    await waiters(shared, 3)
    shared.see(call, b"answer")
    shared.ended(call, 200, [])
    assert await asyncio.gather(*retries) == [Kept(200, [], b"answer")] * 3
    assert shared.sizes()["joined_waiters"] == 0


async def test_when_the_first_fails_one_of_those_who_joined_becomes_the_first() -> None:
    shared = sharing()
    call = first(shared)
    retries = [joined(shared) for _ in range(2)]
    await waiters(shared, 2)
    shared.ended(call)
    assert await asyncio.gather(*retries) == [None, None]
    again = first(shared)
    retry = joined(shared)
    await waiters(shared, 1)
    shared.ended(again, 200, [])
    assert await retry == Kept(200, [], b"")


async def test_who_joined_does_not_wait_for_an_answer_that_is_too_large() -> None:
    shared = sharing(most_answer_bytes=3)
    call = first(shared)
    retry = joined(shared)
    await waiters(shared, 1)
    shared.see(call, b"answer")
    assert await retry is None


async def test_a_call_whose_client_left_is_wanted_until_its_grace_is_over() -> None:
    clock = Time()
    shared = sharing(clock, grace_s=0.001)
    call = first(shared)
    left = asyncio.create_task(shared.until_unwanted(call))
    await waiters(shared, 1)
    assert not left.done()
    clock.now = 0.001
    await left
    assert call.runs


async def test_a_retry_that_comes_within_the_grace_keeps_the_call_and_may_leave_in_its_turn() -> None:
    clock = Time()
    shared = sharing(clock, grace_s=0.001)
    call = first(shared)
    left = asyncio.create_task(shared.until_unwanted(call))
    await waiters(shared, 1)
    retry = joined(shared)
    await waiters(shared, 2)
    clock.now = 100.0
    assert not left.done()
    retry.cancel()
    await asyncio.wait([retry])
    assert call.wanted_until == 100.001
    clock.now = 101.0
    await left


async def test_without_a_grace_it_is_wanted_by_nobody_at_once() -> None:
    shared = sharing(grace_s=0)
    call = first(shared)
    await shared.until_unwanted(call)
    assert call.runs


async def test_a_call_that_ends_within_its_grace_is_kept_for_the_retry() -> None:
    shared = sharing(grace_s=100)
    call = first(shared)
    left = asyncio.create_task(shared.until_unwanted(call))
    await waiters(shared, 1)
    shared.see(call, b"answer")
    shared.ended(call, 200, [])
    await left
    assert shared.come(NAME) == Kept(200, [], b"answer")


async def test_an_answer_that_becomes_too_large_for_nobody_is_cut_off_at_once() -> None:
    shared = sharing(grace_s=100, most_answer_bytes=3)
    call = first(shared)
    left = asyncio.create_task(shared.until_unwanted(call))
    await waiters(shared, 1)
    shared.see(call, b"answer")
    await left
    assert shared.sizes()["joined_waiters"] == 0

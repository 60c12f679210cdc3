from __future__ import annotations

import asyncio
import time

import pytest

from .patience import soon

pytestmark = pytest.mark.anyio


async def test_what_does_not_come_in_time_is_given_up() -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError, match=r"not within 0\.01 s"):
        await soon(never, 0.01)
    assert never.cancelled()


async def test_moments_in_which_the_loop_stands_still_are_no_part_of_the_limit() -> None:
    async def after_stalls() -> str:
        for _ in range(10):
            time.sleep(0.02)  # noqa: ASYNC251  the machine is away
            await asyncio.sleep(0)
        return "there"

    assert await soon(after_stalls(), 0.08) == "there"


async def test_what_was_waited_for_fails_as_it_would_have_failed_anyway() -> None:
    async def failing() -> None:
        raise LookupError("its own")

    with pytest.raises(LookupError, match="its own"):
        await soon(failing(), 1.0)

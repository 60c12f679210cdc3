from __future__ import annotations

import asyncio
import time

import pytest

from scalesim.proxy.loop_lag import EVERY_S, WINDOW_S, LoopLag
from tests.support.patience import PATIENCE_S, soon


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_late_is_noted_and_what_is_early_is_not() -> None:
    lag = LoopLag(Clock())
    lag.see(due=1.0, now=1.5)
    lag.see(due=2.0, now=1.9)
    assert lag.lags.count == 2
    assert lag.lags.total == 0.5


def test_the_worst_is_remembered_for_one_window_and_forgotten_after_two() -> None:
    clock = Clock()
    lag = LoopLag(clock)
    lag.see(due=0.0, now=0.4)
    clock.now = WINDOW_S + 1
    assert lag.worst_s() == 0.4
    clock.now = 2 * WINDOW_S + 2
    assert lag.worst_s() == 0.0


def test_after_a_long_time_without_a_look_nothing_is_known() -> None:
    clock = Clock()
    lag = LoopLag(clock)
    lag.see(due=0.0, now=0.4)
    clock.now = 10 * WINDOW_S
    assert lag.worst_s() == 0.0


@pytest.mark.anyio
@pytest.mark.slow
async def test_whatever_holds_the_loop_is_seen() -> None:
    lag = LoopLag(time.monotonic)
    watching = asyncio.create_task(lag.watch())
    held_s = 0.3
    try:
        await asyncio.sleep(0)  # it has begun to wait
        time.sleep(EVERY_S + held_s)  # noqa: ASYNC251  it is to hold the loop

        async def seen() -> None:
            while not lag.lags.count:  # noqa: ASYNC110  it tells nobody
                await asyncio.sleep(0.001)

        await soon(seen(), PATIENCE_S)
    finally:
        watching.cancel()
    assert lag.worst_s() >= held_s * 0.9

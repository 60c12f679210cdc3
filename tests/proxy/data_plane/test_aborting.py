from __future__ import annotations

import asyncio

import pytest

from scalesim.proxy.data_plane import aborting
from scalesim.proxy.data_plane.aborting import AT_ONCE, Aborts
from tests.support.fake_adapter import FakeAdapter
from tests.support.patience import PATIENCE_S, soon

pytestmark = pytest.mark.anyio


class Silent(FakeAdapter):
    """It takes what it is told, and does not answer."""

    def __init__(self) -> None:
        super().__init__(engine="silent")
        self.asked = 0
        self.open = 0

    async def abort(self, request_id: str) -> None:
        self.asked += 1
        self.open += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.open -= 1


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_engine_that_does_not_answer_holds_no_more_than_a_few_connections_and_nobody_else() -> None:
    aborts, silent, well = Aborts(timeout_s=PATIENCE_S), Silent(), FakeAdapter()
    for number in range(200):
        aborts.soon(silent, f"call-{number}")
    aborts.soon(well, "another")
    await well.until(lambda adapter: adapter.aborts == ["another"])
    await turns()
    assert silent.open == silent.asked == AT_ONCE
    assert aborts.sizes() == {"aborts_in_flight": 200}


async def test_calls_that_were_given_up_long_ago_are_not_told_any_more() -> None:
    aborts, silent = Aborts(timeout_s=0.02), Silent()
    for number in range(200):
        aborts.soon(silent, f"call-{number}")
    await soon(aborts.drained(), PATIENCE_S)
    assert silent.open == 0
    assert aborts.sizes() == {"aborts_in_flight": 0}


async def test_all_of_many_calls_are_told_to_an_engine_that_answers() -> None:
    aborts, well = Aborts(), FakeAdapter()
    for number in range(200):
        aborts.soon(well, f"call-{number}")
    await soon(aborts.drained(), PATIENCE_S)
    assert len(well.aborts) == 200


async def test_what_is_under_way_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aborting, "MOST", 10)
    aborts, silent = Aborts(timeout_s=0.02), Silent()
    for number in range(20):
        aborts.soon(silent, f"call-{number}")
    assert aborts.sizes() == {"aborts_in_flight": 10}
    await soon(aborts.drained(), PATIENCE_S)

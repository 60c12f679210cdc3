"""The proxy dies amid calls, without a word."""

from __future__ import annotations

import time

import pytest

from scalesim.workloads.checked_calls import Kind
from tests.faults.town import CALLS, Crowd, Row, Town, calls_to, leaked, under_way, until_idle

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.slow]


async def killed(town: Town, case: str, attempts: int) -> tuple[Row, float]:
    """Also: how long it took the engine to stop what ran."""
    engine = await town.engine("--decode-s-per-token", "0.1")
    proxy = await town.proxy(engine.url)
    crowd = Crowd(proxy.place, calls_to(proxy.place, tokens=60), attempts=attempts)
    asking = await under_way(crowd, engine)
    proxy.kill()
    at = time.monotonic()
    stopped_s = await until_idle(engine)
    await proxy.again(town.servers)
    back_s = time.monotonic() - at
    await asking
    row = crowd.row(case)
    row.recovered_s = back_s
    row.leaked = await leaked(proxy)
    return row, stopped_s


async def test_clients_that_ask_again_lose_nothing_when_the_proxy_is_killed_and_the_engine_stops_what_ran(
    town: Town, rows: list[Row]
) -> None:
    row, stopped_s = await killed(town, "kill -9 of the proxy, clients ask again", attempts=200)
    rows.append(row)
    assert row.lost == 0, row.told
    assert stopped_s < 1.0, "each call would have run for 6 s"
    assert not row.leaked


async def test_clients_that_do_not_ask_again_lose_their_calls_without_that_protection(town: Town) -> None:
    row, _ = await killed(town, "", attempts=1)
    assert row.lost == CALLS
    assert row.wrong == 0
    assert row.endings[Kind.LATE] == 0, "a connection that was reset is heard of at once"

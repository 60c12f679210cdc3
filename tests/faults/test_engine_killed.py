"""An engine dies amid calls, without a word."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from http import HTTPStatus

import pytest

from scalesim.proxy.settings import Settings
from scalesim.workloads.checked_calls import Kind
from tests.faults.town import (
    CALLS,
    Crowd,
    Process,
    Row,
    Town,
    all_are_right,
    calls_to,
    leaked,
    load_of,
    recovered,
    under_way,
    until,
)

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.slow]

several_engines = pytest.mark.skipif(
    not {"engines"} & {one.name for one in dataclasses.fields(Settings)},
    reason="`scalesim serve` takes one engine only",
)


async def killed(town: Town, case: str, without: str | None = None) -> Row:
    engine = await town.engine()
    proxy = await town.proxy(engine.url, without=without)
    crowd = Crowd(proxy.place, calls_to(proxy.place))
    asking = await under_way(crowd, engine)
    engine.kill()
    at = time.monotonic()
    await asking
    row = crowd.row(case)
    await engine.again(town.servers)
    row.recovered_s = await recovered(proxy.place, at)
    if without is None:
        await all_are_right(proxy.place, "afterwards")
    row.leaked = await leaked(proxy)
    return row


async def test_calls_in_a_killed_engine_fail_and_say_which_one_and_those_after_its_return_succeed(
    town: Town, rows: list[Row]
) -> None:
    row = await killed(town, "kill -9 of the only engine")
    rows.append(row)
    assert row.wrong == 0, row.told
    assert row.endings[Kind.LATE] == row.endings[Kind.UNREACHED] == 0, row.told
    # Streams had begun: nobody can take back a 200, but it has no end.
    assert row.endings[Kind.REFUSED] == row.endings[Kind.BROKEN] == CALLS // 2
    assert row.statuses == {HTTPStatus.BAD_GATEWAY: CALLS // 2}
    refusals = [one for one in row.told if one.startswith(Kind.REFUSED.value)]
    assert refusals
    assert all("engine-0" in one for one in refusals)
    assert not row.leaked


async def test_a_stream_that_broke_off_looks_whole_without_protection(town: Town) -> None:
    row = await killed(town, "", without="half_answers_are_told")
    assert row.wrong > 0


async def until_running_in(first: Process, second: Process) -> float:
    """All calls run in one of the two; how many of them in the first."""

    async def look() -> tuple[float, float]:
        return await load_of(first), await load_of(second)

    return (await until(look, lambda loads: sum(loads) >= CALLS, f"{CALLS} calls in both engines"))[0]


@several_engines
async def test_when_one_of_two_engines_is_killed_only_the_calls_in_it_fail(
    town: Town, rows: list[Row]
) -> None:
    first, second = await town.engine(), await town.engine()
    proxy = await town.proxy({"first": first.url, "second": second.url})
    crowd = Crowd(proxy.place, calls_to(proxy.place))
    asking = asyncio.create_task(crowd.run())
    in_first = await until_running_in(first, second)
    first.kill()
    at = time.monotonic()
    await asking
    row = crowd.row("kill -9 of one of two engines")
    row.recovered_s = await recovered(proxy.place, at)
    rows.append(row)
    assert 0 < in_first < CALLS
    assert row.wrong == 0, row.told
    assert row.lost <= in_first, row.told
    assert all("first" in one for one in row.told if one.startswith(Kind.REFUSED.value)), row.told
    # Who comes now is answered by the other, and nobody is asked to come again.
    await all_are_right(proxy.place, "with one engine")
    await first.again(town.servers)
    await all_are_right(proxy.place, "with both again")
    row.leaked = await leaked(proxy)
    assert not row.leaked


@several_engines
async def test_clients_that_ask_again_lose_nothing_when_one_of_two_engines_is_killed(
    town: Town, rows: list[Row]
) -> None:
    first, second = await town.engine(), await town.engine()
    proxy = await town.proxy({"first": first.url, "second": second.url})
    crowd = Crowd(proxy.place, calls_to(proxy.place), attempts=3)
    asking = asyncio.create_task(crowd.run())
    await until_running_in(first, second)
    first.kill()
    await asking
    row = crowd.row("kill -9 of one of two engines, clients ask again")
    row.leaked = await leaked(proxy)
    rows.append(row)
    assert row.lost == 0, row.told
    assert not row.leaked

"""An engine that answers garbage, half an answer, nothing, errors, or a byte a second: to calls, and to what we ask it ourselves."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from http import HTTPStatus

import pytest

from scalesim.proxy.settings import Settings
from scalesim.workloads.checked_calls import Kind
from tests.faults.hostile import Manner
from tests.faults.town import ATTEMPTS, CALLS, Crowd, Row, Town, all_are_right, calls_to, leaked, status_of

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.slow]

HALF = CALLS // 2
PATIENCE_S = 3.0
"""Of clients whose calls hang."""
LONG_S = 60.0
CASES = {
    Manner.GARBAGE: Kind.REFUSED,
    Manner.HALF: Kind.BROKEN,
    Manner.NOTHING: Kind.REFUSED,
    Manner.SILENT: Kind.LATE,
    Manner.ERROR: Kind.REFUSED,
    Manner.DRIP: Kind.LATE,
    Manner.ENDLESS_HEAD: Kind.REFUSED,
    Manner.TWO_LENGTHS: Kind.REFUSED,
    Manner.BEHIND: Kind.RIGHT,
}
"""What becomes of calls that the engine treats so."""
STATUSES = {Manner.ERROR: HTTPStatus.INTERNAL_SERVER_ERROR}
"""The engine's own; all else are a 502."""
LEFT_ALONE = HTTPStatus.SERVICE_UNAVAILABLE
"""An engine that fails so often may be left alone for a while: calls that come then are asked to come again."""


async def mixed(town: Town, manner: Manner, without: str | None = None, **limits: str) -> tuple[Row, Row]:
    """Half of the calls are answered rightly, and the other half in that manner, all at the same time. Rows of the well and
    of the ill."""
    engine = await town.hostile()
    proxy = await town.proxy(engine.url, without=without, environment=limits, needs_the_engine=False)
    headers = {"x-manner": manner.value}
    hangs = CASES[manner] is Kind.LATE and not limits
    well = Crowd(proxy.place, calls_to(proxy.place, HALF), attempts=ATTEMPTS)
    ill = Crowd(
        proxy.place,
        calls_to(proxy.place, HALF, said="ill", headers=headers),
        patience_s=PATIENCE_S if hangs else LONG_S,
    )
    await asyncio.gather(well.run(), ill.run())
    row = ill.row(f"engine answers half of the calls: {manner.value}")
    began = time.monotonic()
    if without is None:
        await all_are_right(proxy.place, "afterwards")
        row.recovered_s = time.monotonic() - began
    row.leaked = await leaked(proxy)
    return well.row("the other half"), row


@pytest.mark.parametrize("manner", CASES)
async def test_calls_that_the_engine_treats_badly_fail_and_no_others(
    town: Town, rows: list[Row], manner: Manner
) -> None:
    well, ill = await mixed(town, manner)
    rows.append(ill)
    assert well.endings == {Kind.RIGHT: HALF}, well.told
    assert ill.wrong == 0, ill.told
    alone = ill.statuses[LEFT_ALONE]
    expected = Counter({CASES[manner]: HALF - alone}) + Counter({Kind.REFUSED: alone})
    assert ill.endings == expected, ill.told
    assert alone < HALF
    if CASES[manner] is Kind.REFUSED:
        assert ill.statuses[STATUSES.get(manner, HTTPStatus.BAD_GATEWAY)] == HALF - alone, ill.told
    assert not ill.leaked


async def test_clients_are_given_wrong_answers_without_protection(town: Town) -> None:
    well, ill = await mixed(town, Manner.HALF, without="half_answers_are_told")
    assert well.wrong + ill.wrong > 0, well.told + ill.told


@pytest.mark.skipif(
    not {"first_byte_timeout_s", "total_timeout_s"} <= {one.name for one in dataclasses.fields(Settings)},
    reason="there are no settings for time-outs",
)
@pytest.mark.parametrize(
    ("manner", "setting"),
    [
        (Manner.SILENT, "SCALESIM_FIRST_BYTE_TIMEOUT_S"),
        (Manner.DRIP, "SCALESIM_FIRST_BYTE_TIMEOUT_S"),
        (Manner.DRIP, "SCALESIM_TOTAL_TIMEOUT_S"),
    ],
)
async def test_an_engine_that_is_too_slow_is_told_where_a_time_out_is_set(
    town: Town, manner: Manner, setting: str
) -> None:
    well, ill = await mixed(town, manner, **{setting: "3"})
    assert well.endings == {Kind.RIGHT: HALF}, well.told
    assert ill.wrong == 0, ill.told
    # A stream that has begun cannot be told so: it has no end.
    told = ill.statuses[HTTPStatus.GATEWAY_TIMEOUT] + ill.endings[Kind.BROKEN]
    assert told == HALF - ill.statuses[LEFT_ALONE], ill.told
    assert told > 0
    assert not ill.leaked


@pytest.mark.parametrize(
    "manner",
    [Manner.GARBAGE, Manner.NOTHING, Manner.SILENT, Manner.ERROR, Manner.DRIP, Manner.ENDLESS_HEAD],
)
async def test_an_engine_that_answers_control_calls_badly_is_served_as_a_plain_one(
    town: Town, rows: list[Row], manner: Manner
) -> None:
    engine = await town.hostile("--control", manner.value)
    proxy = await town.proxy(engine.url, needs_the_engine=False)
    crowd = Crowd(proxy.place, calls_to(proxy.place))
    await crowd.run()
    row = crowd.row(f"engine answers control calls: {manner.value}")
    row.leaked = await leaked(proxy)
    rows.append(row)
    assert row.lost == 0, row.told
    assert (await status_of(proxy))["failures"] == {}
    assert not row.leaked

"""An engine that answers garbage, half an answer, nothing, errors, or a byte a second: to calls, and to what we ask it ourselves."""

from __future__ import annotations

import dataclasses
import time
from http import HTTPStatus

import pytest

from scalesim.proxy.settings import Settings
from scalesim.workloads.checked_calls import Kind
from tests.faults.hostile import Manner
from tests.faults.town import CALLS, Crowd, Row, Town, all_are_right, calls_to, leaked, status_of

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.slow]

HALF = CALLS // 2
PATIENCE_S = 3.0
"""Of clients."""
CASES = {
    Manner.GARBAGE: {Kind.REFUSED: HALF},
    Manner.HALF: {Kind.BROKEN: HALF},
    Manner.NOTHING: {Kind.REFUSED: HALF},
    Manner.SILENT: {Kind.LATE: HALF},
    Manner.ERROR: {Kind.REFUSED: HALF},
    Manner.DRIP: {Kind.LATE: HALF},
    Manner.ENDLESS_HEAD: {Kind.REFUSED: HALF},
    Manner.TWO_LENGTHS: {Kind.REFUSED: HALF},
    Manner.BEHIND: {Kind.RIGHT: HALF},
}
"""What becomes of calls that the engine treats so."""
STATUSES = {Manner.ERROR: HTTPStatus.INTERNAL_SERVER_ERROR}
"""The engine's own; all else are a 502."""


async def mixed(town: Town, manner: Manner, without: str | None = None, **limits: str) -> Row:
    """Half of the calls are answered rightly, and the other half in that manner, all at the same time."""
    engine = await town.hostile()
    proxy = await town.proxy(engine.url, without=without, environment=limits, needs_the_engine=False)
    well = calls_to(proxy.place, HALF)
    ill = calls_to(proxy.place, HALF, said="ill", headers={"x-manner": manner.value})
    crowd = Crowd(
        proxy.place, [one for pair in zip(well, ill, strict=True) for one in pair], patience_s=PATIENCE_S
    )
    await crowd.run()
    row = crowd.row(f"engine answers half of the calls: {manner.value}")
    began = time.monotonic()
    if without is None:
        await all_are_right(proxy.place, "afterwards")
        row.recovered_s = time.monotonic() - began
    row.leaked = await leaked(proxy)
    return row


@pytest.mark.parametrize("manner", CASES)
async def test_calls_that_the_engine_treats_badly_fail_and_no_others(
    town: Town, rows: list[Row], manner: Manner
) -> None:
    row = await mixed(town, manner)
    rows.append(row)
    expected = dict(CASES[manner])
    expected[Kind.RIGHT] = expected.get(Kind.RIGHT, 0) + HALF
    assert row.wrong == 0, row.told
    assert row.endings == expected, row.told
    if Kind.REFUSED in expected:
        assert row.statuses[STATUSES.get(manner, HTTPStatus.BAD_GATEWAY)] == HALF, row.told
    assert not row.leaked


@pytest.mark.parametrize(
    ("manner", "without"),
    [(Manner.HALF, "half_answers_are_told"), (Manner.BEHIND, "what_comes_unasked_is_noticed")],
)
async def test_clients_are_given_wrong_answers_without_protection(
    town: Town, manner: Manner, without: str
) -> None:
    row = await mixed(town, manner, without=without)
    assert row.wrong > 0, row.told


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
    row = await mixed(town, manner, **{setting: "1"})
    assert row.endings == {Kind.RIGHT: HALF, Kind.REFUSED: HALF}, row.told
    assert row.statuses[HTTPStatus.GATEWAY_TIMEOUT] == HALF
    assert not row.leaked


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

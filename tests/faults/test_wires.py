"""Wires between clients, proxy and engine are cut, pulled, slow, or lose connections in the middle of an answer."""

from __future__ import annotations

import dataclasses
import time
from http import HTTPStatus

import pytest

from scalesim.proxy.settings import Settings
from scalesim.workloads.asking import Place
from scalesim.workloads.checked_calls import Kind
from tests.faults.cutter import Cutter
from tests.faults.town import (
    CALLS,
    Crowd,
    Row,
    Town,
    all_are_right,
    calls_to,
    leaked,
    recovered,
    under_way,
    until_idle,
)

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.slow]

QUICK = ("--decode-s-per-token", "0.05")
"""A call that is stopped ends with its step."""
SETTINGS = {one.name for one in dataclasses.fields(Settings)}
SOON_S = 0.25
"""Within this a client's leaving has to reach the engine."""
LONGEST_ABORT_S = 10.0
"""An abort that the engine does not answer is given up after 5 s, and they are not all sent at once."""
LOOK_S = 0.5
"""What it may take us on top to see that: the engine has 200 calls to end, and one process shares the cores with five."""


async def cut_off_from_the_engine(town: Town, case: str, without: str | None = None) -> Row:
    engine = await town.engine()
    async with Cutter(engine.port) as wire:
        proxy = await town.proxy(wire.url, without=without)
        crowd = Crowd(proxy.place, calls_to(proxy.place))
        asking = await under_way(crowd, engine)
        wire.cut()
        await asking
        row = crowd.row(case)
        during = Crowd(proxy.place, calls_to(proxy.place, said="during"))
        await during.run()
        assert during.row("").endings == {Kind.REFUSED: CALLS}
        await until_idle(engine)
        wire.heal()
        healed = time.monotonic()
        row.recovered_s = await recovered(proxy.place, healed)
        if without is None:
            await all_are_right(proxy.place, "afterwards")
        row.leaked = await leaked(proxy)
    return row


async def test_a_wire_to_the_engine_that_is_cut_costs_the_calls_on_it_and_nothing_else(
    town: Town, rows: list[Row]
) -> None:
    row = await cut_off_from_the_engine(town, "network cut between proxy and engine")
    rows.append(row)
    assert row.wrong == 0, row.told
    assert row.endings[Kind.REFUSED] == row.endings[Kind.BROKEN] == CALLS // 2, row.told
    assert row.statuses == {HTTPStatus.BAD_GATEWAY: CALLS // 2}
    assert not row.leaked


async def test_a_wire_to_the_engine_that_is_cut_makes_wrong_answers_without_protection(town: Town) -> None:
    assert (await cut_off_from_the_engine(town, "", without="half_answers_are_told")).wrong > 0


async def pulled_from_the_engine(town: Town, case: str, without: str | None = None) -> Row:
    engine = await town.engine()
    async with Cutter(engine.port) as wire:
        proxy = await town.proxy(wire.url, without=without)
        crowd = Crowd(proxy.place, calls_to(proxy.place), patience_s=5.0)
        asking = await under_way(crowd, engine)
        wire.stall()
        await asking
        row = crowd.row(case)
        row.leaked = await leaked(proxy, within_s=LONGEST_ABORT_S)
        wire.heal()
        healed = time.monotonic()
        row.recovered_s = await recovered(proxy.place, healed)
        await until_idle(engine)
        if without is None:
            await all_are_right(proxy.place, "afterwards")
    return row


async def test_what_waits_behind_a_pulled_wire_is_given_up_with_its_client(
    town: Town, rows: list[Row]
) -> None:
    row = await pulled_from_the_engine(town, "wire pulled between proxy and engine")
    rows.append(row)
    assert row.wrong == 0, row.told
    assert row.endings[Kind.LATE] == CALLS, row.told
    assert not row.leaked


async def test_what_waits_behind_a_pulled_wire_is_held_for_ever_without_protection(town: Town) -> None:
    row = await pulled_from_the_engine(town, "", without="leaving_is_noticed")
    assert row.leaked["calls_in_flight"] == CALLS


@pytest.mark.skipif("first_byte_timeout_s" not in SETTINGS, reason="there are no settings for time-outs")
async def test_calls_behind_a_pulled_wire_are_told_so_where_time_outs_are_set(
    town: Town, rows: list[Row]
) -> None:
    engine = await town.engine()
    limits = {"SCALESIM_FIRST_BYTE_TIMEOUT_S": "2", "SCALESIM_CHUNK_TIMEOUT_S": "2"}
    async with Cutter(engine.port) as wire:
        proxy = await town.proxy(wire.url, environment=limits)
        crowd = Crowd(proxy.place, calls_to(proxy.place))
        asking = await under_way(crowd, engine)
        wire.stall()
        await asking
        wire.heal()
        row = crowd.row("wire pulled between proxy and engine, with time-outs")
        row.leaked = await leaked(proxy)
    rows.append(row)
    assert row.wrong == 0, row.told
    assert row.endings == {Kind.REFUSED: CALLS // 2, Kind.BROKEN: CALLS // 2}, row.told
    assert row.statuses == {HTTPStatus.GATEWAY_TIMEOUT: CALLS // 2}
    assert not row.leaked


async def cut_off_from_the_clients(
    town: Town, case: str, without: str | None = None
) -> tuple[Row, float | None]:
    """Also: how long it took the engine to stop; None: it did not in time."""
    engine = await town.engine(*QUICK)
    proxy = await town.proxy(engine.url, without=without)
    async with Cutter(proxy.port) as wire:
        there = Place("127.0.0.1", wire.port)
        crowd = Crowd(there, calls_to(there, tokens=400))
        asking = await under_way(crowd, engine)
        wire.cut()
        try:
            stopped_s = await until_idle(engine, SOON_S + LOOK_S)
        except TimeoutError:
            stopped_s = None
        await asking
        row = crowd.row(case)
        wire.heal()
        healed = time.monotonic()
        row.recovered_s = await recovered(there, healed)
        if without is None:
            await all_are_right(there, "afterwards")
    row.leaked = await leaked(proxy)
    return row, stopped_s


async def test_calls_whose_clients_are_cut_off_are_stopped_in_the_engine(town: Town, rows: list[Row]) -> None:
    row, stopped_s = await cut_off_from_the_clients(town, "network cut between clients and proxy")
    rows.append(row)
    assert row.endings == {Kind.BROKEN: CALLS}, row.told
    assert stopped_s is not None, "each call would have run for 20 s"
    assert not row.leaked


async def test_calls_whose_clients_are_cut_off_run_on_without_protection(town: Town) -> None:
    _, stopped_s = await cut_off_from_the_clients(town, "", without="leaving_is_noticed")
    assert stopped_s is None


async def dropped(town: Town, case: str, without: str | None = None) -> Row:
    engine = await town.engine()
    async with Cutter(engine.port) as wire:
        proxy = await town.proxy(wire.url, without=without)
        wire.reset()  # what it has open has carried some already
        wire.drop_after_bytes = 1000
        crowd = Crowd(proxy.place, calls_to(proxy.place))
        await crowd.run()
        wire.drop_after_bytes = None
        row = crowd.row(case)
        healed = time.monotonic()
        row.recovered_s = await recovered(proxy.place, healed)
        row.leaked = await leaked(proxy)
    return row


async def test_connections_that_end_in_the_middle_of_answers_make_no_wrong_ones(
    town: Town, rows: list[Row]
) -> None:
    row = await dropped(town, "connections to the engine reset after 1,000 bytes")
    rows.append(row)
    assert row.wrong == 0, row.told
    # Plain answers may be short enough, and an engine that breaks off so often may be left alone for a while.
    assert row.endings[Kind.BROKEN] > 0, row.told
    assert row.endings[Kind.RIGHT] + row.endings[Kind.BROKEN] + row.endings[Kind.REFUSED] == CALLS, row.told
    assert not row.leaked


async def test_connections_that_end_in_the_middle_of_answers_make_wrong_ones_without_protection(
    town: Town,
) -> None:
    assert (await dropped(town, "", without="half_answers_are_told")).wrong > 0


@pytest.mark.parametrize(
    ("case", "delay_s", "bytes_per_s"),
    [("50 ms on each wire", 0.05, None), ("2,000 bytes a second to each connection", 0.0, 2_000.0)],
)
async def test_slow_wires_make_answers_late_but_not_wrong(
    town: Town, rows: list[Row], case: str, delay_s: float, bytes_per_s: float | None
) -> None:
    engine = await town.engine()
    async with Cutter(engine.port) as far:
        proxy = await town.proxy(far.url)
        async with Cutter(proxy.port) as near:
            for wire in (near, far):
                wire.delay_s, wire.bytes_per_s = delay_s, bytes_per_s
            there = Place("127.0.0.1", near.port)
            crowd = Crowd(there, calls_to(there), patience_s=120.0)
            await crowd.run()
            row = crowd.row(case)
            far.bytes_per_s, far.delay_s = None, 0.0
        row.leaked = await leaked(proxy)
    rows.append(row)
    assert row.lost == 0, row.told
    assert not row.leaked

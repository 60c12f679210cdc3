"""The disk of the trace is full, and the wall clock jumps."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

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
    status_of,
    under_way,
    until,
)

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.slow]

SHIM = Path(__file__).parent / "shim"
DAY_S = 86_400
ROOM_BYTES = 20_000
"""For a header and a few calls, where nothing can be mounted."""


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Whether a disk of 1 MB could be mounted there."""
    folder.mkdir()
    told = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    is_mounted = told.returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", str(folder)], check=True)


async def recording_of(proxy: Process) -> dict[str, Any]:
    told: dict[str, Any] = (await status_of(proxy))["recording"]
    return told


async def test_a_full_disk_costs_the_trace_and_no_call_and_the_trace_goes_on_when_there_is_room(
    town: Town, rows: list[Row], tmp_path: Path
) -> None:
    engine = await town.engine()
    with small_disk(tmp_path / "disk") as is_mounted:
        folder = tmp_path / "disk"
        proxy = await town.proxy(engine.url, how=("record", str(folder / "trace.jsonl")))
        try:
            ballast = folder / "ballast"
            if is_mounted:
                _fill(ballast)
            else:
                resource.prlimit(proxy.pid, resource.RLIMIT_FSIZE, (ROOM_BYTES, resource.RLIM_INFINITY))
            crowd = Crowd(proxy.place, calls_to(proxy.place))
            await crowd.run()
            row = crowd.row(f"disk of the trace full ({'tmpfs' if is_mounted else 'RLIMIT_FSIZE'})")
            rows.append(row)
            assert row.endings == {Kind.RIGHT: CALLS}, row.told
            full = await until(
                lambda: recording_of(proxy), lambda one: one["waiting"] == 0, "trace that was tried"
            )
            assert full["problem"]
            assert full["lost"] > 0

            ballast.unlink(missing_ok=True)
            resource.prlimit(
                proxy.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
            await all_are_right(proxy.place, "afterwards")
            after = await until(
                lambda: recording_of(proxy),
                lambda one: one["calls"] + one["lost"] >= 2 * CALLS,
                "trace that was written",
            )
            assert after["calls"] > full["calls"]
            assert not after["problem"]
            row.leaked = await leaked(proxy)
            assert not row.leaked
        finally:
            town.servers.stop(proxy.server)


def _fill(file: Path) -> None:
    """Until nothing more goes in."""
    with file.open("ab", buffering=0) as sink:
        try:
            while sink.write(b"\0" * 4096):
                pass
        except OSError:
            return


async def test_a_trace_that_cannot_be_written_is_felt_by_calls_without_protection(
    town: Town, tmp_path: Path
) -> None:
    engine = await town.engine()
    proxy = await town.proxy(
        engine.url, how=("record", str(tmp_path / "trace.jsonl")), without="recorder_is_apart"
    )
    crowd = Crowd(proxy.place, calls_to(proxy.place), patience_s=10.0)
    await crowd.run()
    assert crowd.row("").endings[Kind.LATE] > 0


def clocked(file: Path) -> dict[str, str]:
    """The environment of a process whose wall clock is as far ahead as the file says."""
    set_clock(file, 0)
    return {"PYTHONPATH": f"{SHIM}{os.pathsep}{Path.cwd()}", "SHIM_CLOCK": str(file)}


def set_clock(file: Path, ahead_s: int) -> None:
    file.write_text(str(ahead_s))


async def jumped(
    town: Town, case: str, file: Path, by_s: int, without: str | None = None
) -> tuple[Row, Process]:
    engine = await town.engine()
    proxy = await town.proxy(engine.url, environment=clocked(file), without=without)
    crowd = Crowd(proxy.place, calls_to(proxy.place))
    asking = await under_way(crowd, engine)
    set_clock(file, by_s)
    await asking
    row = crowd.row(case)
    await all_are_right(proxy.place, "afterwards")
    row.leaked = await leaked(proxy)
    return row, proxy


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S])
async def test_a_wall_clock_that_jumps_amid_calls_changes_nothing(
    town: Town, rows: list[Row], tmp_path: Path, by_s: int
) -> None:
    row, proxy = await jumped(town, f"wall clock jumps by {by_s:+,} s", tmp_path / "clock", by_s)
    rows.append(row)
    assert row.endings == {Kind.RIGHT: CALLS}, row.told
    assert not row.leaked
    told = await status_of(proxy)
    assert told["failures"] == {}
    assert 0 < told["up_s"] < DAY_S
    assert _problems(told) == [""]


def _problems(told: dict[str, Any]) -> list[str]:
    return [one["problem"] or "" for one in told["engines"]]


async def test_a_wall_clock_that_jumps_is_seen_without_protection(town: Town, tmp_path: Path) -> None:
    _, proxy = await jumped(town, "", tmp_path / "clock", -DAY_S, without="own_clock")
    told = await status_of(proxy)
    assert told["up_s"] < 0


async def test_a_proxy_that_is_started_again_after_the_clock_was_set_back_commands_its_engine(
    town: Town, tmp_path: Path
) -> None:
    engine = await town.engine()
    clock = tmp_path / "clock"
    proxy = await town.proxy(engine.url, environment=clocked(clock))
    await all_are_right(proxy.place)
    proxy.kill()
    set_clock(clock, -60)
    await proxy.again(town.servers)
    await all_are_right(proxy.place, "afterwards")
    await until(lambda: status_of(proxy), lambda told: told["plans"] > 0, "plan")
    assert _problems(await status_of(proxy)) == [""]

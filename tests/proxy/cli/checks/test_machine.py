from __future__ import annotations

import resource
from pathlib import Path

import pytest

from scalesim.proxy.cli.checks import machine
from scalesim.proxy.cli.checks.finding import Level
from scalesim.proxy.settings import Settings


def settings(**options: object) -> Settings:
    return Settings(engine="http://a:1", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("others", "level"),
    [
        ({}, Level.OK),
        ({"gpu-1": 1.2, "redis": -0.3}, Level.OK),
        ({"gpu-1": 0.1, "gpu-2": 40.0}, Level.WARNING),
        ({"gpu-1": -40.0}, Level.WARNING),
    ],
)
def test_clocks_that_are_apart_are_named(others: dict[str, float], level: Level) -> None:
    (found,) = machine.of_clock(others)
    assert found.level is level
    if level is Level.WARNING:
        named = [name for name in others if name in found.says]
        assert named == [name for name, seconds in others.items() if abs(seconds) > machine.APART_S]


def test_each_client_may_need_two_descriptors() -> None:
    assert machine.of_files(settings(), 1024)[0].level is Level.WARNING
    assert machine.of_files(settings(client_connections=300), 1024)[0].level is Level.OK
    assert machine.of_files(settings(), resource.RLIM_INFINITY)[0].level is Level.OK


def test_files_that_will_be_written_need_a_folder_and_room(tmp_path: Path) -> None:
    fine = settings(record=str(tmp_path / "trace.jsonl"), record_max_bytes=100_000)
    assert [one.level for one in machine.of_disk(fine)] == [Level.OK]
    nowhere = settings(state_file=str(tmp_path / "none" / "state"))
    assert [one.level for one in machine.of_disk(nowhere)] == [Level.FAULT]
    too_large = settings(record=str(tmp_path / "trace.jsonl"), record_max_bytes=10**12)
    ((level, says),) = [(one.level, one.says) for one in machine.of_disk(too_large)]
    assert level is Level.FAULT
    assert "1.0 TB" in says


def test_nothing_to_write_needs_no_disk() -> None:
    assert [one.level for one in machine.of_disk(settings())] == [Level.OK]

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from scalesim.proxy.recording import CannotRecord, Recorder
from scalesim.proxy.recording.files import lines_of, parts_of
from scalesim.proxy.recording.recorder import FLUSH_S
from scalesim.proxy.recording.trace import Call, Reading

from .calls import call
from .disk import Disk

pytestmark = pytest.mark.anyio


def recorder(path: Path, **options: Any) -> Recorder:
    given: dict[str, Any] = {"full_text": False, "max_bytes": 1 << 20, "files": 4, "clock": lambda: 100.0}
    return Recorder(path, path.with_name("salt"), **(given | options))


def read(path: Path) -> tuple[list[Call], int]:
    calls: list[Call] = []
    lost = 0
    for part in parts_of(path):
        reading = Reading(lines_of(part))
        calls += reading
        lost += reading.lost
        assert reading.skipped == []
    return calls, lost


async def test_what_was_told_is_on_the_disk_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    async with recorder(path) as one:
        for number in range(60):
            one.note(call(number))
    calls, lost = read(path)
    assert [found.request_id for found in calls] == [str(number) for number in range(60)]
    assert lost == 0
    status = one.status()
    assert (status.calls, status.lost, status.waiting, status.problem) == (60, 0, 0, "")
    assert status.written_bytes == path.stat().st_size
    assert one.sizes() == {"trace_calls_waiting": 0}


@pytest.mark.slow
async def test_calls_are_written_while_the_proxy_runs(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    async with recorder(path) as one:
        one.note(call(1))
        began = time.monotonic()
        while not one.status().calls:
            assert time.monotonic() < began + 10
            time.sleep(0.001)  # noqa: ASYNC251  the loop has nothing else to do, and the thread goes on
        assert FLUSH_S < 1
        assert len(read(path)[0]) == 1


async def test_when_the_queue_is_full_calls_are_counted_and_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    one = recorder(path, max_calls=10)
    for number in range(25):  # before its thread runs, so that nothing is taken out
        one.note(call(number))
    assert one.sizes() == {"trace_calls_waiting": 10}
    assert one.status().lost == 15
    async with one:
        pass
    calls, lost = read(path)
    assert [found.request_id for found in calls] == [str(number) for number in range(10)]
    assert lost == 15


async def test_a_disk_that_does_not_answer_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    answers, asked = threading.Event(), threading.Event()
    answers.set()

    def write(fd: int, data: memoryview) -> int:
        asked.set()
        assert answers.wait(10)
        return os.write(fd, data)

    async with recorder(path, max_calls=20, write=write) as one:
        answers.clear()
        asked.clear()
        for number in range(10):
            one.note(call(number))
        assert await to_thread.run_sync(asked.wait, 10)
        for number in range(10, 50):
            one.note(call(number))
        assert one.status().waiting == 20
        answers.set()
    calls, lost = read(path)
    assert len(calls) + lost == 50
    assert lost == one.status().lost >= 20


async def test_what_waits_is_bounded_in_bytes_too(tmp_path: Path) -> None:
    one = recorder(tmp_path / "trace.jsonl", max_waiting_bytes=10_000)
    for number in range(5):
        one.note(call(number, "x" * 3000, said="y" * 1000))
    assert (one.status().waiting, one.status().lost) == (2, 3)
    async with one:
        pass
    assert one.status().calls == 2
    one = recorder(tmp_path / "trace.jsonl", max_waiting_bytes=10_000)
    async with one:
        for number in range(5):
            one.note(call(number))
    assert one.status().lost == 0


@pytest.mark.slow  # its thread looks twice a second
async def test_a_full_disk_costs_calls_of_the_trace_and_the_trace_says_how_many(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "trace.jsonl"
    disk = Disk(1 << 20)
    with caplog.at_level(logging.INFO):
        async with recorder(path, write=disk.write) as one:
            disk.room = 500  # for a line that says how many are lost, but not for all that wait
            for number in range(40):
                one.note(call(number))
            await _until(lambda: one.status().lost == 40)
            assert one.status().problem == "No space left on device"
            disk.room = 1 << 20
            for number in range(40, 45):
                one.note(call(number))
    calls, lost = read(path)
    assert [found.request_id for found in calls] == ["40", "41", "42", "43", "44"]
    assert lost == 40
    assert (one.status().calls, one.status().lost, one.status().problem) == (5, 40, "")
    assert [record.message.partition("jsonl: ")[2] for record in caplog.records] == [
        "No space left on device: calls are served, and not recorded",
        "calls are recorded again",
    ]


async def _until(condition: Any) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + 10
        time.sleep(0.001)  # noqa: ASYNC251  it is the thread that is waited for


async def test_a_trace_is_rotated_and_each_file_can_be_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    async with recorder(path, max_bytes=9_000, files=3) as one:
        for number in range(60):
            one.note(call(number))
    parts = parts_of(path)
    assert len(parts) == 3
    assert sum(part.stat().st_size for part in parts) <= 9_000
    for part in parts:
        reading = Reading(lines_of(part))
        assert list(reading)
        assert (len(reading.headers), reading.skips) == (1, 0)
    calls, _ = read(path)
    assert calls[-1].request_id == "59"
    assert one.status().calls == 60


async def test_a_bug_costs_its_call_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "trace.jsonl"
    broken: Any = 3
    async with recorder(path) as one:
        one.note(call(1))
        one.note(call(2, agent=broken))
        one.note(call(3))
    calls, lost = read(path)
    assert [found.request_id for found in calls] == ["1", "3"]
    assert lost == 1
    assert "writing the trace failed" in caplog.text


async def test_no_name_and_no_prompt_is_in_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    async with recorder(path) as one:
        one.note(
            call(1, "Wovon man nicht sprechen kann", agent="Zoë", simulation="Krähwinkel", said="darüber")
        )
    written = path.read_bytes() + path.with_name("salt").read_bytes()
    for secret in ("Wovon", "sprechen", "Zoë", "Krähwinkel", "darüber"):
        assert secret.encode() not in written
        assert json.dumps(secret)[1:-1].encode() not in written
    assert (tmp_path / "salt").read_text().strip() not in path.read_text()


async def test_traces_with_one_salt_can_be_compared_and_others_cannot(tmp_path: Path) -> None:
    found: list[Call] = []
    for folder, salt in (("a", "shared"), ("b", "shared"), ("c", "own")):
        path = tmp_path / folder / "trace.jsonl"
        path.parent.mkdir()
        async with Recorder(
            path, tmp_path / salt, full_text=False, max_bytes=1 << 20, files=1, clock=lambda: 0.0
        ) as one:
            one.note(call(1))
        found += read(path)[0]
    first, same, other = found
    assert (first.hash_ids, first.session_id) == (same.hash_ids, same.session_id)
    assert not {*first.hash_ids, first.session_id} & {*other.hash_ids, other.session_id}


async def test_a_trace_that_cannot_be_begun_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(CannotRecord, match="missing"):
        async with recorder(tmp_path / "missing" / "trace.jsonl"):
            pass


async def test_a_megabyte_is_recorded_without_holding_others_up(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    async with recorder(path) as one:
        one.note(call(1, "wörter " * 500_000))
    ((found,), _) = read(path)
    assert found.cut
    assert len(found.hash_ids) == 4096
    assert found.input_length > 900_000

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scalesim.proxy.recording.files import CannotRecord, Series, lines_of, numbered, parts_of
from scalesim.proxy.recording.trace import MAX_LINE_BYTES

from .disk import Disk


def header(part: int) -> bytes:
    return b"h%d\n" % part


@contextmanager
def series(path: Path, *, max_bytes: int = 400, files: int = 4, **options: Any) -> Iterator[Series]:
    one = Series(path, max_bytes=max_bytes, files=files, header=header, **options)
    one.open()
    try:
        yield one
    finally:
        one.close()


def held(path: Path) -> list[list[bytes]]:
    """Lines, of the oldest file first."""
    return [part.read_bytes().splitlines() for part in parts_of(path)]


def line(number: int, size: int = 30) -> bytes:
    return (b"%d" % number).ljust(size - 1, b".") + b"\n"


def numbers(path: Path) -> list[int]:
    return [int(one.rstrip(b".")) for part in held(path) for one in part if not one.startswith(b"h")]


def test_files_are_bounded_and_the_oldest_lines_go(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with series(path) as one:
        for number in range(40):
            assert one.write([line(number)]) == 1
    assert {file.name for file in tmp_path.iterdir()} == {
        "trace.jsonl",
        *(f"trace.{n}.jsonl" for n in (1, 2, 3)),
    }
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 400
    kept = numbers(path)
    assert kept == list(range(40 - len(kept), 40))
    assert len(kept) >= 9
    assert [part[0] for part in held(path)] == [b"h10", b"h11", b"h12", b"h13"]


def test_one_file_begins_anew_when_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with series(path, max_bytes=100, files=1) as one:
        assert one.write([line(number) for number in range(10)]) == 10
    assert held(path) == [[b"h3", line(9).strip()]]


def test_what_an_earlier_run_left_is_kept_before_it(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    for run in range(3):
        with series(path) as one:
            one.write([line(run)])
    assert numbers(path) == [0, 1, 2]


def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with series(path) as one:
        one.write([line(number) for number in range(10)])
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_lines_that_are_too_long_for_a_file_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with series(path) as one:
        assert one.write([line(1), b"x" * 51, line(2)]) == 2
        assert one.problem == ""
    assert numbers(path) == [1, 2]


def test_a_full_disk_leaves_whole_lines_and_writing_goes_on_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    disk = Disk(100)
    with series(path, max_bytes=4000, write=disk.write) as one:
        assert one.write([line(1), line(2)]) == 2
        assert one.write([line(3), line(4)]) == 0  # the first of them would have fitted
        assert one.problem == "No space left on device"
        assert numbers(path) == [1, 2]
        disk.room = 1000
        assert one.write([line(5)]) == 1
        assert one.problem == ""
    assert numbers(path) == [1, 2, 5]


def test_a_disk_that_is_full_when_a_file_begins_costs_no_older_file(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    disk = Disk(10_000)
    with series(path, max_bytes=200, files=2, write=disk.write) as one:
        one.write([line(number) for number in range(6)])
        before = held(path)
        disk.room = 2
        for number in range(6, 20):
            assert one.write([line(number)]) == 0
        assert held(path) == before
        disk.room = 1000
        assert one.write([line(20)]) == 1
    assert numbers(path) == [3, 4, 5, 20]
    assert {file.name for file in tmp_path.iterdir()} == {"trace.jsonl", "trace.1.jsonl"}


def test_what_cannot_be_taken_back_spoils_no_other_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trace.jsonl"
    disk = Disk(43)
    with series(path, write=disk.write) as one:
        one.write([line(1)])
        with monkeypatch.context() as broken:
            broken.setattr("os.ftruncate", _fails)
            assert one.write([line(2)]) == 0
        disk.room = 1000
        assert one.write([line(3)]) == 1
    (lines,) = held(path)
    assert lines == [b"h0", line(1).strip(), b"2" + b"." * 9, line(3).strip()]


def _fails(*_: object) -> None:
    raise OSError(5, "Input/output error")


def test_a_trace_that_another_proxy_writes_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with series(path) as one:
        with pytest.raises(CannotRecord, match="another proxy is writing it"):
            Series(path, max_bytes=400, files=4, header=header).open()
        one.write([line(1)])
    assert numbers(path) == [1]
    with series(path):
        pass


def test_what_is_no_plain_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "link", "pipe", "missing/trace.jsonl"):
        with pytest.raises(CannotRecord, match=name), series(tmp_path / name):
            pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
def test_a_killed_writer_leaves_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    program = (
        "import os, sys; from pathlib import Path; from scalesim.proxy.recording.files import Series\n"
        "one = Series(Path(sys.argv[1]), max_bytes=400, files=4, header=lambda part: b'h\\n')\n"
        "one.open(); one.write([b'1\\n', b'2\\n']); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert path.read_bytes() == b"h\n1\n2\n"
    with series(path) as one:  # its lock died with it
        one.write([line(3)])
    assert numbers(path) == [1, 2, 3]


def test_lines_are_read_in_bounded_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalesim.proxy.recording.files.MAX_LINE_BYTES", 10)
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b"a\n" + b"b" * 35 + b"\nc\nd")
    assert list(lines_of(path)) == [b"a\n", b"b" * 11, b"c\n", b"d"]
    assert MAX_LINE_BYTES > 10


def test_names_of_older_files_keep_the_ending() -> None:
    assert numbered(Path("a/trace.jsonl"), 2) == Path("a/trace.2.jsonl")
    assert numbered(Path("a/trace"), 1) == Path("a/trace.1")
    assert numbered(Path("a/trace.jsonl"), 0) == Path("a/trace.jsonl")

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scalesim.proxy.whole_file import replace


def test_a_file_is_replaced_by_all_of_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    replace(path, b"old", 0o600)
    (tmp_path / ".kept.new").write_bytes(b"from a run that was killed")
    replace(path, b"new" * 5, 0o600, lambda file, rest: os.write(file, rest[:4]))
    assert path.read_bytes() == b"new" * 5
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["kept"]


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")

    def full(file: int, content: bytes) -> int:
        os.write(file, content[:1])
        raise OSError(28, "no space left on device")

    with pytest.raises(OSError, match="no space left"):
        replace(path, b"new", 0o600, full)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["kept"]

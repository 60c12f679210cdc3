from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from scalesim.proxy.recording.files import CannotRecord
from scalesim.proxy.recording.salt import key_in


def test_a_salt_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "salt"
    key = key_in(path)
    assert key_in(path) == key
    assert key_in(tmp_path / "other") != key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"abc\n", b"zz" * 32, b"00" * 33, b"\xff" * 64])
def test_what_is_no_salt_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "salt"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(CannotRecord, match="not a salt") as refused:
        key_in(path)
    assert "abc" not in str(refused.value)
    assert path.read_bytes() == content


def test_a_salt_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "salt"
    key_in(path)
    path.chmod(0o640)
    with pytest.raises(CannotRecord, match="chmod 600"):
        key_in(path)


def test_a_salt_that_cannot_be_made_or_read_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(CannotRecord, match="cannot be made: No such file"):
        key_in(tmp_path / "missing" / "salt")
    with pytest.raises(CannotRecord, match="cannot be read"):
        key_in(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(CannotRecord, match="not a salt"):  # and nobody waits for somebody to write into it
        key_in(tmp_path / "pipe")

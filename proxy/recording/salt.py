"""The key of a trace's hashes, in a file of its own: who gets the trace does not get the key with it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from .files import CannotRecord
from .hashing import KEY_BYTES


def key_in(path: Path) -> bytes:
    """Made if the file is not there. Traces with the same key can be compared. Raises `CannotRecord`; the text never says
    what is in the file."""
    try:
        _make(path)
    except FileExistsError:
        pass
    except OSError as exc:
        raise CannotRecord(f"{path}: the salt's file cannot be made: {exc.strerror}") from exc
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            mode, told = os.fstat(fd).st_mode, file.read(2 * KEY_BYTES + 2)
    except OSError as exc:
        raise CannotRecord(f"{path}: the salt's file cannot be read: {exc.strerror}") from exc
    if mode & 0o077:
        raise CannotRecord(f"{path}: others may read the salt; chmod 600 it, or give another file")
    try:
        key = bytes.fromhex(told.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise CannotRecord(f"{path}: not a salt ({2 * KEY_BYTES} hexadecimal digits); give another file")
    return key


def _make(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
        file.flush()
        os.fsync(fd)

"""Files that are written as a whole: the old one stays until all of the new one is on the disk, whatever happens in between."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

Write = Callable[[int, bytes], int]
"""As `os.write`."""


def replace(path: Path, content: bytes, mode: int, write: Write = os.write) -> None:
    """`mode`: who may read it. Raises `OSError`; the old file is then as it was."""
    new = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        os.unlink(new)  # from a run that was killed right here
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            while content:
                content = content[write(file, content) :]
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(new, path)
    except OSError:
        with suppress(OSError):  # what is told is why it was not written
            os.unlink(new)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

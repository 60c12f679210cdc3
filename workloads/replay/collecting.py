"""Python's garbage collector while something plays: it would look at millions of objects that stay again and again, for circles
of which a play makes next to none. What nothing refers to any more is gone without it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 100_000
"""The youngest are looked at when so many more were made than given up."""


@contextmanager
def seldom() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(YOUNG, 10, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)

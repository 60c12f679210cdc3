"""A list that stays sorted while things come and go, in a time that hardly grows with its length."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Generic, Protocol, Self, TypeVar

_LONGEST = 512
"""Of one chunk: inserting moves half of it, finding the chunk costs the logarithm of their number."""


class Comparable(Protocol):
    def __lt__(self, other: Self, /) -> bool: ...


T = TypeVar("T", bound=Comparable)


class SortedChunks(Generic[T]):
    """No two of its things may be equal. It may not be changed while it is iterated over."""

    __slots__ = ("_chunks", "_firsts", "_length")

    def __init__(self) -> None:
        self._chunks: list[list[T]] = []
        """None is empty, and each is sorted and lies before the next one."""
        self._firsts: list[T] = []
        """Of each chunk."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        for chunk in self._chunks:
            yield from chunk

    def __reversed__(self) -> Iterator[T]:
        for chunk in reversed(self._chunks):
            yield from reversed(chunk)

    def first(self) -> T | None:
        return self._firsts[0] if self._firsts else None

    def add(self, thing: T) -> None:
        self._length += 1
        if not self._chunks:
            self._chunks.append([thing])
            self._firsts.append(thing)
            return
        place = max(0, bisect_right(self._firsts, thing) - 1)
        chunk = self._chunks[place]
        insort(chunk, thing)
        self._firsts[place] = chunk[0]
        if len(chunk) > _LONGEST:
            half = chunk[_LONGEST // 2 :]
            del chunk[_LONGEST // 2 :]
            self._chunks.insert(place + 1, half)
            self._firsts.insert(place + 1, half[0])

    def remove(self, thing: T) -> None:
        """It must be in the list."""
        place = bisect_right(self._firsts, thing) - 1
        chunk = self._chunks[place]
        del chunk[bisect_left(chunk, thing)]
        self._length -= 1
        if chunk:
            self._firsts[place] = chunk[0]
        else:
            del self._chunks[place], self._firsts[place]

"""The last entries of one sort, kept flat: their numbers in an array and their words by reference, with no object for an entry.

A tuple for each entry and an object for each number in it take three times as much, which adds up where thousands of agents
keep dozens of entries each.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Numbers = array[float]
else:
    Numbers = array  # not subscriptable before Python 3.12

Row = tuple[tuple[float, ...], tuple[str, ...]]
"""Numbers and words, at least one of each."""


class Rows:
    """The oldest first. All have as many numbers and words as the first one."""

    __slots__ = ("_count", "_numbers", "_words")

    def __init__(self) -> None:
        self._count = 0
        self._numbers: Numbers = array("d")
        self._words: list[str] = []

    def __iter__(self) -> Iterator[Row]:
        for at in range(self._count):
            yield self._row(at)

    def keep(self, row: Row, most: int) -> None:
        """As the last one; beyond so many the oldest goes."""
        numbers, words = row
        self._numbers.extend(numbers)
        self._words.extend(words)
        self._count += 1
        if self._count > most:
            del self._numbers[: len(numbers)], self._words[: len(words)]
            self._count -= 1

    def ends_with(self, row: Row) -> bool:
        return self._count > 0 and self._row(self._count - 1) == row

    def _row(self, at: int) -> Row:
        numbers, words = len(self._numbers) // self._count, len(self._words) // self._count
        return (
            tuple(self._numbers[at * numbers : (at + 1) * numbers]),
            tuple(self._words[at * words : (at + 1) * words]),
        )


def number_of(count: int | None) -> float:
    return math.nan if count is None else float(count)


def told_by(number: float) -> int | None:
    """What `number_of` was told, up to 2^53."""
    return None if math.isnan(number) else int(number)

"""Regular expressions whose cost is bounded, whoever wrote them: RE2, on bytes, in texts of a bounded length.

On bytes a search costs some 4 us in 4 KB, on `str` ten times as much (the binding counts characters).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import re2

MAX_PATTERN = 300
"""Characters."""

_MAX_PROGRAM = 2_000
"""Instructions. A search costs at most their number times the length of the text, some .2 ms in `reading.WINDOW` bytes."""
_PATTERN_MEMORY = 1 << 20
_LITERALS_MEMORY = 64 << 20


def encoded(text: str) -> bytes:
    """Half a surrogate pair, which JSON lets through, becomes a question mark."""
    return text.encode("utf-8", "replace")


class Pattern:
    """A regular expression with named groups. Raises `ValueError` for one that is none, is too large, or lacks a group."""

    __slots__ = ("_groups", "_regex", "text")

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN:
            raise ValueError(f"a pattern may have {MAX_PATTERN} characters, not {len(text)}")
        try:
            self._regex = re2.compile(encoded(text), _options(_PATTERN_MEMORY))
        except re2.error as exc:
            raise ValueError(f"no regular expression of RE2: {_reason(exc)}") from exc
        if self._regex.programsize > _MAX_PROGRAM:
            raise ValueError(
                f"too large by a factor of {self._regex.programsize / _MAX_PROGRAM:.1f}: repeat less often, or fewer characters"
            )
        self.text = text
        self._groups = {name.decode(): index for name, index in self._regex.groupindex.items()}

    @property
    def groups(self) -> frozenset[str]:
        return frozenset(self._groups)

    def search(self, text: str) -> dict[str, str] | None:
        """The groups that took part, at the first place that fits."""
        match = self._regex.search(encoded(text))
        if match is None:
            return None
        found = ((name, match.group(index)) for name, index in self._groups.items())
        return {name: value.decode() for name, value in found if value is not None}


class Literals:
    """Many words looked for at once, in one pass over a text."""

    __slots__ = ("_set", "_words")

    def __init__(self, words: Iterable[str]) -> None:
        self._words: Sequence[str] = tuple(dict.fromkeys(words))
        self._set = None
        if self._words:
            self._set = re2.Set.SearchSet(_options(_LITERALS_MEMORY))
            for word in self._words:
                self._set.Add(re2.escape(encoded(word)))
            self._set.Compile()

    def in_(self, text: str) -> list[str]:
        if self._set is None:
            return []
        return [self._words[index] for index in self._set.Match(encoded(text)) or ()]


def _options(max_mem: int) -> re2.Options:
    options = re2.Options()
    options.max_mem = max_mem
    options.log_errors = False
    return options


def _reason(exc: Exception) -> str:
    said = exc.args[0] if exc.args else exc
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)

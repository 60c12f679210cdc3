"""Large JSON in small pieces: none takes long to parse, and each is good by itself.

A body like `{"unit": "steps", "distances": {"Ann": 3, …}}` becomes several of the same form, each with some of the
entries, and with all that is a plain value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

PIECE = 16_384
"""Bytes. So much is parsed and checked in half a millisecond, whatever it is."""
LONGEST = 4 * PIECE
_PLAIN = PIECE
_TURN = 1_000
"""Marks that are looked at in half a millisecond."""

# All of it is possessive and fits at any place, so that every byte is looked at once, whatever the text is.
_MARK = re.compile(
    rb'[^][{},"]*+(?:"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)[^][{},"]*+)*+([][{},]|\Z)',
    re.DOTALL,
)
_CLOSERS = {ord("{"): b"}", ord("["): b"]"}


@dataclass(frozen=True, slots=True)
class Piece:
    text: bytes
    offset: int
    """Where its entries begin in the whole."""


def cut(text: bytes) -> Iterator[Piece | None]:
    """Pieces of a JSON object in their order; None where somebody else should have a turn.

    An entry with a key that is large itself is cut too: its key is then in several pieces. What is short, or no JSON object, comes
    back as it is: whoever parses it finds out. Raises `ValueError` for what breaks off, goes on after its end, or cannot
    be cut small enough.
    """
    if len(text) <= PIECE or not text.lstrip().startswith(b"{"):
        yield Piece(text, 0)
        return
    members = _Members(text)
    end = 0
    for number, mark in enumerate(_MARK.finditer(text), 1):
        if number % _TURN == 0:
            yield None
        if not members.see(mark[1], mark.start(1)):
            end = mark.end()
            break
    if not end:
        raise ValueError("it breaks off")
    if text[end:].strip():
        raise ValueError(f"there is something after its end, at byte {end}")
    yield from members.pieces()


@dataclass(slots=True)
class _Part:
    opener: bytes
    """What stands before it in its piece, up to the bracket that it lies in."""
    begin: int
    end: int
    closer: bytes


@dataclass(slots=True)
class _Members:
    """What is found of an object while its marks go by."""

    text: bytes
    plain: list[bytes] = field(default_factory=list)
    parts: list[_Part] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    """Where the brackets are that are open, the object's own first."""
    begun: list[int] = field(default_factory=lambda: [0])
    """Where the entry begins that is under way, outside of them all and within each."""
    opener: bytes = b""
    since: int = 0
    """Of what is in no part yet."""
    is_plain: bool = True
    """The member under way has no bracket."""

    def see(self, sign: bytes, at: int) -> bool:
        """False: that was the end."""
        match sign:
            case b"{" | b"[":
                self.is_plain = self.is_plain and not self.opened
                self.opened.append(at)
                self.begun.append(at + 1)
                if len(self.opened) == 1:
                    self.since = at + 1
            case b",":
                self._separate(at)
                self.begun[-1] = at + 1
            case b"":
                raise ValueError("it breaks off")
            case _:
                if len(self.opened) == 1:
                    self._end_member(at)
                self.opened.pop()
                self.begun.pop()
        return bool(self.opened)

    def _separate(self, at: int) -> None:
        match len(self.opened):
            case 1:
                self._end_member(at)
            case 2 if at - self.since >= PIECE:
                self._cut(at)
            case 3 if self._is_keyed() and at - max(self.since, self.begun[2]) >= PIECE:
                self._cut(at)

    def _is_keyed(self) -> bool:
        """The entry under way has a key, under which its parts belong together."""
        return self.text[self.opened[1]] == ord("{")

    def _cut(self, at: int) -> None:
        inner = self.opened[1:]
        self._part(at, b"".join(_CLOSERS[self.text[one]] for one in reversed(inner)))
        begun = self.begun[1:]
        self.opener = b"".join(
            self.text[begin : bracket + 1] for begin, bracket in zip(begun, inner, strict=False)
        )
        self.since = at + 1

    def _end_member(self, at: int) -> None:
        if self.is_plain:
            self.plain.append(self.text[self.since : at])
        else:
            self._part(at, b"")
        self.opener, self.since, self.is_plain = b"", at + 1, True

    def _part(self, end: int, closer: bytes) -> None:
        if len(self.opener) + end - self.since > LONGEST:
            raise ValueError(f"before byte {end} stands an entry of more than {LONGEST - PIECE} bytes")
        self.parts.append(_Part(self.opener, self.since, end, closer))

    def pieces(self) -> Iterator[Piece]:
        if sum(map(len, self.plain)) > _PLAIN:
            raise ValueError(f"its plain values have more than {_PLAIN} bytes")
        for one in self.parts or [_Part(b"", 0, 0, b"")]:
            part = one.opener + self.text[one.begin : one.end] + one.closer
            members = [*self.plain, part] if self.parts else self.plain
            yield Piece(b"{" + b",".join(members) + b"}", one.begin)

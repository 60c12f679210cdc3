"""Prompts as paths of pieces: tokens are numbers here, nobody reads them. Prompts that begin alike begin with the same pieces."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

Key = TypeVar("Key")


class Piece:
    """A run of tokens behind one certain beginning."""

    __slots__ = ("end", "made_by", "number", "place", "start", "tokens")

    def __init__(self, number: int, before: Piece | None, tokens: int) -> None:
        self.number = number
        self.place: int = 0 if before is None else before.place + 1
        """In its path."""
        self.start: int = 0 if before is None else before.end
        self.tokens = tokens
        self.end: int = self.start + tokens
        self.made_by = 0
        """A bit for each engine that has computed it."""


Path = tuple[Piece, ...]
"""Of a prompt, from its beginning on."""


class Pieces:
    """All there are, each once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, Hashable], Piece] = {}

    def path(self, runs: Iterable[tuple[Hashable, int]]) -> Path:
        """Of what stands there, and how many tokens that is (at least one)."""
        known, path = self._known, []
        before: Piece | None = None
        for what, tokens in runs:
            key = (-1 if before is None else before.number, what)
            piece = known.get(key)
            if piece is None:
                piece = known[key] = Piece(len(known), before, tokens)
            path.append(piece)
            before = piece
        return tuple(path)


def shared_tokens(one: Path, other: Path) -> int:
    """With which both begin."""
    tokens = 0
    for left, right in zip(one, other, strict=False):
        if left is not right:
            break
        tokens = left.end
    return tokens


def cut(prompts: Mapping[Key, Sequence[int]]) -> dict[Key, Path]:
    """Prompts that are known token by token, cut where any two of them part: they share what an engine would find that they
    share."""
    ordered = sorted(prompts, key=lambda key: list(prompts[key]))
    ends: dict[Key, set[int]] = {key: {len(prompts[key])} for key in ordered}
    for way in (ordered, ordered[::-1]):
        # In order, two share the least that any neighbours between them do.
        shared_by_all: list[int] = []
        for one, other in pairwise(way):
            shared = _alike(prompts[one], prompts[other])
            while shared_by_all and shared_by_all[-1] > shared:
                shared_by_all.pop()
            if shared and (not shared_by_all or shared_by_all[-1] < shared):
                shared_by_all.append(shared)
            ends[other].update(shared_by_all)
    pieces = Pieces()
    return {key: pieces.path(_runs(prompts[key], sorted(ends[key]))) for key in prompts}


def _runs(tokens: Sequence[int], ends: Sequence[int]) -> Iterator[tuple[Hashable, int]]:
    for start, end in zip((0, *ends), ends, strict=False):
        yield tuple(tokens[start:end]), end - start


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    most = min(len(one), len(other))
    return next((place for place in range(most) if one[place] != other[place]), most)

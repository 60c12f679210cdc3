"""What an eviction that knows the future would have hit, on a recorded sequence of calls, and others beside it. Pure.

The cache holds `capacity` tokens of a trie of prompts. A call finds the longest prefix of its prompt that is held, at most all
but the last token: an engine always computes one. While it runs, its prompt and its output are locked. When room is
needed, MIN gives up the tokens whose next use is farthest, tails first; nobody can hit more with that capacity.
Outputs are never asked for again, since prompts do not depend on answers.

A running call takes what it needs; where that does not fit beside the other running calls, what is too much is not
kept. A prompt can be found from the start of the call that brings it.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """`start` and `end` only order calls among each other: seconds will do. At the same moment, ends come first."""

    start: float
    end: float
    prompt: Sequence[int]
    output_tokens: int
    first: bool
    """Whether it counts as the first call of an activation."""


@dataclass(frozen=True, slots=True)
class Hits:
    tokens: tuple[int, ...]
    """Per call, in the order the calls were given in."""
    peak_tokens: int
    """The most that was held at a time."""


class Cut(Sequence[RecordedCall]):
    """Calls, and their prompts cut into runs of tokens that the same ones ask for: most of the work, done once for any
    number of replays."""

    def __init__(self, calls: Sequence[RecordedCall]) -> None:
        self._calls = tuple(calls)
        self.lengths: list[int] = []
        """Of the pieces."""
        self.depths: list[int] = []
        """Where each ends in a prompt."""
        self.paths = self._cut([call.prompt for call in calls])
        """Of each call: the pieces that its prompt is made of. The last token is one of its own, as no call hits it."""

    @classmethod
    def of_pieces(cls, calls: Sequence[RecordedCall], tokens_of: Mapping[int, int]) -> Cut:
        """Of prompts that are cut already: `prompt` holds numbers of pieces, each of which stands behind one certain
        beginning and has so many tokens."""
        cut = cls(())
        cut._calls = tuple(calls)
        last = {call.prompt[-1] for call in calls if call.prompt}
        runs: dict[int, list[int]] = {}
        for call in calls:
            path: list[int] = []
            depth = 0
            for number in call.prompt:
                tokens = tokens_of[number]
                if number not in runs:
                    split = [tokens - 1, 1] if number in last and tokens > 1 else [tokens]
                    runs[number] = cut._add(split, depth)
                path += runs[number]
                depth += tokens
            cut.paths.append(path)
        return cut

    def _add(self, lengths: Sequence[int], depth: int) -> list[int]:
        first = len(self.lengths)
        for length in lengths:
            depth += length
            self.lengths.append(length)
            self.depths.append(depth)
        return list(range(first, len(self.lengths)))

    def _cut(self, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        root = _Node([])
        for prompt in prompts:
            tokens = list(prompt)
            _insert(root, tokens[:-1])
            _insert(root, tokens)
        return [self._path(root, prompt) for prompt in prompts]

    def _path(self, root: _Node, prompt: Sequence[int]) -> list[int]:
        node, at, path = root, 0, []
        while at < len(prompt):
            node = node.children[prompt[at]]
            at += len(node.tokens)
            if node.piece is None:
                (node.piece,) = self._add([len(node.tokens)], at - len(node.tokens))
            path.append(node.piece)
        return path

    @overload
    def __getitem__(self, index: int) -> RecordedCall: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[RecordedCall]: ...

    def __getitem__(self, index: int | slice) -> RecordedCall | Sequence[RecordedCall]:
        return self._calls[index]

    def __len__(self) -> int:
        return len(self._calls)


def minimum(calls: Sequence[RecordedCall], capacity: float) -> Hits:
    """Token-level MIN."""
    return _Replay(calls, capacity, lambda piece, now, at: -piece.next_use(now)).run()


def unlimited(calls: Sequence[RecordedCall]) -> Hits:
    """A cache that never gives anything up: what there is to hit at all."""
    return minimum(calls, math.inf)


def least_recent(calls: Sequence[RecordedCall], capacity: float) -> Hits:
    """Token-level LRU, to measure MIN against."""
    return _Replay(calls, capacity, lambda piece, now, at: now).run()


def most_recent(calls: Sequence[RecordedCall], capacity: float) -> Hits:
    """Token-level MRU: what was used last goes first, but for what runs."""
    return _Replay(calls, capacity, lambda piece, now, at: -now).run()


def most_worth(
    calls: Sequence[RecordedCall],
    capacity: float,
    worth: Callable[[int, float], float],
    again_at: Sequence[float],
) -> Hits:
    """`worth(call, at)` says how much the prompt of that call is worth at that moment; what is worth least goes first, and what
    no other call asks for before all else. It may change with every call's end, and for all at the moments `again_at`.
    Of what several calls ask for, the one that has started last is asked."""

    def keep(piece: _Piece, now: int, at: float) -> float:
        return worth(piece.last, at) if len(piece.uses) > 1 else -math.inf

    return _Replay(calls, capacity, keep, again_at).run()


@dataclass(slots=True, eq=False)
class _Piece:
    """A run of tokens that the same calls ask for: held from its head up to `held` tokens."""

    length: int
    depth: int = 0
    held: int = 0
    locks: int = 0
    uses: list[int] = field(default_factory=list)
    """The moments at which a call starts that could hit it, in order."""
    last: int = -1
    """The call that has started last of those that ask for it."""
    version: int = 0
    """Goes up with every lock and unlock, so that older entries among the candidates are known to be stale."""

    def next_use(self, now: int) -> float:
        index = bisect_right(self.uses, now)
        return self.uses[index] if index < len(self.uses) else math.inf


@dataclass(slots=True, eq=False)
class _Node:
    """A node of the radix tree that cuts the prompts into pieces."""

    tokens: list[int]
    children: dict[int, _Node] = field(default_factory=dict)
    piece: int | None = None


def _shared(a: Sequence[int], a_from: int, b: Sequence[int]) -> int:
    """How many tokens `a[a_from:]` and `b` have in common at their heads. Slices compare at the speed of C."""
    low, high = 0, min(len(a) - a_from, len(b))
    if a[a_from : a_from + high] == b[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if a[a_from + low : a_from + middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _insert(root: _Node, prompt: list[int]) -> None:
    node, at = root, 0
    while at < len(prompt):
        child = node.children.get(prompt[at])
        if child is None:
            node.children[prompt[at]] = _Node(prompt[at:])
            return
        shared = _shared(prompt, at, child.tokens)
        if shared < len(child.tokens):
            head = _Node(child.tokens[:shared], {child.tokens[shared]: child})
            child.tokens = child.tokens[shared:]
            node.children[prompt[at]] = head
            child = head
        node, at = child, at + shared


class _Replay:
    def __init__(
        self,
        calls: Sequence[RecordedCall],
        capacity: float,
        keep: Callable[[_Piece, int, float], float],
        again_at: Sequence[float] = (),
    ) -> None:
        """`keep(piece, now, at)` says how much a piece should stay, seen from the moment it is unlocked (its number, its
        seconds): the lowest goes first. At `again_at` it is asked anew of all that may go."""
        cut = calls if isinstance(calls, Cut) else Cut(calls)
        pieces = [_Piece(length, depth) for length, depth in zip(cut.lengths, cut.depths, strict=True)]
        self._capacity = capacity
        self._keep = keep
        self._again_at = deque(sorted(again_at))
        self._paths = [[pieces[piece] for piece in path] for path in cut.paths]
        # A call that ends at its start still starts first.
        self._moments = sorted(
            [(call.start, 1, index) for index, call in enumerate(calls)]
            + [(call.end, 0 if call.end > call.start else 2, index) for index, call in enumerate(calls)]
        )
        self._outputs = [call.output_tokens for call in calls]
        self._output_pieces: dict[int, _Piece] = {}
        self._candidates: list[tuple[float, int, int, int, _Piece]] = []
        self._entries = 0
        self._held: float = 0
        self._peak: float = 0
        for now, (_, kind, index) in enumerate(self._moments):
            if kind == 1:
                for piece in self._paths[index][:-1]:
                    piece.uses.append(now)

    def run(self) -> Hits:
        hits = [0] * len(self._paths)
        for now, (at, kind, index) in enumerate(self._moments):
            if self._again_at and self._again_at[0] <= at:
                self._rank_anew(now, at)
            if kind == 1:
                hits[index] = self._start(index)
            else:
                self._end(index, now, at)
        return Hits(tuple(hits), int(self._peak))

    def _rank_anew(self, now: int, at: float) -> None:
        while self._again_at and self._again_at[0] <= at:
            self._again_at.popleft()
        candidates = [entry for entry in self._candidates if entry[3] == entry[4].version]
        self._candidates = [(self._keep(entry[4], now, at), *entry[1:]) for entry in candidates]
        heapq.heapify(self._candidates)

    def _start(self, index: int) -> int:
        path = self._paths[index]
        hit = 0
        for piece in path[:-1]:
            hit += piece.held
            if piece.held < piece.length:
                break
        output = _Piece(
            self._outputs[index], depth=sum(piece.length for piece in path) + self._outputs[index]
        )
        self._output_pieces[index] = output
        whole = [*path, output]
        for piece in whole:
            piece.last = index
            piece.locks += 1
            piece.version += 1
        missing = sum(piece.length - piece.held for piece in whole)
        self._make_room(missing)
        for piece in whole:
            taken = min(piece.length - piece.held, self._capacity - self._held)
            piece.held += int(taken)
            self._held += taken
        self._peak = max(self._peak, self._held)
        return hit

    def _end(self, index: int, now: int, at: float) -> None:
        for piece in [*self._paths[index], self._output_pieces.pop(index)]:
            piece.locks -= 1
            piece.version += 1
            self._offer(piece, now, at)

    def _offer(self, piece: _Piece, now: int, at: float) -> None:
        """Makes an unlocked piece a candidate for eviction: the least to keep first, of equals the deepest."""
        if piece.locks == 0 and piece.held > 0:
            self._entries += 1
            entry = (self._keep(piece, now, at), -piece.depth, self._entries, piece.version, piece)
            heapq.heappush(self._candidates, entry)

    def _make_room(self, tokens: int) -> None:
        while self._held + tokens > self._capacity and self._candidates:
            entry = heapq.heappop(self._candidates)
            version, piece = entry[3], entry[4]
            if version != piece.version:
                continue
            given_up = min(piece.held, math.ceil(self._held + tokens - self._capacity))
            piece.held -= given_up
            self._held -= given_up
            if piece.held > 0:
                heapq.heappush(self._candidates, entry)

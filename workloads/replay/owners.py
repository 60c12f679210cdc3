"""Which part of each owner's prompt is expected to come back, as SGLang's plugin guesses it: by what its last prompts shared."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from scalesim.engine_adapters.sglang_plugin.ledger import LIVE_CALLS, SLIVER_TOKENS

from .paths import Path, Piece, shared_tokens


@dataclass(slots=True)
class _Owner:
    path: Path
    depths: deque[int] = field(default_factory=lambda: deque(maxlen=LIVE_CALLS))
    reusable: float = math.inf
    """Tokens. All of it after one call: nothing is known."""
    memory: Path = ()
    """What is expected to come back of the path."""


class Owners:
    def __init__(self) -> None:
        self._owners: dict[str, _Owner] = {}
        self._growth = 0
        """Of the last history that was seen to grow, whoever's."""

    def note(self, owner: str, path: Path) -> None:
        """A prompt of the owner came."""
        known = self._owners.get(owner)
        if known is None:
            self._owners[owner] = _Owner(path, memory=path)
            return
        depths = known.depths
        depths.append(shared_tokens(known.path, path))
        if len(depths) > 1 and depths[-1] > depths[-2]:
            self._growth = depths[-1] - depths[-2]
        growth = depths[-1] - depths[-2] if len(depths) > 1 else self._growth
        known.path = path
        known.reusable = reusable = max(depths) + max(0, growth)
        known.memory = tuple([piece for piece in path if piece.start + SLIVER_TOKENS <= reusable])

    def is_live(self, owner: str, piece: Piece) -> bool:
        """Whether the owner's next prompt is expected to have that piece."""
        known = self._owners.get(owner)
        if known is None or piece.start + SLIVER_TOKENS > known.reusable:
            return False
        return piece.place < len(known.path) and known.path[piece.place] is piece

    def is_task(self, owner: str, piece: Piece) -> bool:
        """Whether the owner's last prompt ends with it. In programs, nobody asks for that again."""
        known = self._owners.get(owner)
        return known is not None and known.path[-1] is piece

    def most_tokens(self, owners: Iterable[str]) -> int:
        """As `memory` of all of them, if all of it were there."""
        known = [self._owners[owner].memory for owner in owners if owner in self._owners]
        return sum([memory[-1].end for memory in known if memory])

    def memory(self, owner: str) -> Path:
        """What is expected to come back of the owner's last prompt."""
        known = self._owners.get(owner)
        return () if known is None else known.memory

"""What is asked of engines: the calls of a program, as paths of pieces."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator

from scalesim.workloads.authors import MESSAGE_OVERHEAD_TOKENS
from scalesim.workloads.program import Call, Message

from .paths import Path, Pieces

TOKENS = "tokens"
"""The field of a message that is only a sketch: how many tokens it would have."""


class Prompts:
    """Messages share tokens with others as a whole, or not at all: where two prompts differ inside of a message, an engine would
    find the beginning of it, too."""

    def __init__(self, chars_per_token: float) -> None:
        self._chars_per_token = chars_per_token
        self.pieces = Pieces()

    def path(self, call: Call, adapter: str | None) -> Path:
        """With an adapter nothing is shared with those who have another, or none."""
        return self.pieces.path(self._runs(call, adapter))

    def _runs(self, call: Call, adapter: str | None) -> Iterator[tuple[Hashable, int]]:
        for place, message in enumerate(call.messages):
            what = (message["role"], message["content"])
            yield (what, adapter) if place == 0 else what, self._tokens(message)

    def _tokens(self, message: Message) -> int:
        sketched = message.get(TOKENS)
        if sketched is not None:
            return int(sketched)
        return math.ceil(len(message["content"]) / self._chars_per_token) + MESSAGE_OVERHEAD_TOKENS

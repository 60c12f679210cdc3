"""How useful loads ahead of calls were, by kind of memory, since the engine's start."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, replace

from ..sglang_plugin.loads import Counts

MemoryKey = tuple[str, str]
"""Kind and key, as in a command."""
MAX_FRESH = 65_536


class Tally:
    def __init__(self, kinds: list[str]) -> None:
        self.of = {kind: Counts() for kind in kinds}
        self._fresh: OrderedDict[MemoryKey, None] = OrderedDict()
        """Loaded in time, and no call came yet."""

    def loaded(self, memory: MemoryKey) -> None:
        self._fresh[memory] = None
        if len(self._fresh) > MAX_FRESH:
            self._fresh.popitem(last=False)

    def called(self, memory: MemoryKey, *, late: bool, was_ahead: bool, brought_itself: bool) -> None:
        """A call has begun that needs it; `late`: when it came, a load ahead was under way."""
        counts = self.of[memory[0]]
        fresh = memory in self._fresh
        self._fresh.pop(memory, None)
        if late:
            counts.late += 1
        elif fresh and was_ahead:
            counts.used += 1
        elif brought_itself:
            counts.missed += 1

    def told(self, wasted: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, int]]:
        """`wasted`: how many, and their bytes, by kind; known to those who hold the memory."""
        told = {}
        for kind, counts in self.of.items():
            number, size_bytes = wasted[kind]
            told[kind] = asdict(replace(counts, wasted=number, wasted_bytes=size_bytes))
        return told

    def sizes(self) -> dict[str, int]:
        return {"loaded_unused": len(self._fresh)}

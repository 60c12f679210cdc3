"""All memory of one emulated engine: what a call needs of it, and bringing that to the device when the call begins."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..sglang_plugin.ledger import MISSED_TOKENS
from .adapters import Adapter
from .cache import KV_PREFIX, RadixCache
from .counts import MemoryKey
from .nodes import Node
from .objects import Objects
from .pools import Limit, Pool

if TYPE_CHECKING:
    from .scheduler import Generation

LORA = "lora"


class Whole:
    """Objects of one kind as memory that can be loaded; `copies`: the keys of which host memory has one (None: all)."""

    def __init__(self, objects: Objects, copies: Collection[str] | None) -> None:
        self.objects = objects
        self.copies = copies

    def report(self, key: str) -> tuple[int, int]:
        held = self.objects.held.get(key)
        if held is None and self.copies is not None and key not in self.copies:
            return (0, 0)
        missing = self.objects.missing_bytes(key)
        return (self.objects.size_bytes - missing, missing)

    def sizes_of(self, nearest: Collection[str]) -> dict[str, tuple[int, int]]:
        """Of all adapters that the engine knows; of other kinds those on the device, and of the owners given."""
        keys = self.objects.held.keys() | (nearest if self.copies is None else self.copies)
        return {key: self.report(key) for key in sorted(keys)}

    def can_place(self, key: str, below: Limit) -> bool:
        return self.objects.could_load(key, below)

    def begin_slice(self, key: str, below: Limit, most_bytes: int) -> int | None:
        if not self.objects.place(key, below):
            return None
        moved = self.objects.move(key, most_bytes, below, ahead=True)
        if moved is None:
            self.objects.forget_empty(key)
        else:
            self.objects.held[key].moving = moved > 0
        return moved

    def end_slice(self, key: str) -> None:
        held = self.objects.held.get(key)
        if held is not None:  # else it was unloaded meanwhile
            held.moving = False


@dataclass(slots=True)
class Brought:
    """What a call brought to the device when it began."""

    size_bytes: int = 0
    loads: int = 0
    awaits_link: bool = False
    """Part of what it needs is on the link right now."""
    calls: list[tuple[MemoryKey, bool, bool]] = field(default_factory=list)
    """Each memory it needs, whether it had to bring of it itself, and whether some had been moved ahead."""

    def add(self, moved_bytes: int) -> None:
        self.size_bytes += moved_bytes
        self.loads += moved_bytes > 0


class Memory:
    """`private`: further kinds, of which each owner has one of its own. The names of all kinds are in `kinds`."""

    def __init__(
        self, cache: RadixCache, *, slots: Objects | None = None, private: dict[str, Objects] | None = None
    ) -> None:
        self.cache = cache
        self.slots = slots
        self.private = private or {}

    @property
    def kinds(self) -> list[str]:
        return [KV_PREFIX, *([LORA] if self.slots is not None else []), *self.private]

    @property
    def pools(self) -> list[Pool]:
        """Each once."""
        pools = [self.cache.pool, *(one.pool for one in self._all_objects())]
        return list(dict.fromkeys(pools))

    def _all_objects(self) -> Iterator[Objects]:
        if self.slots is not None:
            yield self.slots
        yield from self.private.values()

    def wasted(self) -> dict[str, tuple[int, int]]:
        """What was brought ahead and left unused, by kind: how many memories, and bytes, parts of them included."""
        ahead, size = self.cache.ahead, self.cache.bytes_per_token
        objects = {one.kind: (one.wasted, one.wasted_bytes) for one in self._all_objects()}
        return {KV_PREFIX: (ahead.wasted, ahead.wasted_tokens * size), **objects}

    def flush(self) -> None:
        """Prefixes go; adapters and private memory stay, as SGLang's slots do."""
        self.cache.flush()

    # --- what calls do ---------------------------------------------------------------------------------------------

    def root_of(self, adapter: Adapter | None) -> Node:
        return self.cache.root if adapter is None else self.cache.root_of(adapter.id, adapter.state)

    def objects_for(self, call: Generation) -> list[tuple[Objects, str]]:
        needed = [(one, call.owner) for one in self.private.values() if call.owner is not None]
        if self.slots is not None and call.adapter is not None:
            needed.append((self.slots, call.adapter.name))
        return needed

    def keys_for(self, call: Generation) -> list[MemoryKey]:
        prefix = [] if call.owner is None else [(KV_PREFIX, call.owner)]
        return prefix + [(objects.kind, key) for objects, key in self.objects_for(call)]

    def is_ready(self, call: Generation) -> bool:
        """Whether nothing has to be brought for it."""
        if any(objects.missing_bytes(key) for objects, key in self.objects_for(call)):
            return False
        root = self.root_of(call.adapter)
        return not self.cache.extent_of(call.prompt, len(call.prompt) - 1, root)[1]

    def needed_by(self, call: Generation) -> int:
        """Tokens that a waiting call will need, with those it has on the device already left out."""
        limit = len(call.prompt) - 1
        on_device, _ = self.cache.extent_of(call.prompt, limit, self.root_of(call.adapter))
        return len(call.prompt) - on_device + call.planned

    def has_place(self, call: Generation) -> bool:
        """Whether a slot is to be had for its adapter while others run."""
        return all(one.has_place(key) for one, key in self.objects_for(call))

    def begin(self, call: Generation, owed: int) -> Brought | None:
        """Locks and brings what the call needs; None: there is no room for it now. `owed`: tokens promised to others.

        Sets the call's `node`, `cached` and `from_host`.
        """
        cache, objects = self.cache, self.objects_for(call)
        # The last token is always computed: its result is what the answer starts from.
        limit = len(call.prompt) - 1
        node, cached = cache.match(call.prompt, limit, self.root_of(call.adapter))
        cache.lock(node)
        placed = self._place(objects)
        missing = sum(one.missing_bytes(key) for one, key in placed if one.pool is cache.pool)
        needed = len(call.prompt) - cached + call.planned + 1
        if len(placed) < len(objects) or needed >= cache.obtainable(missing) - owed:
            self._unlock(placed)
            cache.unlock(node)
            return None
        brought = Brought(awaits_link=cache.is_moving(node))
        for one, key in objects:
            brought.awaits_link |= one.held[key].moving
            moved = one.move(key, one.size_bytes, ahead=False)
            assert moved is not None, "there was room for all of it"
            brought.add(moved)
            brought.calls.append(((one.kind, key), moved > 0, one.use(key)))
        was_ahead = call.owner is not None and cache.ahead.use(node, call.owner)
        found = cache.match_host(call.prompt, limit, node, cached)
        node, from_host = cache.bring_back(node, found)
        brought.add(from_host * cache.bytes_per_token)
        if call.owner is not None:
            # A little is not missed: what comes back of a prompt is known in blocks only.
            brought.calls.append(((KV_PREFIX, call.owner), from_host >= MISSED_TOKENS, was_ahead))
        call.node, call.cached, call.from_host = node, cached + from_host, from_host
        return brought

    def _place(self, objects: list[tuple[Objects, str]]) -> list[tuple[Objects, str]]:
        """Gives each its place and locks it; returns those that got one."""
        placed = []
        for one, key in objects:
            if one.place(key):
                one.lock(key)
                placed.append((one, key))
        return placed

    def _unlock(self, placed: list[tuple[Objects, str]]) -> None:
        for one, key in placed:
            one.unlock(key)
            one.forget_empty(key)

    def end(self, call: Generation) -> None:
        """Unlocks what `begin` locked."""
        if call.node is None:
            return
        self.cache.unlock(call.node)
        call.node = None
        self._unlock(self.objects_for(call))

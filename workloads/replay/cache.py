"""The prefix cache of one engine: pieces on the device and in host memory, locked while calls need them, given up leaf by leaf.

Room is taken when a call begins, for its answer too; what is computed can be found once it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Protocol

from .paths import Path, Piece

MAX_OWNERS = 8
"""Of a piece, kept by name."""

STALE, LEAST_RANKED = 4, 1024
"""What is ranked is ranked anew, and what is void dropped, from so many times as many on as may leave, and so many more."""

Rank = tuple[float, float, float]
"""Smaller leaves earlier."""


class Entry:
    """A piece of a prompt, or the answer behind one (which nobody finds again), as this engine has it."""

    __slots__ = (
        *("ahead", "kids", "locks", "made", "number", "on_device", "on_host", "owners", "parent"),
        *("piece", "ready", "stamp", "tail", "tokens", "used", "uses"),
    )

    def __init__(self, number: int, piece: Piece | None, tokens: int, parent: Entry | None) -> None:
        self.number = number
        self.piece = piece
        self.tokens = tokens
        self.parent = parent
        self.on_device = self.on_host = False
        self.ready = False
        """It is not being computed or moved any more."""
        self.ahead = False
        """Brought before a call needed it, and needed by none since."""
        self.locks = 0
        self.kids = 0
        """On the device."""
        self.made = 0
        """When it became known, and when it was used last, by the cache's own count."""
        self.used = 0
        self.uses = 0
        self.tail: Entry | None = None
        """What came together with it, behind it, and was never asked for without: with it, it leaves."""
        self.stamp = 0
        """Another one whenever its rank may be another."""
        self.owners: dict[str, None] = {}


class Rule(Protocol):
    """By which memory leaves."""

    @property
    def version(self) -> int:
        """Another one when ranks may be others though nobody used anything."""
        ...

    def rank(self, entry: Entry) -> Rank: ...

    def is_farther(self, entry: Entry, distance: float) -> bool:
        """Whether it may make room for memory at that distance."""
        ...


@dataclass(slots=True)
class Counts:
    """In tokens."""

    evicted: int = 0
    wasted: int = 0
    """Brought ahead, and gone before any call needed it."""


@dataclass(slots=True)
class Held:
    """What a call holds, from its beginning to its end."""

    entries: list[Entry]
    cached: int
    """Tokens that need not be computed..."""
    from_host: int
    """... of which these were copied for it..."""
    ahead: int
    """... and these had been brought before it came."""
    missing: list[Entry] = field(default_factory=list)
    """What it computes."""


class Cache:
    def __init__(
        self,
        capacity: int,
        rule: Rule,
        *,
        host_capacity: int = 0,
        block: int = 1,
        copied: Callable[[Entry], bool] = lambda _: True,
        whole: Callable[[], bool] = lambda: False,
        writes_through: bool = False,
    ) -> None:
        """In tokens. `copied`: whether it gets a copy in host memory. `whole`: whether what came together leaves together, however
        little room is needed. `writes_through`: copies are made when something was computed, and not when it leaves."""
        self.capacity = capacity
        self.host_capacity = host_capacity
        self.used = self.host_used = 0
        self.loose = 0
        """On the device and locked by nobody."""
        self.counts = Counts()
        self._rule = rule
        self._block = block
        self._copied = copied
        self._whole = whole
        self._writes_through = writes_through
        self._entries: dict[int, Entry] = {}
        self._host: OrderedDict[int, Entry] = OrderedDict()
        self._leaves: dict[int, Entry] = {}
        self._heap: list[tuple[Rank, int, int, Entry]] = []
        self._version = -1
        self._ticks = 0
        self._answers = 0

    @property
    def free(self) -> int:
        return self.capacity - self.used

    @property
    def ranked(self) -> int:
        """How many ranks are kept, with those that are void by now."""
        return len(self._heap)

    def device_tokens(self, path: Path) -> int:
        """Of these pieces, those on the device and ready."""
        if self.host_capacity:
            return sum([entry.tokens for entry in self._here(path) if entry.ready])
        # What is ready was computed with all that is before it, and nothing else is known: only a copy may be back sooner than that,
        # or known and not here. Most are asked of whose memory is all here, or nearly all gone.
        known = self._entries
        if not path or ((last := known.get(path[-1].number)) is not None and last.ready):
            return path[-1].end if path else 0
        tokens = 0
        for piece in path:
            entry = known.get(piece.number)
            if entry is None or not entry.ready:
                break
            tokens = piece.end
        return tokens

    def absent(self, path: Path) -> list[Entry]:
        """Of these pieces, those that a load could bring: in host memory, and all that is before them there or here."""
        found = []
        for piece in path:
            entry = self._entries.get(piece.number)
            if entry is None or not (entry.on_device or entry.on_host):
                break
            if not entry.on_device:
                found.append(entry)
        return found

    def needed(self, path: Path, answer: int) -> int:
        """Tokens for which there would have to be room."""
        here = sum([entry.tokens for entry in self._here(path)])
        return (path[-1].end if path else 0) - here + answer

    def _here(self, path: Path) -> list[Entry]:
        """Of these pieces, those on the device. What is behind one that is not is not there either."""
        known, here = self._entries, []
        for piece in path:
            entry = known.get(piece.number)
            if entry is None or not entry.on_device:
                break
            here.append(entry)
        return here

    def hold(self, path: Path) -> list[Entry]:
        """Locks what is on the device of it, until `let_go`."""
        here = self._here(path)
        for entry in here:
            self._lock(entry)
        return here

    def let_go(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._unlock(entry)

    def begin(self, path: Path, answer: int, owner: str | None) -> Held | None:
        """Locks what is there, and takes room for the rest. None: there is none. The last token is always computed."""
        here = self._here(path)
        for entry in here:
            self._lock(entry)
        needed = path[-1].end - sum([entry.tokens for entry in here]) + answer
        if needed > self.free + self.loose:
            for entry in here:
                self._unlock(entry)
            return None
        self.make_room(needed)
        self._ticks += 1
        held = Held([], 0, 0, 0)
        parent: Entry | None = None
        whole = came = True
        for piece in path:
            entry = self._entry(piece, parent)
            came = self._follow(parent, entry, came)
            if whole and entry.ready and entry.on_device:
                held.cached = piece.end
                held.ahead += entry.tokens if entry.ahead else 0
            elif whole and entry.on_host and not entry.on_device:
                held.cached = piece.end
                held.from_host += entry.tokens
                self._place(entry)
                self._lock(entry)
                entry.ready = True
                self._host.move_to_end(entry.number)
            else:
                whole = False
                if not entry.on_device:
                    self._place(entry)
                    self._lock(entry)
                if not entry.ready:
                    held.missing.append(entry)
            entry.ahead = False
            self._use(entry, owner)
            held.entries.append(entry)
            parent = entry
        if parent is not None:
            parent.tail = None
        if answer:
            self._answers += 1
            entry = self._entry(None, parent, answer)
            self._place(entry)
            self._lock(entry)
            entry.used = self._ticks
            held.entries.append(entry)
        held.cached = min(held.cached, path[-1].end - 1) // self._block * self._block
        held.from_host = min(held.from_host, held.cached)
        return held

    @staticmethod
    def _follow(before: Entry | None, entry: Entry, before_came: bool) -> bool:
        """A path goes on with this entry; whether it comes only now."""
        comes = not entry.on_device
        if comes:
            entry.tail = None
        if before is not None:
            if comes and before_came:
                before.tail = entry
            elif before.tail is not entry:
                before.tail = None
        return comes

    def computed(self, held: Held) -> None:
        for entry in held.missing:
            entry.ready = True
        self._write(held.entries)

    def end(self, held: Held) -> None:
        self._ticks += 1
        for entry in held.entries:
            entry.used = self._ticks
            entry.ready = True
        self._write(held.entries)
        for entry in held.entries:
            self._unlock(entry)

    # Loads ahead

    def could_free(self, tokens: int, distance: float) -> bool:
        """Whether there is so much room, or what is farther could make it."""
        missing = tokens - self.free
        if missing <= 0:
            return True
        if missing > self.loose:
            return False
        for entry in self._entries.values():
            if entry.on_device and not entry.locks and self._rule.is_farther(entry, distance):
                missing -= entry.tokens
                if missing <= 0:
                    return True
        return False

    def reserve(self, entries: list[Entry], distance: float) -> bool:
        """Takes room for what is about to be moved; what is before it on the device is locked as long."""
        above = self._above(entries)
        for entry in above:
            self._lock(entry)
        for entry in () if self._writes_through else entries:
            self._take_from_host(entry)  # or who makes room for it might take its place there
        if not self.make_room(sum(entry.tokens for entry in entries), distance):
            for entry in entries:
                self._copy(entry)
            for entry in above:
                self._unlock(entry)
            return False
        for entry in entries:
            self._place(entry)
            self._lock(entry)
            entry.ready = False
        return True

    def moved(self, entry: Entry) -> None:
        entry.ready = entry.ahead = True
        self._ticks += 1
        entry.used = self._ticks
        self._copy(entry)

    def release(self, entries: list[Entry]) -> None:
        """After `reserve`, of the same: what was not moved is not there."""
        for entry in reversed(entries):
            self._unlock(entry)
            if not (entry.ready or entry.locks or entry.kids):
                self._copy(entry)
                self._leave(entry)
        for entry in self._above(entries):
            self._unlock(entry)

    def _above(self, entries: list[Entry]) -> list[Entry]:
        above, entry = [], entries[0].parent
        while entry is not None:
            above.append(entry)
            entry = entry.parent
        return above

    # Room

    def make_room(self, tokens: int, distance: float | None = None) -> bool:
        """Gives up what ranks lowest; with a distance, only what is farther."""
        if tokens <= self.free:
            return True
        if self._version != self._rule.version:
            self._rank_anew()
        while tokens > self.free:
            if not self._heap:
                return False
            _, _, stamp, entry = self._heap[0]
            if entry.stamp != stamp or entry.number not in self._leaves:
                heappop(self._heap)
                continue
            if distance is not None and not self._rule.is_farther(entry, distance):
                return False
            heappop(self._heap)
            self._evict(entry)
            if self._whole():
                self._evict_with(entry)
        return True

    def _evict_with(self, gone: Entry) -> None:
        entry = gone.parent
        while entry is not None and entry.tail is gone and entry.number in self._leaves:
            self._evict(entry)
            gone, entry = entry, entry.parent

    def evict_owner(self, owner: str) -> None:
        """What is this owner's alone."""
        while own := [entry for entry in self._leaves.values() if list(entry.owners) == [owner]]:
            for entry in own:
                self._evict(entry)

    def _evict(self, entry: Entry) -> None:
        self.counts.evicted += entry.tokens
        if entry.ahead:
            self.counts.wasted += entry.tokens
            entry.ahead = False
        self._leave(entry)

    def _leave(self, entry: Entry) -> None:
        """The device."""
        entry.on_device = entry.ready = False
        entry.stamp += 1
        self._leaves.pop(entry.number, None)
        self.used -= entry.tokens
        self.loose -= entry.tokens
        parent = entry.parent
        if parent is not None:
            parent.kids -= 1
            self._offer(parent)
        if entry.piece is not None and (entry.on_host or self._copied(entry)):
            self._copy(entry)
        if not entry.on_host:
            self._forget(entry)

    def _write(self, path: list[Entry]) -> None:
        """Copies what was computed of it and is not in host memory, up to the first for which there is no room there.

        As SGLang's `write_through` (`unified_radix_cache.py`, `_execute_and_commit_kv_backup`): what is before it comes first,
        and answers are copied, too.
        """
        if not (self._writes_through and self.host_capacity):
            return
        for entry in path:
            if entry.on_host:
                continue
            if not (entry.ready and self._copied(entry) and self._make_host_room(entry.tokens)):
                return
            entry.on_host = True
            self.host_used += entry.tokens
            self._host[entry.number] = entry

    def _make_host_room(self, tokens: int) -> bool:
        """Gives up what only host memory has, from the ends of paths on, by the rule of the device: SGLang's
        `drive_host_eviction`. What is on the device as well keeps its copy."""
        if self.host_used + tokens <= self.host_capacity:
            return True
        behind: dict[int, int] = {}
        for entry in self._entries.values():
            if entry.parent is not None:
                behind[entry.parent.number] = behind.get(entry.parent.number, 0) + 1
        rank = self._rule.rank
        ends = [
            (rank(one), one.number, one)
            for one in self._host.values()
            if not (one.on_device or behind.get(one.number))
        ]
        heapify(ends)
        while ends and self.host_used + tokens > self.host_capacity:
            _, _, gone = heappop(ends)
            self._take_from_host(gone)
            self._forget(gone)
            parent = gone.parent
            if parent is not None:
                behind[parent.number] -= 1
                if parent.on_host and not (parent.on_device or behind[parent.number]):
                    heappush(ends, (rank(parent), parent.number, parent))
        return self.host_used + tokens <= self.host_capacity

    def _copy(self, entry: Entry) -> None:
        if self._writes_through:
            return
        if not entry.on_host:
            if entry.tokens > self.host_capacity:
                return
            entry.on_host = True
            self.host_used += entry.tokens
        self._host[entry.number] = entry
        self._host.move_to_end(entry.number)
        while self.host_used > self.host_capacity:
            _, oldest = self._host.popitem(last=False)
            oldest.on_host = False
            self.host_used -= oldest.tokens
            if not oldest.on_device:
                self._forget(oldest)

    def _take_from_host(self, entry: Entry) -> None:
        entry.on_host = False
        del self._host[entry.number]
        self.host_used -= entry.tokens

    def _forget(self, entry: Entry) -> None:
        self._entries.pop(entry.number, None)

    def _rank_anew(self) -> None:
        self._version = self._rule.version
        rank = self._rule.rank
        self._heap = [(rank(one), one.number, one.stamp, one) for one in self._leaves.values()]
        heapify(self._heap)

    # Entries

    def _entry(self, piece: Piece | None, parent: Entry | None, tokens: int = 0) -> Entry:
        number = -self._answers if piece is None else piece.number
        entry = self._entries.get(number)
        if entry is None:
            size = tokens if piece is None else piece.tokens
            entry = self._entries[number] = Entry(number, piece, size, parent)
            entry.made = self._ticks
        else:
            entry.parent = parent  # the one before may have been forgotten and be another one now
        return entry

    def _place(self, entry: Entry) -> None:
        assert entry.parent is None or entry.parent.on_device, "what is before it comes first"
        entry.on_device = True
        self.used += entry.tokens
        self.loose += entry.tokens
        assert self.used <= self.capacity, "room was made"
        if entry.parent is not None:
            entry.parent.kids += 1
            self._leaves.pop(entry.parent.number, None)

    def _use(self, entry: Entry, owner: str | None) -> None:
        entry.used = self._ticks
        entry.uses += 1
        if owner is not None:
            entry.owners.pop(owner, None)
            entry.owners[owner] = None
            if len(entry.owners) > MAX_OWNERS:
                del entry.owners[next(iter(entry.owners))]

    def _lock(self, entry: Entry) -> None:
        entry.locks += 1
        if entry.locks == 1:
            self.loose -= entry.tokens
            self._leaves.pop(entry.number, None)

    def _unlock(self, entry: Entry) -> None:
        entry.locks -= 1
        if entry.locks == 0:
            self.loose += entry.tokens
            self._offer(entry)

    def _offer(self, entry: Entry) -> None:
        """It may leave now, if nobody holds it and nothing hangs on it."""
        if entry.on_device and not entry.locks and not entry.kids:
            entry.stamp += 1
            self._leaves[entry.number] = entry
            if self._version == self._rule.version:
                heappush(self._heap, (self._rule.rank(entry), entry.number, entry.stamp, entry))
                if len(self._heap) > STALE * len(self._leaves) + LEAST_RANKED:
                    self._rank_anew()

    def check(self) -> None:
        """Raises `AssertionError` if what must always hold does not. Its cost grows with all there is: for tests."""
        there = [entry for entry in self._entries.values() if entry.on_device]
        assert sum(entry.tokens for entry in there) == self.used <= self.capacity
        assert sum(entry.tokens for entry in there if not entry.locks) == self.loose
        assert (
            sum(entry.tokens for entry in self._host.values()) == self.host_used <= max(0, self.host_capacity)
        )
        kids: dict[int, int] = {}
        for entry in there:
            if entry.parent is not None:
                assert entry.parent.on_device
                assert entry.parent.ready or not entry.ready or self.host_capacity
                assert entry.parent.locks >= min(1, entry.locks)
                kids[entry.parent.number] = kids.get(entry.parent.number, 0) + 1
        for entry in there:
            assert entry.kids == kids.get(entry.number, 0)
            assert (entry.number in self._leaves) == (not entry.kids and not entry.locks)

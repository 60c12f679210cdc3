"""Whether an engine's cache is ordered by distance or left to recency: never much worse than recency, whatever is told.

Three caches are played on the stream of calls: one evicts by recency, one by distance, and one, the guarded, by whichever
is in charge, from what it holds at that time. `hits_guarded >= hits_lru - C - calls / 100` holds after every call, C being
the most memories that recency ever held at once, and from any call on with 2 C. Why, in docs/decisions/0010-the-guard.md.

It counts whole memories and looks at eviction alone: what is loaded ahead of calls is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .mean import Mean
from .model import Owner
from .reconciler import ranks_of
from .shadow_cache import MEMORY_LIMIT, ShadowCache

_CALLS_PER_HIT = 100
"""Of so many calls one may miss because of distance, for ever: it pays for looking whether distance is right again."""
_STAKE = 4
"""What may be lost, or must be won, before somebody else takes charge: of what fits now, the fourth part..."""
_STAKE_MIN = 8
"""... and at least so many hits: fewer are chance."""
_DOUBLINGS = 30
_FORGIVEN = 10
"""A return that failed is forgotten after so many times the calls that pay for what it cost: so an order that flips with
every switch costs a tenth of what distance may cost for ever, and one that was once wrong comes back some day."""
_SIZES = 1 / 64
"""The weight of the newest size in what is usual."""


class InCharge(StrEnum):
    LRU = "lru"
    DISTANCE = "distance"


@dataclass(frozen=True, slots=True)
class GuardState:
    in_charge: InCharge
    since: int
    """The number of calls by then."""
    reason: str
    """For a person."""
    hits_lru: int
    """Calls that would have found their memory if recency had always decided."""
    hits_distance: int
    """If distance had always decided."""
    hits_guarded: int
    """If whoever was in charge decided."""
    calls: int
    switches: int = 0
    """How often somebody else took charge."""
    unsized: int = 0
    """Of the calls, those of whose memory nobody had told the size: each is taken to be as large as is usual."""


class Guard:
    """Of one engine. `capacity` is in tokens, as are sizes."""

    def __init__(self, capacity: int) -> None:
        self._lru, self._distance, self._guarded = (ShadowCache(capacity) for _ in range(3))
        self._running: dict[Owner, int] = {}
        """How many calls run on each memory; none is zero."""
        self._beginning = False
        """Calls began for which no room was made yet."""
        self._ranks: Mapping[Owner, int] = {}
        """The order: of equal rank is who is equally far."""
        self._was_ordered = False
        self._usual_size = Mean(_SIZES)
        self._unsized = 0
        self._calls = self._hits_lru = self._hits_distance = self._hits_guarded = 0

        self._fits = 0
        """C: the most memories that the cache of recency held at once."""
        self._held = 0
        """How many it held when it last had to let one go. C may be many more: calls that run side by side are held whether
        they fit or not, and before an engine reported any sizes nothing seems to take room."""
        self._missing = 0
        """Memories that the cache of recency holds and the guarded one does not: each may cost one more hit."""
        self._behind = 0
        """What the guarded cache has hit less than that of recency, in 1 / _CALLS_PER_HIT hits, less one for each call.
        Not below - C: no past gain pays for more."""

        self._in_charge = InCharge.DISTANCE
        self._since = self._switches = 0
        self._reason = "from the beginning, until recency does better"
        self._lead = 0
        """Hits by which distance is better since somebody took charge: its own cache as long as it has to prove itself,
        where nothing before its worst counts, and the guarded one while it is in charge."""
        self._proved = True
        """It led by the stake since it came back."""
        self._failures = 0
        """Times in a row that it came back and did not, less those that were forgiven."""
        self._failed = 0
        """The number of calls by when one of these was counted or forgiven last."""

    @property
    def in_charge(self) -> InCharge:
        return self._in_charge

    def state(self) -> GuardState:
        return GuardState(
            self._in_charge,
            self._since,
            self._why,
            self._hits_lru,
            self._hits_distance,
            self._hits_guarded,
            self._calls,
            self._switches,
            self._unsized,
        )

    def keeps(self, owner: Owner) -> bool:
        """Whether the memory would be there if distance had always decided."""
        return owner in self._distance

    def sizes(self) -> dict[str, int]:
        """How full its tables are, by their names."""
        return {
            "guard_memories": len(self._lru) + len(self._distance) + len(self._guarded),
            "guard_running": len(self._running),
            "guard_ordered": len(self._ranks),
        }

    def resize(self, capacity: int) -> None:
        for cache in (self._lru, self._distance, self._guarded):
            cache.capacity = capacity
        self._make_room()

    def ordered(self, order: Sequence[tuple[Owner, float]]) -> None:
        """As `adopt`, told by distances: nearest first, each owner once, all of them finite."""
        self.adopt(ranks_of(order))

    def adopt(self, ranks: Mapping[Owner, int]) -> None:
        """From now on distance evicts whoever is not among these, and then who ranks last; of equals, and where there are
        none, the oldest. To be what the engine has in force, as long as it is sent an order; else what it would be sent.

        They may not change any more. Nothing is worked out before something is evicted by them."""
        if ranks is not self._ranks and ranks != self._ranks:
            self.go_on()
            self._ranks = ranks
            self._was_ordered = True

    def go_on(self) -> None:
        """The engine has gone on: whoever called by now has found what there was of its memory, and room is made for the
        rest. Until then all of them find what was there before the first of them, as in an engine, which locks what the
        calls that it admits together find before it computes what they do not."""
        if self._beginning:
            self._beginning = False
            self._make_room()

    def called(self, owner: Owner, size_tokens: int | None) -> None:
        """A call started. Its memory is as large as is known (None: nothing is) and locked until the call has ended. Room
        for it is made when the engine goes on, by a call that ends or another order at the latest."""
        if size_tokens is None:
            self._unsized += 1
            size_tokens = round(self._usual_size.value)
        size = max(1, size_tokens)
        # Too many at once are played as if they ended at once.
        locked = owner in self._running or len(self._running) < MEMORY_LIMIT
        hit_lru = self._lru.take(owner, size)
        hit_distance = self._distance.take(owner, size)
        hit_guarded = self._guarded.take(owner, size)
        self._beginning = True
        if locked:
            self._running[owner] = self._running.get(owner, 0) + 1
        else:
            self._release(owner)
        self._calls += 1
        self._hits_lru += hit_lru
        self._hits_distance += hit_distance
        self._hits_guarded += hit_guarded
        self._missing -= hit_lru and not hit_guarded
        lost = _CALLS_PER_HIT * (hit_lru - hit_guarded) - 1
        self._behind = max(self._behind + lost, -_CALLS_PER_HIT * self._fits)
        if (
            not locked
            or len(self._lru) > MEMORY_LIMIT
            or len(self._distance) > MEMORY_LIMIT
            or len(self._guarded) > MEMORY_LIMIT
        ):
            self.go_on()
        if self._in_charge is InCharge.DISTANCE:
            self._doubt(hit_guarded - hit_lru)
        else:
            self._reconsider(hit_distance - hit_lru)

    def ended(self, owner: Owner, size_tokens: int | None = None, *, failed: bool = False) -> None:
        """A call ended, and its memory is of that size now, if the engine told. Of calls that are not known: nothing.

        What a failed one left is not known, so it left nothing, nor anything of before: none of the three gains by that."""
        calls = self._running.get(owner)
        if calls is None:
            return
        self.go_on()
        size = None
        if size_tokens is not None:
            self._usual_size.add(size_tokens)
            size = max(1, size_tokens)
        if calls > 1:
            self._running[owner] = calls - 1
            if size is not None:
                for cache in (self._lru, self._distance, self._guarded):
                    cache.take(owner, size)
        else:
            del self._running[owner]
            self._release(owner, size)
            if failed:
                for cache in (self._lru, self._distance, self._guarded):
                    cache.drop(owner)
        self._make_room()

    def pardon(self) -> None:
        """Nobody is left of those who told the distances so far: whoever comes is believed as at the beginning, within
        what is promised."""
        if self._in_charge is InCharge.LRU:
            self._switch(InCharge.DISTANCE, "nobody is left whose distances did worse than recency")
        self._failures = self._lead = 0
        self._proved = True

    def forget(self) -> None:
        """The engine has forgotten everything. What was counted stays."""
        for cache in (self._lru, self._distance, self._guarded):
            cache.clear()
        self._running.clear()
        self._missing = 0

    def check(self, running: Mapping[Owner, int]) -> None:
        """Raises `AssertionError` if the account is wrong, or knows of more calls than run. For tests: it costs a pass over
        everything held."""
        assert all(0 < calls <= running.get(owner, 0) for owner, calls in self._running.items())
        for cache in (self._lru, self._distance, self._guarded):
            assert cache.locked == self._running.keys()
            assert self._beginning or not cache.overfull
        assert self._missing == sum(owner not in self._guarded for owner in self._lru)
        assert self._room >= 0, "what it promises"
        assert 0 <= self._since <= self._calls

    # Who is in charge

    def _doubt(self, gain: int) -> None:
        """Distance is in charge, and was better than recency by so many hits in the last call."""
        self._lead = min(self._lead + gain, self._asked)
        if self._lead >= self._asked and not self._proved:
            self._proved, self._failures, self._lead = True, 0, self._stake
        if self._lead <= -self._stake:
            self._switch(InCharge.LRU, f"of late, distance hit {self._stake} times less than recency")

    def _reconsider(self, gain: int) -> None:
        """Recency is in charge, and distance alone would have been better by so many hits in the last call."""
        self._lead = max(0, self._lead + gain)
        if self._failures and self._calls - self._failed >= _FORGIVEN * _CALLS_PER_HIT * self._stake:
            self._failures -= 1
            self._failed = self._calls
        if self._lead >= self._asked and self._room >= min(self._asked, self._fits) * _CALLS_PER_HIT:
            self._switch(
                InCharge.DISTANCE, f"in its shadow, distance hit {self._lead} times more than recency"
            )
            self._proved = False

    def _switch(self, in_charge: InCharge, reason: str) -> None:
        if in_charge is InCharge.LRU and not self._proved:
            self._failures = min(self._failures + 1, _DOUBLINGS)
            self._failed = self._calls
        if in_charge is InCharge.DISTANCE:
            self._ranks = {}  # until the engine has an order again
        self._in_charge, self._reason = in_charge, reason
        self._switches += 1
        self._since, self._lead = self._calls, 0

    @property
    def _why(self) -> str:
        if self._calls and self._unsized == self._calls and not self._usual_size.count:
            return "cannot judge: no call has told how large its memory is"
        if not self._was_ordered:
            return "nothing was ordered so far, which leaves it to recency"
        return self._reason

    @property
    def _stake(self) -> int:
        return max(self._held // _STAKE, _STAKE_MIN)

    @property
    def _asked(self) -> int:
        """Of distance, to come back and then to be taken for good."""
        return self._stake << self._failures

    @property
    def _room(self) -> int:
        """How many memories that recency would keep may leave, in 1 / _CALLS_PER_HIT."""
        return _CALLS_PER_HIT * (self._fits - self._missing) - self._behind

    # The caches

    def _release(self, owner: Owner, size: int | None = None) -> None:
        for cache in (self._lru, self._distance, self._guarded):
            cache.release(owner, size)

    def _make_room(self) -> None:
        while self._lru.overfull:
            victim = self._lru.oldest()
            self._lru.drop(victim)
            self._missing -= victim not in self._guarded
            self._held = len(self._lru)
        if (held := len(self._lru)) > self._fits:
            self._fits = held
        while self._distance.overfull:
            self._distance.drop(self._distance.farthest(self._ranks))
        while self._guarded.overfull:
            self._evict()

    def _evict(self) -> None:
        """Distance may let go what recency has let go, and beyond that only what there is room for."""
        by_distance = self._in_charge is InCharge.DISTANCE
        victim = self._guarded.farthest(self._ranks) if by_distance else self._guarded.oldest()
        if victim in self._lru:
            if by_distance and self._room < _CALLS_PER_HIT:
                self._switch(
                    InCharge.LRU,
                    f"{self._missing} memories are gone that recency would have kept, and no more may be risked",
                )
                return
            self._missing += 1
        self._guarded.drop(victim)

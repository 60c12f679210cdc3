from __future__ import annotations

from scalesim.workloads.replay.cache import LEAST_RANKED, STALE, Cache, Rule
from scalesim.workloads.replay.paths import Pieces
from scalesim.workloads.replay.rules import (
    FirstIn,
    LastIn,
    LeastFrequent,
    LeastRecent,
    MostRecent,
    SegmentedRecent,
)


def use(cache: Cache, pieces: Pieces, name: str, tokens: int = 100) -> int:
    """How much of it was found."""
    held = cache.begin(pieces.path([(name, tokens)]), 0, name)
    assert held is not None
    cache.computed(held)
    cache.end(held)
    cache.check()
    return held.cached


def left(rule: Rule, uses: str) -> str:
    """Who is still there, of those that used a cache with room for two one after the other."""
    cache, pieces = Cache(200, rule), Pieces()
    for name in uses:
        use(cache, pieces, name)
    return "".join(sorted(name for name in set(uses) if cache.device_tokens(pieces.path([(name, 100)]))))


def test_what_was_used_longest_ago_leaves_first() -> None:
    assert left(LeastRecent(), "abac") == "ac"


def test_what_was_used_least_often_leaves_first() -> None:
    assert left(LeastFrequent(), "aabc") == "ac"


def test_what_was_used_last_leaves_first() -> None:
    assert left(MostRecent(), "abc") == "ac"


def test_what_came_first_leaves_first_however_often_it_was_used() -> None:
    assert left(FirstIn(), "abac") == "bc"
    assert left(FirstIn(), "abacb") == "bc"


def test_what_came_last_leaves_first() -> None:
    assert left(LastIn(), "abac") == "ac"


def test_what_comes_back_after_it_had_left_has_come_anew() -> None:
    # a leaves for c, and comes back in place of b, which has been there longest.
    assert left(FirstIn(), "abcad") == "ad"


def test_what_was_used_once_leaves_before_what_was_used_again() -> None:
    assert left(SegmentedRecent(), "aabc") == "ac"
    # Among those that were used again, recency decides.
    assert left(SegmentedRecent(), "aabbc") == "bc"


def test_what_runs_never_leaves() -> None:
    cache, pieces = Cache(200, LeastRecent()), Pieces()
    held = cache.begin(pieces.path([("a", 150)]), 0, "a")
    assert held is not None
    assert cache.begin(pieces.path([("b", 100)]), 0, "b") is None
    cache.end(held)
    assert cache.begin(pieces.path([("b", 100)]), 0, "b") is not None


def test_what_is_void_among_the_ranked_is_dropped() -> None:
    cache, pieces = Cache(250, MostRecent()), Pieces()
    for name in "abc":
        use(cache, pieces, name)
    for _ in range(3 * LEAST_RANKED):
        use(cache, pieces, "a")
    assert cache.ranked <= STALE * 2 + LEAST_RANKED + 1


def ask(cache: Cache, pieces: Pieces, *runs: tuple[str, int]) -> int:
    held = cache.begin(pieces.path(runs), 0, "ann")
    assert held is not None
    cache.computed(held)
    cache.end(held)
    cache.check()
    return held.cached


def test_what_came_together_leaves_together_where_that_is_asked_for() -> None:
    for whole, found in ((False, 100), (True, 0)):
        cache, pieces = Cache(300, LeastRecent(), whole=lambda whole=whole: whole), Pieces()  # type: ignore[misc]
        ask(cache, pieces, ("persona", 100), ("task", 50))
        ask(cache, pieces, ("other", 200))
        assert cache.device_tokens(pieces.path([("persona", 100)])) == found


def test_what_was_asked_for_without_the_rest_stays_without_it() -> None:
    cache, pieces = Cache(300, LeastRecent(), whole=lambda: True), Pieces()
    ask(cache, pieces, ("persona", 100), ("task", 50))
    ask(cache, pieces, ("persona", 100), ("another", 50))
    ask(cache, pieces, ("other", 150))
    assert cache.device_tokens(pieces.path([("persona", 100)])) == 100


def test_what_is_held_is_not_given_up() -> None:
    cache, pieces = Cache(200, LeastRecent()), Pieces()
    use(cache, pieces, "a")
    use(cache, pieces, "b")
    kept = cache.hold(pieces.path([("a", 100)]))
    use(cache, pieces, "c")
    cache.let_go(kept)
    assert cache.device_tokens(pieces.path([("a", 100)])) == 100
    assert cache.device_tokens(pieces.path([("b", 100)])) == 0
    cache.check()


def test_what_was_computed_is_copied_at_once_where_that_is_asked_for() -> None:
    for writes_through, copied in ((False, 0), (True, 100)):
        cache, pieces = Cache(300, LeastRecent(), host_capacity=300, writes_through=writes_through), Pieces()
        use(cache, pieces, "a")
        assert cache.host_used == copied


def test_what_is_on_the_device_keeps_its_copy_and_what_finds_no_room_gets_none() -> None:
    cache, pieces = Cache(200, LeastRecent(), host_capacity=100, writes_through=True), Pieces()
    for name in "ab":
        use(cache, pieces, name)
    # The only copy is of `a`, which is on the device: `b` got none, and is gone when it leaves.
    use(cache, pieces, "a")
    use(cache, pieces, "c")
    assert use(cache, pieces, "b") == 0


def test_of_what_only_host_memory_has_the_oldest_makes_room() -> None:
    cache, pieces = Cache(100, LeastRecent(), host_capacity=200, writes_through=True), Pieces()
    for name in "abc":
        use(cache, pieces, name)
    found = cache.absent(pieces.path([("b", 100)])), cache.absent(pieces.path([("a", 100)]))
    assert [len(one) for one in found] == [1, 0]

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

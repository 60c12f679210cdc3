from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.workloads.belady import (
    Cut,
    RecordedCall,
    least_recent,
    minimum,
    most_recent,
    most_worth,
    unlimited,
)


def one_after_the_other(*prompts: str, output: int = 0) -> list[RecordedCall]:
    """Calls that do not overlap; each letter is a token."""
    return [
        RecordedCall(2 * index, 2 * index + 1, [ord(token) for token in prompt], output, first=True)
        for index, prompt in enumerate(prompts)
    ]


def test_an_unlimited_cache_hits_all_but_the_last_token_of_a_prompt_it_has_seen() -> None:
    assert unlimited(one_after_the_other("abcd", "abcd")).tokens == (0, 3)


def test_an_unlimited_cache_hits_the_longest_prefix_shared_with_any_earlier_prompt() -> None:
    calls = one_after_the_other("abcd", "abxy", "abcz", "abxyq", "q")
    assert unlimited(calls).tokens == (0, 2, 3, 4, 0)


def test_a_prompt_that_another_one_extends_is_hit_whole() -> None:
    assert unlimited(one_after_the_other("abc", "abcdef")).tokens == (0, 3)


def test_a_prompt_of_one_token_hits_nothing() -> None:
    assert unlimited(one_after_the_other("a", "a")).tokens == (0, 0)


def test_an_empty_prompt_hits_nothing() -> None:
    assert unlimited(one_after_the_other("", "ab", "")).tokens == (0, 0, 0)


def test_no_calls_hit_nothing() -> None:
    assert minimum([], 10).tokens == ()


def test_recency_loses_everything_in_a_cycle_one_too_long_and_foresight_does_not() -> None:
    calls = one_after_the_other(*["aaaa", "bbbb", "cccc"] * 3)
    assert sum(least_recent(calls, 8).tokens) == 0
    # With room for two of three: the one asked for last gives way, one token of it staying beside the next each time.
    assert sum(minimum(calls, 8).tokens) > 6


def test_the_tail_goes_first_and_only_as_much_as_is_needed() -> None:
    calls = one_after_the_other("abcdef", "xy", "abcdef")
    assert minimum(calls, 6).tokens == (0, 0, 4)
    assert least_recent(calls, 6).tokens == (0, 0, 4)


def test_what_is_needed_sooner_stays() -> None:
    calls = one_after_the_other("aaaa", "bbbb", "cccc", "aaaa", "bbbb")
    # When c comes, the last tokens of a and b go first, for nobody hits those; then b gives way, which is farther.
    assert minimum(calls, 8).tokens == (0, 0, 0, 3, 1)


def test_outputs_take_room_while_the_call_runs_and_none_afterwards() -> None:
    calls = [
        RecordedCall(0, 1, [1, 2, 3, 4], 0, True),
        RecordedCall(2, 3, [9, 8], 3, True),
        RecordedCall(4, 5, [1, 2, 3, 4], 0, True),
    ]
    assert minimum(calls, 6).tokens == (0, 0, 1)
    assert minimum(calls, 9).tokens == (0, 0, 3)
    # Recency remembers outputs as anything else: the prompt that waited gives way, not they.
    assert least_recent([*calls[:2], RecordedCall(4, 5, [5, 6, 7], 0, True)], 9).tokens == (0, 0, 0)


def test_a_running_call_keeps_its_tokens() -> None:
    calls = [
        RecordedCall(0, 10, [1, 2, 3, 4], 2, True),
        RecordedCall(1, 2, [5, 6, 7, 8], 0, True),
        RecordedCall(3, 4, [1, 2, 3, 4], 0, True),
    ]
    # Room for six, all of them locked by the first call: the second is served, and keeps nothing.
    assert minimum(calls, 6).tokens == (0, 0, 3)
    assert least_recent(calls, 6).tokens == (0, 0, 3)
    assert minimum(calls, 6).peak_tokens == 6


def test_at_the_same_moment_ends_come_before_starts() -> None:
    calls = [RecordedCall(0, 1, [1, 2, 3], 0, True), RecordedCall(1, 2, [4, 5, 6], 0, True)]
    assert minimum(calls, 3).tokens == (0, 0)
    again = RecordedCall(3, 4, [4, 5, 6], 0, True)
    assert minimum([*calls, again], 3).tokens == (0, 0, 2)


def test_a_call_that_ends_as_it_starts_is_still_a_call() -> None:
    calls = [RecordedCall(0, 0, [1, 2, 3], 1, True), RecordedCall(0, 0, [1, 2, 3], 1, True)]
    assert sum(unlimited(calls).tokens) == 2


def test_the_last_token_of_a_prompt_is_not_worth_keeping_for_its_own_sake() -> None:
    calls = one_after_the_other("ab", "cd", "ab", "cdx")
    # One of `b` and `d` can stay: `b` is computed anew in any case, `d` is hit by the last call.
    assert minimum(calls, 4).tokens == (0, 0, 1, 2)
    assert minimum(calls, 3).tokens == (0, 0, 1, 1)


prompts = st.lists(st.integers(0, 2), min_size=1, max_size=4)


@st.composite
def histories(draw: st.DrawFn) -> list[RecordedCall]:
    moments = st.integers(0, 12)
    calls = []
    for _ in range(draw(st.integers(0, 8))):
        start = draw(moments)
        calls.append(
            RecordedCall(start, start + draw(st.integers(0, 6)), draw(prompts), draw(st.integers(0, 3)), True)
        )
    return calls


@pytest.mark.slow
@settings(deadline=None)
@given(histories(), st.integers(1, 20))
def test_foresight_hits_at_least_what_recency_hits(calls: list[RecordedCall], capacity: int) -> None:
    best, recent, all_there_is = minimum(calls, capacity), least_recent(calls, capacity), unlimited(calls)
    assert sum(best.tokens) >= sum(recent.tokens)
    assert all(hit <= most for hit, most in zip(best.tokens, all_there_is.tokens, strict=True))
    assert best.peak_tokens <= capacity
    assert recent.peak_tokens <= capacity


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(prompts, min_size=1, max_size=5), st.integers(0, 1), st.integers(0, 3))
def test_nothing_hits_more_than_foresight(prompts: list[list[int]], output: int, spare: int) -> None:
    capacity = max(map(len, prompts)) + output + spare
    calls = [
        RecordedCall(2 * index, 2 * index + 1, prompt, output, True) for index, prompt in enumerate(prompts)
    ]
    assert sum(minimum(calls, capacity).tokens) == most_by_trying(prompts, output, capacity)


Held = frozenset[tuple[int, ...]]


def most_by_trying(prompts: list[list[int]], output: int, capacity: int) -> int:
    """The most tokens any choice of what to keep can hit. A token is known by all the tokens up to it."""

    def best(index: int, held: Held) -> int:
        if index == len(prompts):
            return 0
        prompt = tuple(prompts[index])
        path = [prompt[: end + 1] for end in range(len(prompt))]
        hit = next((end for end, token in enumerate(path[:-1]) if token not in held), len(path) - 1)
        others = sorted(held - set(path))
        room = min(len(others), capacity - len(path) - output)
        return hit + max(best(index + 1, frozenset(path).union(kept)) for kept in combinations(others, room))

    return best(0, frozenset())


@pytest.mark.slow
def test_three_hundred_long_calls_take_seconds_not_minutes() -> None:
    rng = random.Random(1)
    personas = [[rng.randrange(4096) for _ in range(4500)] for _ in range(24)]
    calls = [
        RecordedCall(
            index, index + 5, rng.choice(personas) + [rng.randrange(4096) for _ in range(500)], 50, True
        )
        for index in range(300)
    ]
    hits = minimum(calls, 40_000)
    assert hits.peak_tokens <= 40_000
    assert 0 < sum(hits.tokens) < sum(unlimited(calls).tokens)


def test_what_was_used_last_goes_first_where_that_is_the_order() -> None:
    calls = one_after_the_other("aaaa", "bbbb", "cccc", "aaaa", "cccc")
    # When c comes, b makes room; when a comes back, it is there, and c as well.
    assert most_recent(calls, 8).tokens == (0, 0, 0, 3, 3)
    assert sum(least_recent(calls, 8).tokens) < 6


def test_what_is_worth_least_goes_first_and_worth_is_asked_again() -> None:
    calls = one_after_the_other("aaaa", "bbbb", "cccc", "aaaa", "bbbb", "cccc")

    def dear(favourite: int) -> tuple[int, ...]:
        return most_worth(calls, 8, lambda call, at: float(call == favourite), ()).tokens

    assert dear(0)[3] == 3
    assert dear(1)[3] == 1
    # By the time c comes, at 4, the tables have turned.
    turned = most_worth(calls, 8, lambda call, at: float(call == (0 if at < 4 else 1)), (4,))
    assert turned.tokens[3] == 1


def test_calls_that_are_cut_once_give_the_same_replays() -> None:
    calls = one_after_the_other("aaaa", "bbbb", "aabb", "aaaa", "bbbb")
    cut = Cut(calls)
    for replay in (minimum, least_recent, most_recent):
        assert replay(cut, 6) == replay(calls, 6)
    assert (len(cut), list(cut)) == (len(calls), calls)


@given(st.lists(st.text("ab", min_size=1, max_size=6), min_size=1, max_size=8), st.integers(1, 12))
def test_prompts_that_are_cut_already_hit_as_much(prompts: list[str], capacity: int) -> None:
    calls = one_after_the_other(*prompts, output=1)
    numbers = {prompt[:end]: 0 for prompt in prompts for end in range(1, len(prompt) + 1)}
    numbers = {beginning: number for number, beginning in enumerate(numbers)}
    cut = [
        replace(call, prompt=[numbers[prompt[:end]] for end in range(1, len(prompt) + 1)])
        for call, prompt in zip(calls, prompts, strict=True)
    ]
    pieces = Cut.of_pieces(cut, dict.fromkeys(numbers.values(), 1))
    assert minimum(pieces, capacity) == minimum(calls, capacity)


def test_the_last_token_of_a_piece_that_ends_a_prompt_is_hit_only_by_those_that_go_on() -> None:
    def call(at: int, *pieces: int) -> RecordedCall:
        return RecordedCall(2 * at, 2 * at + 1, pieces, 0, first=True)

    calls = [call(0, 7), call(1, 7), call(2, 7, 8), call(3, 7, 8)]
    assert unlimited(Cut.of_pieces(calls, {7: 10, 8: 5})).tokens == (0, 9, 10, 14)

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.workloads.replay.paths import cut, shared_tokens

PROMPTS = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=9), min_size=1, max_size=8)


def alike(one: list[int], other: list[int]) -> int:
    same = [left == right for left, right in zip(one, other, strict=False)]
    return same.index(False) if False in same else len(same)


@given(PROMPTS)
@settings(max_examples=300, deadline=None)
def test_two_prompts_share_what_their_tokens_share(prompts: list[list[int]]) -> None:
    paths = cut(dict(enumerate(prompts)))
    for key, tokens in enumerate(prompts):
        assert paths[key][-1].end == len(tokens)
    for one, other in combinations(range(len(prompts)), 2):
        assert shared_tokens(paths[one], paths[other]) == alike(prompts[one], prompts[other])


def test_prompts_are_cut_nowhere_else() -> None:
    paths = cut({"a": [1, 2, 3, 4], "b": [1, 2, 5], "c": [9]})
    assert [piece.tokens for piece in paths["a"]] == [2, 2]
    assert [piece.tokens for piece in paths["b"]] == [2, 1]
    assert [piece.tokens for piece in paths["c"]] == [1]

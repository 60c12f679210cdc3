"""Where texts are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.warm_up.slices import (
    AIM_TOKENS,
    LIMIT_TOKENS,
    UNKNOWN_TOKENS_PER_UNIT,
    next_cut,
    tokens_per_unit,
    units_in,
)


def test_what_is_no_letter_counts_twice() -> None:
    assert units_in(b"Ann sits") == 8
    assert units_in(b"12:30\n") == 12
    assert units_in("é".encode()) == 4


def test_a_slice_of_letters_has_the_tokens_aimed_at() -> None:
    text = b"word " * 1_000
    assert next_cut(text, 0, 0.25) == AIM_TOKENS * 4
    assert next_cut(text, AIM_TOKENS * 4, 0.25) == AIM_TOKENS * 8
    assert next_cut(text, 4_990, 0.25) == 5_000


def test_a_slice_of_digits_stays_within_the_limit_though_each_is_a_token() -> None:
    assert next_cut(b"7" * 5_000, 0, 0.25) == LIMIT_TOKENS


def test_text_that_nothing_is_known_of_is_cut_short() -> None:
    assert tokens_per_unit(100, None) == tokens_per_unit(0, 50) == UNKNOWN_TOKENS_PER_UNIT
    assert next_cut(b"a" * 5_000, 0, UNKNOWN_TOKENS_PER_UNIT) == LIMIT_TOKENS


def test_the_tokens_of_a_unit_are_bounded_on_both_sides() -> None:
    assert [tokens_per_unit(tokens, 100) for tokens in (1, 30, 900)] == [0.15, 0.3, 1.0]


@given(st.text(max_size=600), st.floats(0.15, 1.0))
def test_cuts_go_on_to_the_end_between_characters(text: str, per_unit: float) -> None:
    raw = text.encode()
    cut, pieces = 0, []
    while cut < len(raw):
        end = next_cut(raw, cut, per_unit)
        assert end > cut
        pieces.append(raw[cut:end].decode())
        # Beyond the aim by what is left of one character at most.
        assert units_in(raw[cut:end]) <= AIM_TOKENS / per_unit + 6
        cut = end
    assert "".join(pieces) == text

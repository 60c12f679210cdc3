from __future__ import annotations

from scalesim.workloads.prose import WORDS, prose


def test_the_same_seed_gives_the_same_text_and_another_seed_another() -> None:
    assert prose("a", 500) == prose("a", 500)
    assert prose("a", 500)[:40] != prose("b", 500)[:40]


def test_a_text_is_as_long_as_asked_for_and_ends_with_a_whole_word() -> None:
    for chars in range(1, 300, 7):
        text = prose("a", chars)
        assert chars <= len(text) < chars + 12
        assert text.split()[-1].rstrip(".").lower() in WORDS


def test_a_longer_text_begins_like_a_shorter_one() -> None:
    assert prose("a", 900).startswith(prose("a", 300))

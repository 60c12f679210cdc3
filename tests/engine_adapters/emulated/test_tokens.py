from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.engine_adapters.emulated.tokens import (
    END,
    FIRST_WORD,
    NEWLINE,
    START,
    VOCABULARY,
    WORDS,
    decode,
    encode,
    render_chat,
    word,
)

words = st.lists(st.integers(FIRST_WORD, FIRST_WORD + WORDS - 1))


@settings(max_examples=30)
@given(words)
def test_an_answer_that_comes_back_has_the_ids_it_was_made_of(ids: list[int]) -> None:
    assert list(encode(decode(ids))) == ids


@settings(max_examples=30)
@given(st.text())
def test_any_text_has_ids_of_the_vocabulary(text: str) -> None:
    assert all(0 <= token < VOCABULARY for token in encode(text))


def test_every_word_is_another() -> None:
    assert len({word(token) for token in range(FIRST_WORD, FIRST_WORD + WORDS)}) == WORDS


def test_ids_are_the_same_on_every_machine() -> None:
    assert list(encode("Ann walks\nto café!")) == [19139, 50122, 2, 37412, 53525, 4179]


def test_a_chat_is_rendered_turn_by_turn() -> None:
    rendered = list(render_chat([{"role": "user", "content": "hello"}]))
    head = [START, *encode("user"), NEWLINE, *encode("hello"), END, NEWLINE]
    assert rendered == [*head, START, *encode("assistant"), NEWLINE]


def test_parts_of_text_are_one_content_and_other_content_is_none() -> None:
    parts = [{"type": "text", "text": "hel"}, {"type": "image_url"}, {"type": "text", "text": "lo"}]
    assert render_chat([{"content": parts}]) == render_chat([{"role": "user", "content": "hello"}])
    assert render_chat([{"content": None}]) == render_chat([{"content": ""}])

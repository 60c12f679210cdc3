from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.recording.pieces import PIECE_CHARS, namespace_of, pieces_of

CHAT = "/v1/chat/completions"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def bytes_of(route: str, **body: Any) -> bytes:
    return b"".join(pieces_of(route, body))


def chat(*messages: dict[str, Any], **more: Any) -> bytes:
    return bytes_of(CHAT, messages=list(messages), **more)


def user(content: object, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def test_a_longer_conversation_begins_with_the_shorter_one() -> None:
    first = chat(user("Good morning."))
    grown = chat(user("Good morning."), {"role": "assistant", "content": "Hello."}, user("How are you?"))
    assert grown.startswith(first)


def test_the_order_of_a_messages_fields_does_not_count() -> None:
    assert chat({"content": "Hello.", "role": "user"}) == chat({"role": "user", "content": "Hello."})


def test_text_that_moves_to_another_message_changes_the_bytes() -> None:
    assert chat(user("ab"), user("c")) != chat(user("a"), user("bc"))


def test_tools_stand_before_the_messages_and_images_and_tool_calls_count() -> None:
    plain = chat(user("Look."))
    assert chat(user("Look."), tools=[{"name": "walk"}]).endswith(plain)
    assert (
        chat(user([{"type": "text", "text": "Look."}, {"type": "image_url", "image_url": {"url": "data:a"}}]))
        != plain
    )
    assert chat(user("Look.", tool_calls=[{"id": "a"}])) != plain


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/v1/completions", {"prompt": "Hello."}),
        ("/v1/responses", {"instructions": "You are Ann.", "input": "Hello."}),
        (
            "/v1/responses",
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello."}]}]},
        ),
        ("/generate", {"text": "Hello."}),
        ("/v1/embeddings", {"input": ["Hello.", "again"]}),
    ],
)
def test_every_route_has_its_prompt(route: str, body: dict[str, Any]) -> None:
    assert b"Hello." in bytes_of(route, **body)


def test_a_token_is_four_bytes() -> None:
    assert len(bytes_of("/generate", input_ids=[1, 2, 2**40])) == 12


def test_long_text_comes_in_pieces() -> None:
    pieces = list(pieces_of("/generate", {"text": "ü" * (3 * PIECE_CHARS + 1)}))
    assert len(pieces) == 5
    assert max(map(len, pieces)) == 2 * PIECE_CHARS


def test_half_characters_and_deep_nesting_are_taken() -> None:
    deep: object = "end"
    for _ in range(5000):
        deep = [deep]
    assert b"end" in chat(user(deep))
    assert chat(user("\ud800"))


@settings(max_examples=50, deadline=None)
@given(body=st.dictionaries(st.sampled_from(["messages", "tools", "prompt", "input", "text"]), JSON))
def test_nothing_in_a_body_makes_it_fail(body: dict[str, Any]) -> None:
    for route in (CHAT, "/v1/responses", "/v1/completions", "/generate", "/v1/embeddings", "/unknown"):
        assert all(isinstance(piece, bytes) for piece in pieces_of(route, body))
    namespace_of(body)

"""Request bodies to texts and back."""

from __future__ import annotations

from typing import Any

import pytest

from scalesim.proxy.core.model import AdapterName
from scalesim.proxy.warm_up.prompts import (
    CHAT,
    COMPLETIONS,
    GENERATE,
    MAX_TEXT_BYTES,
    Prompt,
    prompt_of,
    request_of,
)

SYSTEM = {"role": "system", "content": "You are Ann."}
USER = {"role": "user", "content": "What now?"}
FILLER = {"role": "user", "content": "."}


def chat(*messages: object, **fields: object) -> Prompt:
    prompt = prompt_of(CHAT, {"model": "m", "messages": list(messages), **fields})
    assert prompt is not None
    return prompt


def back(prompt: Prompt, end: int | None = None) -> Any:
    path, body = request_of(prompt.path, prompt.fields, prompt.text[:end], None)
    assert path == CHAT
    return body["messages"]


def test_a_chat_comes_back_as_it_was_and_generates_nothing() -> None:
    prompt = chat(SYSTEM, USER, temperature=0.7, max_tokens=50, max_completion_tokens=60, stream=True, n=2)
    assert request_of(CHAT, prompt.fields, prompt.text, None) == (
        CHAT,
        {"model": "m", "messages": [SYSTEM, USER], "max_tokens": 0},
    )
    assert prompt.text == b"\0system\0You are Ann.\0user\0What now?"
    assert prompt.units == len(prompt.text) + 6, "four marks, a stop and a question mark count twice"


def test_a_cut_within_a_message_shortens_it() -> None:
    prompt = chat({"role": "user", "content": "What now, Ann?"}, SYSTEM)
    assert back(prompt, len(b"\0user\0What")) == [{"role": "user", "content": "What"}]


def test_a_cut_within_a_role_drops_the_message() -> None:
    prompt = chat(USER, {"role": "user", "content": "Go on."})
    assert back(prompt, len(b"\0user\0What now?\0us")) == [USER]


def test_a_cut_within_a_character_drops_it() -> None:
    prompt = chat({"role": "user", "content": "für"})
    assert back(prompt, len(b"\0user\0f") + 1) == [{"role": "user", "content": "f"}]


def test_a_chat_that_does_not_end_with_the_user_gets_a_users_message() -> None:
    answer = {"role": "assistant", "content": "I sit."}
    assert back(chat(SYSTEM)) == [SYSTEM, FILLER]
    assert back(chat(USER, answer)) == [USER, answer, FILLER]


def test_texts_in_parts_come_back_in_parts() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}
    prompt = chat(parts)
    assert back(prompt) == [parts]
    assert back(prompt, -1) == [
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "tw"}]}
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]},
        {"role": "tool", "content": "4", "tool_call_id": "c1"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]},
        {"role": "user", "content": "a\0b"},
        {"role": 3, "content": "x"},
        "no message",
    ],
)
def test_what_is_more_than_text_ends_the_prompt(other: object) -> None:
    prompt = chat(USER, other, SYSTEM)
    assert back(prompt)[0] == USER
    assert b"You are Ann." not in prompt.text
    assert prompt.units is None, "the engine's count is of more than this text"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "x"}),
        (CHAT, {"messages": [USER], "tools": [{"type": "function", "function": {"name": "f"}}]}),
        (CHAT, {"messages": [USER], "input_ids": [1, 2]}),
        (CHAT, {"messages": [USER], "chat_template_kwargs": {"documents": "x" * 5_000}}),
        (CHAT, {"messages": []}),
        (CHAT, {}),
        (COMPLETIONS, {"prompt": ["a", "b"]}),
        (COMPLETIONS, {"prompt": [1, 2, 3]}),
        (COMPLETIONS, {"prompt": "a \ud800"}),
        (GENERATE, {"input_ids": [1, 2, 3]}),
        (GENERATE, {"text": "a", "image_data": "x"}),
    ],
)
def test_what_is_not_its_text_alone_is_not_taken(path: str, body: dict[str, object]) -> None:
    assert prompt_of(path, body) is None


def test_what_decides_the_cache_is_kept_and_tells_prompts_apart() -> None:
    salted = chat(USER, cache_salt="s", extra_key="e", lora_path="ad", chat_template_kwargs={"think": False})
    _, body = request_of(CHAT, salted.fields, salted.text, AdapterName("ad"))
    assert {key: body[key] for key in ("cache_salt", "extra_key", "lora_path", "chat_template_kwargs")} == {
        "cache_salt": "s",
        "extra_key": "e",
        "lora_path": "ad",
        "chat_template_kwargs": {"think": False},
    }
    assert salted.space != chat(USER).space
    assert chat(USER, temperature=1).space == chat(USER, seed=3).space


def test_a_completion_goes_to_the_route_that_can_generate_nothing() -> None:
    prompt = prompt_of(COMPLETIONS, {"model": "base:ad", "prompt": "Once", "cache_salt": "s"})
    assert prompt is not None
    assert request_of(prompt.path, prompt.fields, prompt.text, AdapterName("ad")) == (
        GENERATE,
        {"cache_salt": "s", "lora_path": "ad", "text": "Once", "sampling_params": {"max_new_tokens": 0}},
    )


def test_of_a_long_prompt_only_the_start_is_kept_and_all_is_measured() -> None:
    prompt = prompt_of(GENERATE, {"text": "a" * (MAX_TEXT_BYTES + 10)})
    assert prompt is not None
    assert (len(prompt.text), prompt.units) == (MAX_TEXT_BYTES, MAX_TEXT_BYTES + 10)

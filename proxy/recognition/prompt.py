"""What can be read of a request: its messages, in whatever form its route has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

MAX_MESSAGES = 64
"""Of a longer conversation the first half of them and the last are kept: the beginning says who speaks, the end what is new."""


class Message(NamedTuple):
    role: str
    """As it was sent: system, developer, user, assistant, tool ...; `user` for routes without roles."""
    text: str
    """Of several parts the texts, a line each; images and the like are left out."""


class Prompt(NamedTuple):
    messages: tuple[Message, ...]

    @property
    def chars(self) -> int:
        return sum(len(message.text) for message in self.messages)


def prompt_of(path: str, body: Mapping[str, object]) -> Prompt | None:
    """None where there is no text: for routes that are unknown, and for bodies that are not of their route's form (those are
    the engine's to judge). Of a batch of prompts the first is read. Nothing is copied that need not be."""
    match path:
        case "/v1/chat/completions":
            messages = _conversation(body.get("messages"))
        case "/v1/responses":
            messages = [*_plain("system", body.get("instructions")), *_input(body.get("input"))]
        case "/v1/completions":
            messages = list(_plain("user", _first(body.get("prompt"))))
        case "/generate":
            messages = list(_plain("user", _first(body.get("text"))))
        case "/v1/embeddings":
            messages = list(_plain("user", _first(body.get("input"))))
        case _:
            return None
    return Prompt(tuple(messages)) if messages else None


def _conversation(value: object) -> list[Message]:
    if not isinstance(value, list):
        return []
    half = MAX_MESSAGES // 2
    messages = []
    for one in value if len(value) <= MAX_MESSAGES else [*value[:half], *value[-half:]]:
        if isinstance(one, dict):
            role, text = one.get("role"), one.get("content")
            if isinstance(text, list):
                text = _joined(text)
            if text and isinstance(text, str):
                messages.append(Message(role if isinstance(role, str) else "user", text))
    return messages


def _input(value: object) -> list[Message]:
    return list(_plain("user", value)) if isinstance(value, str) else _conversation(value)


def _joined(parts: list[object]) -> str:
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join([text for text in texts if isinstance(text, str)])


def _first(value: object) -> object:
    return next(iter(value), None) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _plain(role: str, text: object) -> Iterator[Message]:
    if isinstance(text, str) and text:
        yield Message(role, text)

"""A request body as one comparable text, and a part of that text as a request that generates nothing. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from scalesim.proxy.core.model import AdapterName

from .slices import units_in

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
GENERATE = "/generate"

MAX_TEXT_BYTES = 256 * 1024
"""Of a prompt only its start is looked at: more takes no warm-up in a useful time, and holds up the event loop."""
MAX_FIELDS_CHARS = 4096
"""Of what decides the cache namespace, as JSON. Larger are only templates and documents sent along."""

_NAMESPACE = {
    CHAT: (
        *("model", "lora_path", "cache_salt", "extra_key"),
        *("chat_template_kwargs", "reasoning_effort", "reasoning", "thinking", "task"),
    ),
    COMPLETIONS: ("model", "lora_path", "cache_salt", "extra_key"),
    GENERATE: ("lora_path", "cache_salt", "extra_key"),
}
"""What an answer's prompt is rendered with or cached under; the rest of a body steers the output alone."""
_NOT_ALONE_TEXT = {
    CHAT: ("tools", "functions", "input_ids"),
    COMPLETIONS: ("suffix",),
    GENERATE: ("input_ids", "input_embeds", "image_data", "video_data", "audio_data"),
}
"""With these the prompt is not, or not only, its text. Tools among them: a template renders them before the first
message and in one piece, so no cut of the messages would keep the first slice within its limit."""

_MESSAGE, _PART = "\0", "\1"
"""Before a role and before its content; before each text of a content that is a list."""


@dataclass(frozen=True, slots=True)
class Prompt:
    path: str
    fields: Mapping[str, object]
    """Of the body, what decides the cache namespace."""
    space: str
    """The same as one text: only prompts of one space can share a cached prefix."""
    text: bytes
    """UTF-8, at most MAX_TEXT_BYTES. Of a chat: each message as NUL role NUL content."""
    units: int | None
    """Of the whole prompt, see `slices`; None where some of it is no text."""


def prompt_of(path: str, body: Mapping[str, object]) -> Prompt | None:
    """None for what cannot be warmed up: tools, token ids, lists of prompts, other paths."""
    if path not in _NAMESPACE or any(body.get(name) for name in _NOT_ALONE_TEXT[path]):
        return None
    fields = {name: body[name] for name in _NAMESPACE[path] if body.get(name) is not None}
    try:
        space = json.dumps([path, fields], sort_keys=True)
    except (
        TypeError,
        ValueError,
        RecursionError,
    ):  # only a body that did not come as JSON, or one nested deeply
        return None
    if len(space) > MAX_FIELDS_CHARS:
        return None
    if path == CHAT:
        text, whole = _flat(body.get("messages"))
    else:
        given = body.get("text" if path == GENERATE else "prompt")
        text, whole = (given, True) if isinstance(given, str) else ("", False)
    try:
        encoded = text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which no request could carry back
        return None
    if not encoded:
        return None
    return Prompt(path, fields, space, encoded[:MAX_TEXT_BYTES], units_in(encoded) if whole else None)


def request_of(
    path: str, fields: Mapping[str, object], text: bytes, adapter: AdapterName | None
) -> tuple[str, dict[str, object]]:
    """The path and the body that prefill `text`, which may be cut anywhere, and generate nothing.

    `adapter` is the one that `fields` mean: /generate does not read it from a model's name.
    """
    # What a cut leaves of a character is no text.
    readable = text.decode(errors="ignore")
    if path == CHAT:
        # `max_completion_tokens: 0` would count as not given.
        return CHAT, {**fields, "messages": _messages(readable), "max_tokens": 0}
    # /v1/completions refuses to generate nothing; both render a text alike.
    body = {key: value for key, value in fields.items() if key not in ("model", "lora_path")}
    if adapter is not None:
        body["lora_path"] = adapter
    return GENERATE, {**body, "text": readable, "sampling_params": {"max_new_tokens": 0}}


def _flat(messages: object) -> tuple[str, bool]:
    """The messages up to the first that is more than a role and text, and whether that is all of them."""
    if not isinstance(messages, list):
        return "", False
    flat: list[str] = []
    for message in messages:
        if not isinstance(message, Mapping):
            return "".join(flat), False
        more = any(value is not None for key, value in message.items() if key not in ("role", "content"))
        role, content = message.get("role"), message.get("content")
        if more or not isinstance(role, str) or _is_marked(role):
            return "".join(flat), False
        if isinstance(content, str):
            if _is_marked(content):
                return "".join(flat), False
            flat += (_MESSAGE, role, _MESSAGE, content)
            continue
        if not isinstance(content, list):
            return "".join(flat), False
        flat += (_MESSAGE, role, _MESSAGE)
        for part in content:
            text = part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None
            if not isinstance(text, str) or _is_marked(text):
                return "".join(flat), False
            flat += (_PART, text)
    return "".join(flat), True


def _is_marked(text: str) -> bool:
    return _MESSAGE in text or _PART in text


def _messages(flat: str) -> list[dict[str, object]]:
    pieces = flat.split(_MESSAGE)[1:]
    messages: list[dict[str, object]] = []
    for role, content in zip(pieces[::2], pieces[1::2], strict=False):  # a role that was cut has no content
        if content.startswith(_PART):
            parts = [{"type": "text", "text": text} for text in content.split(_PART)[1:]]
            messages.append({"role": role, "content": parts})
        else:
            messages.append({"role": role, "content": content})
    if not messages or messages[-1]["role"] != "user":
        # Many templates refuse a chat without a user's message, and an engine takes one that ends with the assistant's
        # for an answer to be continued. What comes after the cut costs a few tokens and is of no use to anybody.
        messages.append({"role": "user", "content": "."})
    return messages

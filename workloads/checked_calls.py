"""Calls of which the right answer is known before they are asked: the emulated engine makes it up from the prompt alone. Pure.

So whoever asks can tell a lost answer from a wrong one, whatever happens on the way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

from scalesim.engine_adapters.emulated.nodes import extend_state
from scalesim.engine_adapters.emulated.scheduler import candidates
from scalesim.engine_adapters.emulated.tokens import Tokens, decode, render_chat

from .bench_proxy.http1 import Message

PATH = "/v1/chat/completions"
_DONE = b"[DONE]"
_SHOWN = 120


class Kind(Enum):
    """How a call ended, as its client sees it."""

    RIGHT = "right"
    REFUSED = "refused"
    """A whole answer that says it was not done, of ours or of the engine's."""
    BROKEN = "broken"
    """The connection ended before the answer did, and the client can tell."""
    UNREACHED = "unreached"
    """No connection."""
    LATE = "late"
    """The client lost patience."""
    LEFT = "left"
    """The client went away, as it was meant to."""
    WRONG = "wrong"
    """A whole answer that is not the one to this call: what must never be."""


@dataclass(frozen=True, slots=True)
class Ending:
    kind: Kind
    told: str = ""
    """What was wrong, or what the refusal said."""
    status: int = 0
    """0 without a whole answer."""


RIGHT = Ending(Kind.RIGHT, status=HTTPStatus.OK)


@dataclass(frozen=True, slots=True)
class CheckedCall:
    request: bytes
    """Whole, as it goes over the wire."""
    text: str
    """What the engine must say."""
    streams: bool


def checked_call(
    host: str,
    agent: str,
    prompt: str,
    tokens: int,
    *,
    streams: bool,
    headers: Mapping[str, str] | None = None,
    fields: Mapping[str, object] | None = None,
) -> CheckedCall:
    """`fields` go into the body besides, and must not change what is answered."""
    messages = [{"role": "system", "content": f"You are {agent}."}, {"role": "user", "content": prompt}]
    body = {
        "model": "emulated",
        "messages": messages,
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": streams,
        **(fields or {}),
    }
    named = {"x-agent-id": agent, **(headers or {})}
    return CheckedCall(posted(host, json.dumps(body).encode(), named), said(messages, tokens), streams)


def said(messages: Sequence[Mapping[str, object]], tokens: int) -> str:
    """The emulated engine's answer without an adapter, in so many tokens."""
    state, output = extend_state(0, render_chat(messages)), Tokens("q")
    for _ in range(tokens):
        output.append(candidates(state, 0, 1)[0][0])
        state = extend_state(state, output[-1:])
    return decode(output)


def posted(host: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{told}"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def ending_of(call: CheckedCall, message: Message) -> Ending:
    """What a whole answer is to this call."""
    _, _, after = message.start.partition(b" ")
    status = int(after[:3]) if after[:3].isdigit() else 0
    if status != HTTPStatus.OK:
        told = message.body[:_SHOWN].decode(errors="replace")
        # A status outside of what HTTP has is nobody's refusal.
        return Ending(Kind.REFUSED if 400 <= status < 600 else Kind.WRONG, told, status)
    try:
        text, finish = _streamed(message.body) if call.streams else _whole(message.body)
    except (ValueError, LookupError, TypeError) as exc:
        return Ending(Kind.WRONG, f"{exc!r}: {message.body[:_SHOWN]!r}", status)
    if (text, finish) == (call.text, "length"):
        return RIGHT
    return Ending(Kind.WRONG, f"{text[:_SHOWN]!r} ({finish}) instead of {call.text[:_SHOWN]!r}", status)


def _whole(body: bytes) -> tuple[str, str]:
    choice = json.loads(body)["choices"][0]
    return choice["message"]["content"], choice["finish_reason"]


def _streamed(body: bytes) -> tuple[str, str]:
    events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n")]
    if events[-2:] != [_DONE, b""]:
        raise ValueError("the stream does not end with [DONE]")
    text, finish = "", ""
    for event in events[:-2]:
        for choice in json.loads(event)["choices"]:
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
    return text, finish

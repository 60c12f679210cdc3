"""The text of an answer that has gone by, whole or as the events of a stream: what the LLM said, without what is around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from scalesim.proxy.core.durations import Reading
from scalesim.proxy.core.model import Clock


class Spoken(Protocol):
    def text(self) -> str: ...


def duration_in(answer: Spoken, reading: Reading) -> tuple[float, Clock] | None:
    """How long its agent acts, if it stands in the answer. Takes a few milliseconds at most with the rules that come with
    us, whatever the answer is; see `Reading` for those of operators."""
    text = answer.text()
    return reading.acts_for(text) if text else None


def text_of(payload: bytes) -> str:
    """Of the first choice of a plain answer; where it called tools instead of speaking, what it called them with.

    Empty for what is no answer of a form known here.
    """
    return text_in(parsed(payload))


def text_in(answer: Mapping[str, Any]) -> str:
    """The same of one that was parsed."""
    choice = _first(answer.get("choices"))
    message = choice.get("message")
    if isinstance(message, dict):
        return _spoken(message)
    return _text(choice.get("text")) or _text(answer.get("text")) or _outputs(answer)


def text_of_events(payloads: Sequence[bytes], *, whole: bool = True) -> str:
    """The same of a stream, from the `data:` of its events in their order. If they are not the whole stream, what
    stands before the first space is left out: it may be the rest of a word or a number."""
    events = _events(payloads)
    # SGLang's own route repeats in each event all that was said before.
    last: Mapping[str, Any] = next((event for event in reversed(events) if event), {})
    if "choices" not in last and (text := _text(last.get("text"))):
        return text
    parts: list[str] = []
    calls: list[str] = []
    for event in events:
        choice = _first(event.get("choices"))
        delta = choice.get("delta")
        if isinstance(delta, dict):
            parts.append(_text(delta.get("content")))
            calls.append(_arguments(delta))
        elif choice:
            parts.append(_text(choice.get("text")))
        elif event.get("type") == "response.output_text.delta":
            parts.append(_text(event.get("delta")))
    begins_here = whole or not (parts and parts[0])
    text = "".join(parts)
    if not text:
        return "".join(calls) if whole else ""
    return text if begins_here else text.partition(" ")[2]


def _spoken(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str):
        content = "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return _text(content) or _arguments(message)


def _arguments(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return ""
    functions = [call.get("function") for call in calls if isinstance(call, dict)]
    return "".join([_text(function.get("arguments")) for function in functions if isinstance(function, dict)])


def _outputs(answer: Mapping[str, Any]) -> str:
    """Of /v1/responses."""
    outputs = answer.get("output")
    if not isinstance(outputs, list):
        return ""
    return "".join(
        _spoken(output) or _text(output.get("arguments")) for output in outputs if isinstance(output, dict)
    )


def _first(choices: object) -> Mapping[str, Any]:
    """Empty if there is none. Of several answers to one prompt nobody knows which is acted on."""
    if not isinstance(choices, list):
        return {}
    for choice in choices:
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _events(payloads: Sequence[bytes]) -> Sequence[Mapping[str, Any]]:
    """Of a stream, those that are objects. All are parsed at once, which is a good deal cheaper than one by one."""
    objects = [payload for payload in payloads if payload.startswith(b"{")]
    try:
        events = orjson.loads(b"[%b]" % b",".join(objects))
    except orjson.JSONDecodeError:
        return [parsed(payload) for payload in objects]
    return [event for event in events if isinstance(event, dict)]


def parsed(payload: bytes) -> Mapping[str, Any]:
    """Empty for what is no JSON object."""
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}

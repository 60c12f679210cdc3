"""What an answer says, and says of its tokens, read after its end: per chunk nothing is done but to keep it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from scalesim.proxy.core.model import Usage

from .answers import parsed, text_in, text_of, text_of_events
from .headers import Headers

MAX_JSON_BYTES = 8 * 1024 * 1024
MAX_TAIL_BYTES = 64 * 1024
MAX_TEXT_BYTES = 256 * 1024
"""Of a plain answer that is read for its text, in two milliseconds at most."""

_LAST_EVENTS = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""One of these ends a stream of /v1/responses, all others end with `[DONE]`."""


class Witness(Protocol):
    """Sees the chunks of one answer go by."""

    @property
    def held_bytes(self) -> int:
        """What it keeps of them."""
        ...

    def see(self, chunk: bytes) -> None: ...

    def usage(self) -> Usage | None:
        """To be asked after the end. None where the answer does not say, or not in a form known here."""
        ...

    def text(self) -> str:
        """What the LLM said, to be asked after the end; of a long stream its end. Empty where too little of it is here, or in
        a form not known here."""
        ...

    def saw_the_end(self) -> bool:
        """Whether what went by says itself that nothing follows. False where only the connection's end can tell."""
        ...


def witness_of(answer_headers: Headers, request: Mapping[str, object] | None) -> Witness:
    """`answer_headers` with names in lower case; `request` is the parsed body of the request."""
    fields = dict(answer_headers)
    media_type = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if fields.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        return _Blind()
    several = _asks_for_several(request or {})
    if media_type == b"text/event-stream":
        return _StreamTail(several)
    if media_type == b"application/json":
        return _WholeJson(several)
    return _Blind()


class _Blind:
    held_bytes = 0

    def see(self, chunk: bytes) -> None:
        pass

    def usage(self) -> Usage | None:
        return None

    def text(self) -> str:
        return ""

    def saw_the_end(self) -> bool:
        return False


class _WholeJson:
    """Keeps everything, unless it is too much: its end alone would say nothing."""

    def __init__(self, several: bool) -> None:
        self._several = several
        self._chunks: list[bytes] = []
        self._size = 0
        self._said: str | None = None

    @property
    def held_bytes(self) -> int:
        return (self._size if self._chunks else 0) + len(self._said or "")

    def see(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size <= MAX_JSON_BYTES:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def usage(self) -> Usage | None:
        if not self._chunks:
            return None
        answer = parsed(b"".join(self._chunks))
        if self._size <= MAX_TEXT_BYTES:
            # Nearly always it is asked for too, and to parse the answer is most of the work.
            self._said = text_in(answer)
        return _usage_in(answer, self._several)

    def text(self) -> str:
        if self._said is None:
            self._said = text_of(b"".join(self._chunks)) if self._size <= MAX_TEXT_BYTES else ""
        return self._said

    def saw_the_end(self) -> bool:
        return False


class _StreamTail:
    """Keeps the last events of a stream: engines report tokens at its end."""

    def __init__(self, several: bool) -> None:
        self._several = several
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._whole = True

    @property
    def held_bytes(self) -> int:
        return self._size

    def see(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size - len(self._chunks[0]) >= MAX_TAIL_BYTES:
            self._size -= len(self._chunks.popleft())
            self._whole = False

    def usage(self) -> Usage | None:
        tail = b"".join(self._chunks)
        if b'"usage"' not in tail and b'"meta_info"' not in tail:
            return None
        for payload in reversed(self._payloads(tail)):
            if (b'"usage"' in payload or b'"meta_info"' in payload) and (
                usage := _usage_in(parsed(payload), self._several)
            ):
                return usage
        return None

    def text(self) -> str:
        return text_of_events(self._payloads(b"".join(self._chunks)), whole=self._whole)

    def saw_the_end(self) -> bool:
        payloads = self._payloads(b"".join(self._chunks))
        last = payloads[-1] if payloads else b""
        return last == b"[DONE]" or (b'"response.' in last and parsed(last).get("type") in _LAST_EVENTS)

    def _payloads(self, tail: bytes) -> list[bytes]:
        lines = tail.splitlines()
        if not self._whole:
            del lines[:1]  # it may be the rest of one
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]


def _asks_for_several(request: Mapping[str, object]) -> bool:
    """Several answers to one prompt: what engines then count as cached also counts the prompt they just computed."""
    sampling = request.get("sampling_params")
    nested = sampling.get("n") if isinstance(sampling, dict) else None
    return any(isinstance(n, int) and n > 1 for n in (request.get("n"), nested))


def _usage_in(answer: Mapping[str, Any], several: bool) -> Usage | None:
    response = answer.get("response")  # the last event of /v1/responses wraps its answer
    for holder in (answer, response if isinstance(response, dict) else {}):
        counts = holder.get("usage") or holder.get("meta_info")
        if isinstance(counts, dict) and (usage := _usage_of(counts, several)):
            return usage
    return None


def _usage_of(counts: Mapping[str, object], several: bool) -> Usage | None:
    prompt = _tokens(counts.get("prompt_tokens", counts.get("input_tokens")))
    if prompt is None:
        return None
    output = _tokens(counts.get("completion_tokens", counts.get("output_tokens")))
    details = counts.get("prompt_tokens_details") or counts.get("input_tokens_details") or counts
    cached = _tokens(details.get("cached_tokens")) if isinstance(details, dict) and not several else None
    return Usage(prompt=prompt, cached=cached, output=output or 0)


def _tokens(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

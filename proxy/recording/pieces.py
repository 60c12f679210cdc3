"""A request's prompt as one run of bytes, in the order in which engines lay it out, in pieces of bounded size. Pure.

It is not what the engine computes: that depends on its chat template. But where two prompts are alike from the start on, so
are their bytes, and where they part, their bytes part at about the same place. What is no text (tools, images, token ids) is
in it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

PIECE_CHARS = 16_384
"""No piece is longer, so that whoever works on one is soon done."""

_ENDS = "\x1e"
"""Between two parts, so that moving text from one to the next changes the bytes."""


def pieces_of(route: str, body: Mapping[str, object]) -> Iterator[bytes]:
    """Nothing for a route that is unknown here. Never raises, whatever the body holds."""
    match route:
        case "/v1/chat/completions":
            parts: list[object] = [body.get("tools"), _in_order(body.get("messages"))]
        case "/v1/responses":
            parts = [body.get("instructions"), body.get("tools"), _in_order(body.get("input"))]
        case "/v1/completions":
            parts = [body.get("prompt")]
        case "/generate":
            parts = [body.get("text"), body.get("input_ids"), body.get("image_data")]
        case "/v1/embeddings":
            parts = [body.get("input")]
        case _:
            return
    yield from _pieces(parts)


def namespace_of(body: Mapping[str, object]) -> tuple[str, ...]:
    """What keeps equal prompts apart in an engine's cache, as far as the body says it."""
    return tuple(str(body.get(name) or "")[:PIECE_CHARS] for name in ("model", "cache_salt", "extra_key"))


def _in_order(messages: object) -> object:
    """Of each message the role and the content first, whatever order the client wrote them in."""
    if not isinstance(messages, list):
        return messages
    return [
        [
            one.get("role"),
            one.get("content"),
            {key: one[key] for key in one if key not in ("role", "content")},
        ]
        if isinstance(one, Mapping)
        else one
        for one in messages
    ]


def _pieces(value: object) -> Iterator[bytes]:
    """The strings and numbers in it, keys included. Without recursion: a body may be nested as deeply as its parser let."""
    waiting: list[Iterator[object]] = [iter((value,))]
    while waiting:
        for one in waiting[-1]:
            if isinstance(one, str):
                yield from _slices(one)
            elif isinstance(one, bool) or one is None:
                pass  # an absent field, or one that says as much as its key
            elif isinstance(one, int):
                yield (one & 0xFFFFFFFF).to_bytes(4, "little")  # a token, which is what BYTES_PER_TOKEN make
            elif isinstance(one, list):
                waiting.append(iter(one))
                break
            elif isinstance(one, Mapping):
                waiting.append(iter([part for pair in one.items() for part in pair]))
                break
            else:
                yield str(one).encode()
        else:
            waiting.pop()


def _slices(text: str) -> Iterator[bytes]:
    if len(text) <= PIECE_CHARS:
        yield (text + _ENDS).encode("utf-8", "surrogatepass")
        return
    for start in range(0, len(text), PIECE_CHARS):
        yield text[start : start + PIECE_CHARS].encode("utf-8", "surrogatepass")
    yield _ENDS.encode()

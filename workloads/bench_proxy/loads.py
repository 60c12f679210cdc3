"""What is asked, and what the mock engine answers: prepared bytes. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from .http1 import LAST_CHUNK, chunk

MODEL = "bench-model"
PATH = "/v1/chat/completions"
AGENTS = 256
"""Who call in turn, so that a proxy that tells agents apart has some to tell apart."""
PROMPTS = 2
"""Of each agent: a prompt that comes twice in a row would be a retry."""
CHUNKS = 64
_ANSWER_BYTES = 1024
_END = "over and out"
"""The answer's last words."""
_WORDS = [
    "the",
    "a",
    "market",
    "square",
    "walks",
    "to",
    "and",
    "from",
    "with",
    "bread",
    "some",
    "of",
    "her",
    "his",
    "friends",
    "then",
    "later",
    "again",
    "slowly",
]


@dataclass(frozen=True, slots=True)
class Load:
    """So many connections, each of which asks again as soon as it was answered."""

    name: str
    body_bytes: int
    streams: bool
    connections: int


LOADS = (
    Load("JSON, c=1", 4096, False, 1),
    Load("JSON, c=32", 4096, False, 32),
    Load("JSON, c=256", 4096, False, 256),
    Load("SSE, c=64", 4096, True, 64),
    Load("SSE, c=256", 4096, True, 256),
    Load("64 KB, c=16", 65536, False, 16),
)


def requests(load: Load, host: str, seed: int, *, named: bool = False) -> list[bytes]:
    """In the order in which they are sent. Whose they are stands in the prompt, and `named` in a header too."""
    random = Random(seed)
    text = " ".join(random.choices(_WORDS, k=2 * load.body_bytes // 4))
    prepared = []
    for _ in range(PROMPTS):
        for agent in random.sample(range(AGENTS), AGENTS):
            body = _body(load, agent, text[random.randrange(load.body_bytes) :])
            name = f"x-agent-id: agent-{agent}\r\n" if named else ""
            head = (
                f"POST {PATH} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
                f"accept: */*\r\n{name}content-length: {len(body)}\r\n\r\n"
            )
            prepared.append(head.encode() + body)
    return prepared


def _body(load: Load, agent: int, text: str) -> bytes:
    """Of exactly `load.body_bytes`; `text` is ASCII, and nothing in it has to be escaped."""
    messages = [
        {"role": "system", "content": "You take part in the life of a town. Answer with what you do next."},
        {
            "role": "user",
            "content": f"The town has a market.\nYour name is Agent {agent}, and you live here.\n@\nNow?",
        },
    ]
    body = {"model": MODEL, "messages": messages, "max_tokens": CHUNKS, "stream": load.streams}
    before, _, after = json.dumps(body, separators=(",", ":")).partition("@")
    return f"{before}{text[: load.body_bytes - len(before) - len(after)]}{after}".encode()


def _json_answer() -> bytes:
    def of(told: str) -> bytes:
        message = {"role": "assistant", "content": f"{told} {_END}"}
        body = {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": 1700000000,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 900, "completion_tokens": CHUNKS, "total_tokens": 900 + CHUNKS},
        }
        return json.dumps(body, separators=(",", ":")).encode()

    return of("w" * (_ANSWER_BYTES - len(of(""))))


def _events() -> list[bytes]:
    def event(delta: dict[str, str], reason: str | None = None) -> bytes:
        body = {
            "id": "chatcmpl-0",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": MODEL,
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}],
        }
        return b"data: %b\n\n" % json.dumps(body, separators=(",", ":")).encode()

    events = [event({"role": "assistant", "content": "word 0 "})]
    events += [event({"content": f"word {number} "}) for number in range(1, CHUNKS - 1)]
    return [*events, event({"content": _END}) + event({}, "stop") + b"data: [DONE]\n\n"]


JSON_BODY = _json_answer()
SSE_BODY = b"".join(_events())

JSON_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(JSON_BODY)
    + JSON_BODY
)


def _sse_writes() -> Sequence[bytes]:
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )
    first, *middle, last = map(chunk, _events())
    return (head + first, *middle, last + LAST_CHUNK)


SSE_WRITES = _sse_writes()
"""As the mock writes it, one after the other."""


def fault_of(start: bytes, body: bytes, *, streams: bool, to_the_byte: bool) -> str | None:
    """What is wrong with an answer, None if nothing is. `start` is its first line, in small letters.

    A proxy that writes answers anew (`to_the_byte` is False) still has to bring the last words and the end.
    """
    version, _, rest = start.partition(b" ")
    if version != b"http/1.1":
        return "no HTTP/1.1"
    if (status := rest[:3]) != b"200":
        return f"status {status.decode(errors='replace')}"
    wanted = SSE_BODY if streams else JSON_BODY
    if to_the_byte:
        if body == wanted:
            return None
        return f"{len(body)} bytes for {len(wanted)}" if len(body) != len(wanted) else "other bytes"
    if _END.encode() not in body:
        return "the last words are missing"
    if streams and not body.rstrip().endswith(b"data: [DONE]"):
        return "the last chunk is missing"
    return None

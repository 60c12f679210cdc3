"""The emulated engine with something to say: its cache, its delays and its control routes, and the answers of a script.

Also keeps what came over the wire, and what went back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from random import Random
from typing import Any

import orjson

from scalesim.engine_adapters.emulated import EmulatedEngine

from .answers import Message

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Answer = Callable[[Mapping[str, Any], Random], Message]


@dataclass(slots=True)
class Seen:
    """One chat request, as the engine got it and answered it."""

    raw: bytes
    status: int | None = None
    answer: bytes = b""

    @property
    def answer_sha256(self) -> str:
        return hashlib.sha256(self.answer).hexdigest()


class AnsweringEngine:
    """The same answers for the same seed and the same order of requests."""

    def __init__(self, engine: EmulatedEngine, answer: Answer, seed: int) -> None:
        self._engine = engine
        self._answer = answer
        self._seed = seed
        self.seen: list[Seen] = []
        self.warm_ups = 0
        """Requests of the proxy's own, which ask for no answer: they bring a prefix into the cache."""

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/v1/chat/completions":
            await self._engine.app(scope, receive, send)
            return
        read: list[Event] = []
        while not read or read[-1].get("more_body", False):
            read.append(await receive())
        seen = Seen(b"".join(event.get("body", b"") for event in read))
        if orjson.loads(seen.raw).get("max_tokens") == 0:
            self.warm_ups += 1
            await self._engine.app(scope, _first(read, receive), send)
            return
        self.seen.append(seen)
        random = Random(f"{self._seed} {len(self.seen)}")
        written: list[Event] = []

        async def kept(event: Event) -> None:
            written.append(event)

        await self._engine.app(scope, _first(read, receive), kept)
        if not written:  # the client has gone
            return
        seen.status = written[0]["status"]
        seen.answer = b"".join(event.get("body", b"") for event in written[1:])
        if seen.status == 200:
            seen.answer = self._spoken(seen.raw, seen.answer, random)
        length = (b"content-length", str(len(seen.answer)).encode())
        headers = [*(one for one in written[0]["headers"] if one[0] != b"content-length"), length]
        await send({**written[0], "headers": headers})
        await send({"type": "http.response.body", "body": seen.answer})

    def _spoken(self, raw: bytes, answer: bytes, random: Random) -> bytes:
        said = self._answer(orjson.loads(raw), random)
        whole = orjson.loads(answer)
        (choice,) = whole["choices"]
        choice["message"] = said
        choice["finish_reason"] = "tool_calls" if "tool_calls" in said else "stop"
        return orjson.dumps(whole)


def _first(read: list[Event], receive: Receive) -> Receive:
    """What was read, once more; then what is still to come."""

    async def again() -> Event:
        return read.pop(0) if read else await receive()

    return again

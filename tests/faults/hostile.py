"""An engine that answers as each call's header `x-manner` says: rightly, wrongly, by half, slowly, or not at all.

A program of its own: `--port`, and `--control` for the manner of all that is no call. Its right answers are those of the
emulated engine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from enum import Enum

from scalesim.workloads.bench_proxy.http1 import LAST_CHUNK, chunk
from scalesim.workloads.checked_calls import said

GARBAGE = bytes(range(256)) * 16 + b"\r\n\r\n"
DRIP_S = 1.0
POISON = b'{"poison": "this is the answer to nobody"}'
_UNASKED = b"HTTP/1.1 200 OK\r\n"
_JSON = "content-type: application/json\r\n"


class Manner(Enum):
    WELL = "well"
    GARBAGE = "garbage"
    HALF = "half"
    NOTHING = "nothing"
    """Closes without a word."""
    SILENT = "silent"
    ERROR = "error"
    DRIP = "drip"
    """A byte a second."""
    ENDLESS_HEAD = "endless head"
    TWO_LENGTHS = "two lengths"
    BEHIND = "behind"
    """A right answer, and behind it the beginning of one to nobody, which goes on when the next call comes."""


class Engine(asyncio.Protocol):
    def __init__(self, control: Manner) -> None:
        self._control = control
        self._data = b""
        self._owes_poison = False
        self._transport: asyncio.Transport
        self._dripping: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._dripping is not None:
            self._dripping.cancel()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines[1:])
        }
        if not end or len(body) < int(headers.get("content-length", "0")):
            return
        self._data = b""
        if self._owes_poison:
            rest = f"{_JSON}content-length: {len(POISON)}\r\n\r\n"
            self._transport.write(rest.encode() + POISON)
            return
        method, path, _ = lines[0].split(" ")
        if path == "/health":
            self._answer(b"")
        elif method == "POST" and path.startswith("/v1/"):
            self._call(Manner(headers.get("x-manner", Manner.WELL.value)), json.loads(body))
        else:
            self._behave(self._control, b"{}", streams=False)

    def _call(self, manner: Manner, asked: Mapping[str, object]) -> None:
        messages, tokens, streams = asked["messages"], asked["max_tokens"], asked["stream"] is True
        assert isinstance(messages, list)
        assert isinstance(tokens, int)
        text = said(messages, tokens)
        self._behave(manner, _streamed(text) if streams else _whole(text), streams=streams)

    def _behave(self, manner: Manner, right: bytes, *, streams: bool) -> None:
        write, close = self._transport.write, self._transport.close
        whole = _framed(right, streams=streams)
        match manner:
            case Manner.WELL:
                write(whole)
            case Manner.GARBAGE:
                write(GARBAGE)
                close()
            case Manner.HALF:
                write(whole[: len(whole) - len(right) // 2])
                close()
            case Manner.NOTHING:
                close()
            case Manner.SILENT:
                pass
            case Manner.ERROR:
                self._answer(b'{"error": {"message": "out of memory"}}', "500 Internal Server Error")
            case Manner.DRIP:
                self._dripping = asyncio.get_running_loop().create_task(self._drip(whole))
            case Manner.ENDLESS_HEAD:
                write(b"HTTP/1.1 200 OK\r\n" + b"x-more: and more\r\n" * 20_000)
            case Manner.TWO_LENGTHS:
                write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 20\r\n\r\n{}" + b" " * 18)
            case Manner.BEHIND:
                write(whole + _UNASKED)
                self._owes_poison = True

    async def _drip(self, data: bytes) -> None:
        for at in range(len(data)):
            self._transport.write(data[at : at + 1])
            await asyncio.sleep(DRIP_S)

    def _answer(self, body: bytes, status: str = "200 OK") -> None:
        self._transport.write(
            f"HTTP/1.1 {status}\r\n{_JSON}content-length: {len(body)}\r\n\r\n".encode() + body
        )


def _framed(right: bytes, *, streams: bool) -> bytes:
    if not streams:
        return f"HTTP/1.1 200 OK\r\n{_JSON}content-length: {len(right)}\r\n\r\n".encode() + right
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    events = right.split(b"\n\n")[:-1]
    return head + b"".join(chunk(event + b"\n\n") for event in events) + LAST_CHUNK


def _whole(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "length"}]}).encode()


def _streamed(text: str) -> bytes:
    words = text.split(" ")
    pieces = [word if index == 0 else f" {word}" for index, word in enumerate(words)]
    events = [{"choices": [{"index": 0, "delta": {"content": one}, "finish_reason": None}]} for one in pieces]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    return (
        b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    )


async def _serve(port: int, control: Manner) -> None:

    server = await asyncio.get_running_loop().create_server(
        lambda: Engine(control), "127.0.0.1", port, backlog=1024
    )

    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--control", type=Manner, default=Manner.WELL)
    given = parser.parse_args()
    asyncio.run(_serve(given.port, given.control))


if __name__ == "__main__":
    main()

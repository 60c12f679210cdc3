"""The mock engine, a program of its own: HOST PORT. It answers each call at once with prepared bytes, a stream as 64 writes
without a pause; and what proxies ask an engine before they send it calls, as an SGLang with our plugin would.

It holds nothing and loads nothing, so memory control costs a proxy what it costs to plan and to tell.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sys
from collections.abc import Sequence
from typing import cast

import uvloop

from scalesim.engine_adapters.sglang_plugin import wire

from .http1 import Malformed, Message, Messages
from .loads import JSON_ANSWER, MODEL, PATH, SSE_WRITES

_CALL = b"post %b " % PATH.encode()
_STREAMS = (b'"stream":true', b'"stream": true')
_CAPACITY_TOKENS = 65_536
_BYTES_PER_TOKEN = 1024
_BOOT_ID = "bench"
_INFO = {
    "model_path": MODEL,
    "served_model_name": MODEL,
    "tokenizer_path": "",
    "is_generation": True,
    "version": "0.5.23",
    "max_total_num_tokens": _CAPACITY_TOKENS,
    "internal_states": [{}],
}
_READS: dict[str, object] = {
    "/health": {},
    "/health_generate": {},
    "/v1/models": {
        "object": "list",
        "data": [
            {"id": MODEL, "object": "model", "created": 1700000000, "owned_by": "sglang", "root": MODEL}
        ],
    },
    "/model_info": _INFO,
    "/get_model_info": _INFO,
    "/server_info": _INFO,
    "/get_server_info": _INFO,
    f"{wire.PREFIX}/capabilities": {
        "protocol": wire.PROTOCOL,
        "boot_id": _BOOT_ID,
        "engine": {"name": "mock", "version": "1"},
        "cache": {"active": True},
        "features": ["order", "pin", "evict", "residency", "owners", "abort", "by_recency"],
        "capacity_tokens": _CAPACITY_TOKENS,
    },
    f"{wire.PREFIX}/stats": {
        "boot_id": _BOOT_ID,
        "plan_in_force": True,
        "pins": [],
        "pinned_tokens": 0,
        "capacity_tokens": _CAPACITY_TOKENS,
        "pools": [
            {
                "name": "device",
                "kinds": ["kv_prefix"],
                "capacity_bytes": _CAPACITY_TOKENS * _BYTES_PER_TOKEN,
                "free_bytes": 0,
            }
        ],
    },
}
_TAKEN = {"ok": True, "in_force": True}
"""To control calls and aborts."""


class MockEngine(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._messages = Messages()
        self._transport: asyncio.Transport
        self._fd: int

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._fd = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        try:
            message = self._messages.feed(data)
        except Malformed:
            self._transport.abort()
            return
        if message is None:
            return
        if message.start.startswith(_CALL):
            self.answer(message)
        else:
            self._transport.write(self.aside(message.start))
        if message.closes:
            self._transport.close()

    def answer(self, call: Message) -> None:
        if any(mark in call.body for mark in _STREAMS):
            self._write_each(SSE_WRITES)
        else:
            self._transport.write(JSON_ANSWER)

    def aside(self, start: bytes) -> bytes:
        """The answer to whatever is not a call. `start` is the first line of the request, in small letters."""
        return _aside(start)

    def _write_each(self, writes: Sequence[bytes]) -> None:
        """Past the transport, which would make one write of them all."""
        for number, data in enumerate(writes):
            if self._transport.get_write_buffer_size():
                sent = 0
            else:
                try:
                    sent = os.write(self._fd, data)
                except BlockingIOError:
                    sent = 0
                except OSError as exc:
                    if exc.errno in (errno.EPIPE, errno.ECONNRESET, errno.EBADF):
                        return  # whoever asked has gone; the transport learns it by itself
                    raise
            if sent < len(data):
                self._transport.write(b"".join([data[sent:], *writes[number + 1 :]]))
                return


def _aside(start: bytes) -> bytes:
    method, _, rest = start.decode("latin-1").partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    answer = _TAKEN if method == "post" else _READS.get(path)
    status = "200 OK" if answer is not None else "404 Not Found"
    body = json.dumps(answer if answer is not None else {"error": {"message": f"nothing at {path}"}}).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(host: str, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(MockEngine, host, port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))

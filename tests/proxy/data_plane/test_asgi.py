"""What is not HTTP; the rest of this module is seen through the relay."""

from __future__ import annotations

import pytest

from scalesim.proxy.data_plane.asgi import Message

from .rig import Recorder, rig

pytestmark = pytest.mark.anyio


async def test_a_websocket_is_refused() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async with rig(Recorder()) as r:
        await r.relay({"type": "websocket", "path": "/v1/realtime"}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]

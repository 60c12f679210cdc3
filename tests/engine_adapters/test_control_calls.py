from __future__ import annotations

import gc
import weakref

import httpx
import pytest

from scalesim.engine_adapters.control_calls import ControlCalls
from scalesim.proxy.core.model import EngineId

pytestmark = pytest.mark.anyio


async def test_an_answer_that_was_read_is_gone_without_the_collector() -> None:
    """Control calls come all day, and the collector hardly ever looks at what lived for a moment too long."""

    def engine(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"data": [{"id": "a-model"}]})

    gc.collect()
    gc.disable()
    try:
        async with httpx.AsyncClient(transport=httpx.MockTransport(engine)) as client:
            answer = await ControlCalls(EngineId("gpu"), "http://gpu", client).send("GET", "/v1/models")
            assert answer.json() == {"data": [{"id": "a-model"}]}
            held = weakref.ref(answer)
            del answer
            assert held() is None
    finally:
        gc.enable()

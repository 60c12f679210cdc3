from __future__ import annotations

import httpx
import pytest

from scalesim.workloads.asking import Place
from scalesim.workloads.checked_calls import RIGHT, checked_call
from scalesim.workloads.scaling.figures import noted_of
from scalesim.workloads.scaling.recording import RecordingEngine
from tests.support.asking import ask_once
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve

pytestmark = pytest.mark.anyio


async def test_each_call_is_written_down_with_what_it_found() -> None:
    call = checked_call("engine", "ann", "What now?", 3, streams=False, fields={"session_id": "town/ann"})
    async with serve(RecordingEngine().app) as url:
        for _ in range(2):
            assert await ask_once(Place.of(url), call, PATIENCE_S) == RIGHT
        async with httpx.AsyncClient(trust_env=False) as http:
            first, second = map(noted_of, (await http.get(f"{url}/recorded")).json())
    assert first.owner == second.owner == "town/ann"
    assert first.call.prompt == second.call.prompt
    assert (first.cached, second.cached) == (0, len(second.call.prompt) - 1)
    assert first.call.start <= first.call.end <= second.call.start
    assert first.call.output_tokens == 3
    assert not first.ahead

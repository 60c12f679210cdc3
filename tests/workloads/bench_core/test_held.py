from __future__ import annotations

import asyncio

import pytest

from scalesim.workloads.bench_core import held as module
from scalesim.workloads.bench_core.held import BulkRefused, held

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_the_loop_is_watched_while_agents_act_and_all_distances_come_in() -> None:
    found = await held(agents=250, active=250, seed=1, seconds=0.5)
    assert len(found.lags_ms) >= 200
    assert min(found.lags_ms) >= 0.0
    assert {"CallStarted", "Ticked", "DistanceHinted"} <= found.longest_ms.keys()
    assert found.calls > 0
    assert found.bulk_s > 0.0
    began, ended = found.bulk
    assert ended - began >= found.bulk_s
    assert found.tick_delays_ms(during_bulk=True)
    assert found.tick_delays_ms(during_bulk=False)


@pytest.mark.slow
async def test_a_bulk_update_that_is_refused_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATH", "/admin/v1/simulations/elsewhere/distances")
    with pytest.raises(BulkRefused, match="answered with 404"):
        await held(agents=5, active=5, seed=1, seconds=0.1)


async def test_a_loop_that_is_held_is_late_for_every_moment_meanwhile() -> None:
    lags: list[float] = []
    watching = asyncio.create_task(module._beat(lags))
    await asyncio.sleep(0)
    until = asyncio.get_running_loop().time() + 0.02
    while asyncio.get_running_loop().time() < until:
        pass
    await asyncio.sleep(0)
    watching.cancel()
    assert len(lags) >= 19
    assert max(lags) >= 19.0
    assert sum(lags) / len(lags) >= 8.0

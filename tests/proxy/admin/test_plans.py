from __future__ import annotations

import pytest

from scalesim.proxy.admin import plans
from scalesim.proxy.core.actions import Order

from .conftest import Proxy

pytestmark = pytest.mark.anyio
API = "/admin/v1"


async def test_what_would_be_done_for_an_engine_is_told_and_not_done(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    acts = {"unit": "seconds", "durations": {"Ann": 5000}}
    await proxy.client.post(f"{API}/simulations/{town}/actions", json=acts)
    await proxy.client.put(f"{API}/simulations/{town}/mode", json={"mode": "shadow"})
    path = f"{API}/engines/fake/plan"
    off = (await proxy.client.get(path)).json()
    assert town not in {one["simulation"] for one in off["order"]}
    told = (await proxy.client.get(f"{path}?shadow=true&limit=1000")).json()
    (ann,) = [one for one in told["order"] if one["simulation"] == town]
    assert 4900 < ann.pop("distance_s") <= 5000
    assert ann == {
        "simulation": town,
        "agent": "Ann",
        "source": "plan",
        "in_activation": False,
        "near": False,
        "pinned": False,
        "size_tokens": 107,
    }
    assert (told["engine"], told["policy"], told["shadow"]) == ("fake", "nearest_first", True)
    assert told["in_charge"] == "distance"
    (order,) = [one for one in told["actions"] if one["kind"] == "order"]
    assert order["count"] == told["ordered"]
    assert order["why"].startswith(f"nearest_first of {told['ordered']} agents, ")
    sent = [action for action, _ in proxy.adapter.actions if isinstance(action, Order)]
    assert not any(f"{town}/Ann" in dict(one.distances) for one in sent[-1:])


async def test_a_plan_of_no_engine_or_of_one_that_was_never_found_is_a_problem(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "WAIT_S", 0.01)
    unknown = await proxy.client.get(f"{API}/engines/nobody/plan")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "/admin/v1/problems/unknown-engine")
    await proxy.client.post(f"{API}/engines", json={"name": "later", "url": "http://later:1"})
    never = await proxy.client.get(f"{API}/engines/later/plan")
    await proxy.client.delete(f"{API}/engines/later")
    assert (never.status_code, never.json()["type"]) == (503, "/admin/v1/problems/no-plan")
    for query in ("limit=0", "shadow=perhaps"):
        assert (await proxy.client.get(f"{API}/engines/fake/plan?{query}")).status_code == 422

from __future__ import annotations

import pytest

from scalesim.proxy.admin.choices import ESTIMATORS, POLICIES
from scalesim.proxy.core import choosing, policies

from .conftest import Proxy

pytestmark = pytest.mark.anyio
API = "/admin/v1"


async def test_an_estimator_is_chosen_for_one_simulation(proxy: Proxy) -> None:
    town, other = proxy.simulation("Ann"), proxy.simulation("Ann")
    for _ in range(2):
        answer = await proxy.client.put(f"{API}/simulations/{town}/estimator", json={"name": "gap"})
        assert (answer.status_code, answer.json()["estimator"]) == (200, "gap")
    assert (await proxy.client.get(f"{API}/simulations/{other}")).json()["estimator"] == "auto"
    await proxy.client.put(f"{API}/simulations/{town}/estimator", json={"name": "auto"})
    assert (await proxy.client.get(f"{API}/simulations/{town}")).json()["estimator"] == "auto"


async def test_a_simulation_can_be_created_with_an_estimator(proxy: Proxy) -> None:
    made = await proxy.client.put(f"{API}/simulations/estimated", json={"estimator": "turns"})
    assert (made.status_code, made.json()["estimator"]) == (201, "turns")
    again = await proxy.client.put(f"{API}/simulations/estimated", json={"mode": "off"})
    assert (again.json()["mode"], again.json()["estimator"]) == ("off", "turns")


@pytest.mark.parametrize("body", [{"name": "horoscope"}, {}, {"estimator": "gap"}, "gap"])
async def test_what_is_no_estimator_is_refused(proxy: Proxy, body: object) -> None:
    town = proxy.simulation("Ann")
    answer = await proxy.client.put(f"{API}/simulations/{town}/estimator", json=body)
    assert (answer.status_code, answer.json()["type"]) == (422, "/admin/v1/problems/invalid-request")
    unknown = await proxy.client.put(f"{API}/simulations/atlantis/estimator", json={"name": "gap"})
    assert (unknown.status_code, unknown.json()["type"]) == (404, "/admin/v1/problems/unknown-simulation")


async def test_a_policy_is_chosen_for_one_engine_or_for_all(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    told = (await proxy.client.put(f"{API}/engines/fake/policy", json={"name": "lru"})).json()
    assert (told["policy"], told["engines"]) == ("nearest_first", {"fake": "lru"})
    assert (await proxy.client.get(f"{API}/simulations/{town}/policy")).json() == {
        "simulation": town,
        "engines": {"fake": "lru"},
    }
    assert (await proxy.client.get(f"{API}/engines/fake")).json()["policy"] == "lru"
    for _ in range(2):
        assert (await proxy.client.delete(f"{API}/engines/fake/policy")).status_code == 204
    everywhere = (await proxy.client.put(f"{API}/policy", json={"name": "cost_aware"})).json()
    assert (everywhere["policy"], everywhere["engines"]) == ("cost_aware", {"fake": "cost_aware"})
    assert (await proxy.client.get(f"{API}/status")).json()["policy"] == "cost_aware"
    await proxy.client.put(f"{API}/policy", json={"name": "nearest_first"})
    assert (await proxy.client.get(f"{API}/policies")).json()["policy"] == "nearest_first"


async def test_what_is_no_policy_or_no_engine_is_refused(proxy: Proxy) -> None:
    refused = await proxy.client.put(f"{API}/policy", json={"name": "alphabetical"})
    assert refused.status_code == 422
    assert "there are cost_aware, lru, nearest_first, off" in refused.json()["detail"]
    for method, body in (("PUT", {"name": "lru"}), ("DELETE", None)):
        unknown = await proxy.client.request(method, f"{API}/engines/nobody/policy", json=body)
        assert (unknown.status_code, unknown.json()["type"]) == (404, "/admin/v1/problems/unknown-engine")
    own = await proxy.client.put(f"{API}/simulations/{proxy.simulation('Ann')}/policy", json={"name": "lru"})
    assert own.status_code == 405


async def test_all_there_is_can_be_chosen_and_is_described(proxy: Proxy) -> None:
    assert sorted(ESTIMATORS) == sorted(choosing.names())
    assert sorted(POLICIES) == policies.names()
    listed = (await proxy.client.get(f"{API}/estimators")).json()["estimators"]
    assert listed[0] == {"name": "auto", "about": ESTIMATORS["auto"]}
    assert len(listed) == len(ESTIMATORS)

from __future__ import annotations

import pytest

from scalesim.proxy.admin.answers import SimulationAnswer
from scalesim.proxy.core.model import SimulationId
from tests.proxy.core.conversation import Conversation

from .conftest import Proxy

pytestmark = pytest.mark.anyio
PATH = "/admin/v1/simulations"


async def test_a_simulation_that_called_is_listed_with_what_was_counted(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    proxy.call(town, "Ann", prompt=300, cached=275)
    listed = (await proxy.client.get(PATH)).json()["simulations"]
    (mine,) = [one for one in listed if one["simulation"] == town]
    assert mine == (await proxy.client.get(f"{PATH}/{town}")).json()
    assert (mine["calls"], mine["agents"], mine["prompt_tokens"], mine["cached_tokens"]) == (2, 1, 400, 300)
    assert mine["prefix_hit_rate"] == 0.75
    assert mine["first_call_hit_rate"] is None
    assert mine["mode"] == "on"


async def test_an_unknown_simulation_is_not_found(proxy: Proxy) -> None:
    for method, path, body in [
        ("GET", "atlantis", None),
        ("GET", "atlantis/agents", None),
        ("PUT", "atlantis/mode", {"mode": "off"}),
        ("DELETE", "atlantis", None),
    ]:
        answer = await proxy.client.request(method, f"{PATH}/{path}", json=body)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert "atlantis" in answer.json()["detail"]
    assert not proxy.controller.knows(SimulationId("atlantis"))


async def test_a_simulation_can_be_created_before_it_calls_and_again(proxy: Proxy) -> None:
    first = await proxy.client.put(f"{PATH}/made")
    assert (first.status_code, first.json()["mode"]) == (201, "on")
    hint = {"unit": "steps", "distances": {"Ann": 1}, "create_agents": True}
    assert (await proxy.client.post(f"{PATH}/made/distances", json=hint)).status_code == 200
    again = await proxy.client.put(f"{PATH}/made", json={})
    assert (again.status_code, again.json()["agents"]) == (200, 1)


async def test_a_simulation_can_be_created_in_a_mode(proxy: Proxy) -> None:
    assert (await proxy.client.put(f"{PATH}/dark", json={"mode": "shadow"})).json()["mode"] == "shadow"
    assert (await proxy.client.put(f"{PATH}/dark")).json()["mode"] == "shadow"
    assert (await proxy.client.put(f"{PATH}/dark", json={"mode": "off"})).json()["mode"] == "off"


@pytest.mark.parametrize("body", [{"mode": "maybe"}, {"mood": "on"}, [], "on"])
async def test_a_simulation_is_not_created_from_a_bad_body(proxy: Proxy, body: object) -> None:
    assert (await proxy.client.put(f"{PATH}/unmade", json=body)).status_code == 422
    assert not proxy.controller.knows(SimulationId("unmade"))


async def test_a_simulation_is_not_created_under_a_name_that_the_data_plane_refuses(proxy: Proxy) -> None:
    answer = await proxy.client.put(f"{PATH}/two words")
    assert answer.status_code == 422
    assert "two words" in answer.json()["detail"]


async def test_the_mode_is_set(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    for mode in ("off", "shadow", "on"):
        answer = await proxy.client.put(f"{PATH}/{town}/mode", json={"mode": mode})
        assert (answer.status_code, answer.json()["mode"]) == (200, mode)
        assert proxy.controller.mode(town) == mode


@pytest.mark.parametrize("body", [{"mode": "ON"}, {"mode": None}, {}, None])
async def test_a_mode_that_is_none_is_refused_and_changes_nothing(proxy: Proxy, body: object) -> None:
    town = proxy.simulation("Ann")
    before = proxy.known(town)
    answer = await proxy.client.put(f"{PATH}/{town}/mode", json=body)
    assert answer.status_code == 422
    assert proxy.known(town) == before


async def test_a_simulation_that_is_deleted_is_forgotten(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    assert (await proxy.client.delete(f"{PATH}/{town}")).status_code == 204
    assert not proxy.controller.knows(town)


async def test_agents_come_in_pages(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob", "Cleo")
    answer = (await proxy.client.get(f"{PATH}/{town}/agents?limit=2&offset=1")).json()
    assert (answer["total"], answer["next"]) == (3, None)
    assert [agent["name"] for agent in answer["agents"]] == ["Bob", "Cleo"]
    assert answer["agents"][0] == {
        "name": "Bob",
        "distance": 0,
        "unit": "seconds",
        "source": "activation",
        "overdue": None,
        "running": True,
        "engine": "fake",
        "adapter": None,
        "memories": [
            {
                "kind": "kv_prefix",
                "key": f"{town}/Bob",
                "device_bytes": None,
                "missing_bytes": None,
                "loading": False,
            }
        ],
        "pin": None,
    }
    assert (await proxy.client.get(f"{PATH}/{town}/agents?offset=3")).json()["agents"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=many", "offset=-1"])
async def test_a_page_that_is_none_is_refused(proxy: Proxy, query: str) -> None:
    town = proxy.simulation("Ann")
    answer = await proxy.client.get(f"{PATH}/{town}/agents?{query}")
    assert answer.status_code == 422
    assert query.split("=")[0] in answer.json()["detail"]


async def test_a_simulation_that_rests_says_so(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    assert (await proxy.client.get(f"{PATH}/{town}")).json()["resting"] is False
    talk = Conversation(idle_after_s=60.0)
    talk.call("Ann")
    talk.wait(60.0)
    talk.tick()
    assert SimulationAnswer.of(talk.town).resting


async def test_a_simulation_says_how_well_its_sources_told_and_which_is_in_charge(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob")
    assert (await proxy.client.get(f"{PATH}/{town}")).json()["accuracy"] == {}
    hints = {"unit": "steps", "distances": {"Ann": 3, "Bob": 5}}
    await proxy.client.post(f"{PATH}/{town}/distances", json=hints)
    for _ in range(4):
        await proxy.client.post(f"{PATH}/{town}/ticks")
    proxy.call(town, "Ann")
    known = (await proxy.client.get(f"{PATH}/{town}")).json()
    assert known["accuracy"]["hinted"] == {"order": 1.0, "time_error": 1.0, "unit": "steps", "count": 1}
    assert known["in_charge"] is None
    metrics = (await proxy.client.get("/metrics")).text.splitlines()
    assert f'scalesim_order_accuracy{{simulation="{town}",source="hinted"}} 1' in metrics

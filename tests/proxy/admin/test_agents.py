from __future__ import annotations

import pytest

from scalesim.proxy.admin import agents as agents_module
from scalesim.proxy.core.model import SimulationId

from .conftest import Proxy

pytestmark = pytest.mark.anyio
PATH = "/admin/v1/simulations"


async def names(proxy: Proxy, town: SimulationId, query: str) -> list[str]:
    answer = (await proxy.client.get(f"{PATH}/{town}/agents?{query}")).json()
    return [one["name"] for one in answer["agents"]]


async def test_agents_are_read_page_by_page_to_the_end(proxy: Proxy) -> None:
    town = proxy.simulation(*"abcde")
    seen: list[str] = []
    query = "limit=2"
    while query:
        page = (await proxy.client.get(f"{PATH}/{town}/agents?{query}")).json()
        seen += [one["name"] for one in page["agents"]]
        query = f"limit=2&after={page['next']}" if page["next"] else ""
    assert (seen, page["total"]) == (list("abcde"), 5)


async def test_agents_are_found_by_what_is_known_of_them(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob", "Ben")
    hints = {"unit": "seconds", "distances": {"Bob": 5, "Ben": 500, "Cleo": None}, "create_agents": True}
    await proxy.client.post(f"{PATH}/{town}/distances", json=hints)
    assert await names(proxy, town, "name_begins=B") == ["Bob", "Ben"]
    assert await names(proxy, town, "source=hinted&nearer_than_s=10") == ["Bob"]
    assert await names(proxy, town, "running=true") == ["Ann"]
    assert await names(proxy, town, "engine=fake&running=false") == ["Bob", "Ben"]
    assert await names(proxy, town, "engine=nobody") == []
    assert await names(proxy, town, "adapter=pirate") == []
    assert await names(proxy, town, "pinned=false&name_begins=C") == ["Cleo"]


async def test_where_few_fit_a_page_may_be_empty_and_is_not_the_last(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents_module, "LOOKED_AT", 3)
    town = proxy.simulation(*"abcdez")
    first = (await proxy.client.get(f"{PATH}/{town}/agents?name_begins=z")).json()
    assert first["agents"] == []
    assert await names(proxy, town, f"name_begins=z&after={first['next']}") == ["z"]


@pytest.mark.parametrize(
    "query",
    [
        "after=x",
        "running=perhaps",
        "source=horoscope",
        "nearer_than_s=-1",
        "nearer_than_s=nan",
        "offset=1&after=1",
        "offset=0&running=true",
    ],
)
async def test_a_list_that_cannot_be_is_refused(proxy: Proxy, query: str) -> None:
    town = proxy.simulation("Ann")
    answer = await proxy.client.get(f"{PATH}/{town}/agents?{query}")
    assert (answer.status_code, answer.json()["type"]) == (422, "/admin/v1/problems/invalid-request")


async def test_one_agent_is_told_with_what_each_source_says(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    hints = {"unit": "steps", "distances": {"Ann": 3}}
    await proxy.client.post(f"{PATH}/{town}/distances", json=hints)
    known = (await proxy.client.get(f"{PATH}/{town}/agents/Ann")).json()
    assert known.pop("idle_s") >= 0
    assert known == {
        "name": "Ann",
        "distance": 3,
        "unit": "steps",
        "overdue": None,
        "source": "hinted",
        "running": False,
        "engine": "fake",
        "adapter": None,
        "memories": [
            {
                "kind": "kv_prefix",
                "key": f"{town}/Ann",
                "device_bytes": None,
                "missing_bytes": None,
                "loading": False,
            }
        ],
        "pin": None,
        "owner": f"{town}/Ann",
        "spread": 0,
        "running_calls": 0,
        "activations": 1,
        "size_tokens": 107,
        "estimates": [
            {
                "source": "hinted",
                "distance": 3,
                "unit": "steps",
                "spread": 0,
                "distance_s": 3,
                "overdue": None,
            }
        ],
    }


async def test_an_agent_whose_name_has_slashes_is_told_and_an_unknown_one_is_not(proxy: Proxy) -> None:
    town = proxy.simulation("house/7/Ann")
    known = (await proxy.client.get(f"{PATH}/{town}/agents/house/7/Ann")).json()
    assert known["name"] == "house/7/Ann"
    story = (await proxy.client.get(f"{PATH}/{town}/agents/house/7/Ann/story")).json()
    assert story["agent"] == "house/7/Ann"
    for path, kind in (
        (f"{town}/agents/Zoe", "unknown-agent"),
        ("atlantis/agents/Ann", "unknown-simulation"),
    ):
        answer = await proxy.client.get(f"{PATH}/{path}")
        assert (answer.status_code, answer.json()["type"]) == (404, f"/admin/v1/problems/{kind}")

from __future__ import annotations

import pytest

from scalesim.proxy.core.actions import Order, Pin

from .conftest import Proxy

pytestmark = pytest.mark.anyio
PATH = "/admin/v1/actions"


async def test_what_was_done_is_listed_with_its_reason_and_its_result(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    owner = f"{town}/Ann"

    def is_pinned(_: object) -> bool:
        return any(isinstance(one, Pin) and owner in one.owners for one, _ in proxy.adapter.actions)

    await proxy.adapter.until(is_pinned)
    asked = f"{PATH}?engine=fake&kind=pin&simulation={town}&agent=Ann"
    (pin,) = (await proxy.client.get(asked)).json()["actions"]
    assert pin.pop("ago_s") >= 0
    assert pin.pop("took_s") >= 0
    assert pin.pop("number") > 0
    assert pin.pop("count") == len(pin.pop("memories"))
    assert pin.pop("why").endswith(": in an activation")
    assert pin == {
        "engine": "fake",
        "kind": "pin",
        "distance_s": None,
        "result": "done",
        "error": "",
    }


async def test_the_newest_action_comes_first_and_older_ones_on_later_pages(proxy: Proxy) -> None:
    for agent in ("Ann", "Bob", "Cleo"):
        town = proxy.simulation(agent)
        await proxy.adapter.until(
            lambda adapter, town=town: any(
                isinstance(one, Order) and any(owner.startswith(f"{town}/") for owner, _ in one.distances)
                for one, _ in adapter.actions
            )
        )
    first = (await proxy.client.get(f"{PATH}?limit=2")).json()
    numbers = [one["number"] for one in first["actions"]]
    assert numbers == sorted(numbers, reverse=True)
    assert first["next"] == str(numbers[-1])
    rest = (await proxy.client.get(f"{PATH}?limit=1&after={first['next']}")).json()["actions"]
    assert rest[0]["number"] < numbers[-1]
    assert (await proxy.client.get(f"{PATH}?kind=order&limit=1")).json()["actions"][0]["memories"] == []


@pytest.mark.parametrize(
    "query", ["engine=nobody", "result=lost", "simulation=atlantis", "adapter=poet", "agent=Zoe"]
)
async def test_nothing_fits_a_filter_for_what_was_not(proxy: Proxy, query: str) -> None:
    assert (await proxy.client.get(f"{PATH}?{query}")).json() == {"actions": [], "next": None}


@pytest.mark.parametrize("query", ["kind=dance", "limit=0", "after=x", "simulation=a b"])
async def test_a_filter_that_makes_no_sense_is_refused(proxy: Proxy, query: str) -> None:
    assert (await proxy.client.get(f"{PATH}?{query}")).status_code == 422

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from scalesim.proxy.core.model import AgentName, SimulationId

from .conftest import CALLING, Proxy
from .test_hints import tell, told

pytestmark = pytest.mark.anyio
RULES = {"unit": "steps", "radius": 4, "speed": 1, "cooldown": 20}


async def set_space(proxy: Proxy, simulation: str, **other: Any) -> httpx.Response:
    return await proxy.client.put(f"/admin/v1/simulations/{simulation}/space", json={**RULES, **other})


async def place(proxy: Proxy, simulation: str, **body: Any) -> httpx.Response:
    return await tell(proxy, simulation, "positions", {"create_agents": True, **body})


async def town_of(proxy: Proxy) -> SimulationId:
    """In it Ann walks towards Bob, who stands: they meet in six steps. Zoe is nowhere."""
    town = proxy.simulation("Zoe")
    await set_space(proxy, town)
    answer = await place(
        proxy, town, positions={"Ann": [0, 0], "Bob": [10, 0.0]}, destinations={"Ann": [10, 0]}
    )
    assert (answer.status_code, answer.json()) == (200, {"simulation": town, "agents": 2})
    return town


async def distances(proxy: Proxy, simulation: str) -> dict[str, Any]:
    known = await told(proxy, simulation)
    return {name: known[name][0] for name in known if known[name][2] == "spatial"}


async def test_positions_tell_when_agents_meet(proxy: Proxy) -> None:
    town = await town_of(proxy)
    assert (await told(proxy, town))["Ann"] == (6, "steps", "spatial")
    await tell(proxy, town, "ticks", {})
    assert await distances(proxy, town) == {"Ann": 5, "Bob": 5}


async def test_a_space_says_what_it_is_and_has_a_horizon_of_its_own(proxy: Proxy) -> None:
    town = proxy.simulation("Zoe")
    answer = await set_space(proxy, town)
    assert (answer.status_code, answer.json()) == (200, {"simulation": town, **RULES, "horizon": 12})
    assert (await set_space(proxy, town, unit="seconds")).json()["horizon"] == 120
    assert (await set_space(proxy, town, horizon=3)).json()["horizon"] == 3
    await place(proxy, town, positions={"Ann": [0, 0], "Bob": [10, 0]}, destinations={"Ann": [10, 0]})
    assert await distances(proxy, town) == {}, "that is farther ahead"


async def test_a_space_can_be_looked_at_and_forgotten_with_all_positions(proxy: Proxy) -> None:
    town = await town_of(proxy)
    url = f"/admin/v1/simulations/{town}/space"
    assert (await proxy.client.get(url)).json() == {"simulation": town, **RULES, "horizon": 12}
    positions = proxy.controller.sizes()["positions"]
    assert (await proxy.client.delete(url)).status_code == 204
    assert await distances(proxy, town) == {}
    answer = await proxy.client.get(url)
    assert answer.status_code == 404
    assert f"PUT {url}" in answer.json()["detail"]
    assert (await proxy.client.delete(url)).status_code == 204, "again changes nothing"
    assert proxy.controller.sizes()["positions"] == positions - 2


async def test_a_speed_and_a_velocity_may_be_told(proxy: Proxy) -> None:
    town = await town_of(proxy)
    await place(proxy, town, destinations={"Ann": [10, 0]}, speeds={"Ann": 2})
    assert await distances(proxy, town) == {"Ann": 3, "Bob": 3}
    await place(proxy, town, positions={"Cem": [10, 24]}, velocities={"Cem": [0, -4]})
    assert (await distances(proxy, town))["Cem"] == 5


async def test_after_an_interaction_the_pair_waits_for_its_cooldown(proxy: Proxy) -> None:
    town = await town_of(proxy)
    await place(proxy, town, positions={"Ann": [9, 0]})
    assert await distances(proxy, town) == {"Ann": 0, "Bob": 0}
    answer = await tell(proxy, town, "interactions", {"pairs": [["Ann", "Bob"], ["Bob", "Ann"]]})
    assert (answer.status_code, answer.json()) == (200, {"simulation": town, "agents": 2})
    assert await distances(proxy, town) == {"Ann": 20, "Bob": 20}


async def test_the_same_space_again_changes_nothing_and_another_forgets_all_positions(proxy: Proxy) -> None:
    town = await town_of(proxy)
    await set_space(proxy, town)
    assert await distances(proxy, town) == {"Ann": 6, "Bob": 6}
    await set_space(proxy, town, radius=5)
    assert await distances(proxy, town) == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("unit", "miles"),
        ("unit", "turns"),
        *(
            (field, value)
            for field in ("radius", "speed", "cooldown", "horizon")
            for value in (-1, "4", True, 2e12)
        ),
        ("radius", 0),
        ("horizon", 0),
        ("walls", []),
    ],
)
async def test_a_bad_space_is_refused_and_the_old_one_stays(proxy: Proxy, field: str, value: object) -> None:
    town = await town_of(proxy)
    answer = await set_space(proxy, town, **{field: value})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in answer.json()["detail"]
    assert await distances(proxy, town) == {"Ann": 6, "Bob": 6}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"positions": {"Ann": [1]}}, "positions.Ann"),
        ({"positions": {"Ann": [1, 2, 3]}}, "positions.Ann"),
        ({"positions": {"Bob": [0, 0], "Ann": [1, "2"]}}, "positions.Ann.1"),
        ({"positions": {"Ann": [1, 2e12]}}, "positions.Ann.1"),
        ({"positions": {"Ann": None}}, "positions.Ann"),
        ({"positions": {"": [1, 2]}}, "positions"),
        (
            {"positions": {"Ann": [0, 0]}, "speeds": {"Ann": -1}, "destinations": {"Ann": [1, 1]}},
            "speeds.Ann",
        ),
        ({"destinations": {"Ann": [1, 1]}, "velocities": {"Ann": [1, 1]}}, "a destination and a velocity"),
        (
            {"positions": {"Ann": [0, 0]}, "speeds": {"Ann": 3}},
            "a speed and no destination is given for 'Ann'",
        ),
        ({"places": {}}, "places: Extra inputs"),
        ([], "body"),
    ],
)
async def test_bad_positions_are_refused_and_nothing_changes(proxy: Proxy, body: object, says: str) -> None:
    town = await town_of(proxy)
    answer = await tell(proxy, town, "positions", body)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert await distances(proxy, town) == {"Ann": 6, "Bob": 6}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1e999", "9" * 400])
async def test_a_coordinate_that_is_no_finite_number_is_refused(proxy: Proxy, number: str) -> None:
    town = await town_of(proxy)
    answer = await proxy.client.post(
        f"/admin/v1/simulations/{town}/positions",
        content=f'{{"positions":{{"Bob":[50,50],"Ann":[0,{number}]}}}}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code in (400, 422)
    assert await distances(proxy, town) == {"Ann": 6, "Bob": 6}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"pairs": [["Ann", "Ann"]]}, "an interaction is between two"),
        ({"pairs": [["Ann"]]}, "pairs.0"),
        ({"pairs": [["Ann", 7]]}, "pairs.0.1"),
        ({}, "pairs: Field required"),
    ],
)
async def test_bad_interactions_are_refused(proxy: Proxy, body: object, says: str) -> None:
    town = await town_of(proxy)
    answer = await tell(proxy, town, "interactions", body)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


async def test_unknown_agents_and_such_without_a_position_are_refused_by_name(proxy: Proxy) -> None:
    town = await town_of(proxy)
    for what, body in [
        ("positions", {"positions": {"Ann": [50, 50], "Yan": [0, 0]}}),
        ("interactions", {"pairs": [["Ann", "Bob"], ["Ann", "Yan"]]}),
    ]:
        answer = await tell(proxy, town, what, body)
        assert (answer.status_code, answer.json()["agents"]) == (404, ["Yan"])
    for what, body in [
        ("positions", {"positions": {"Ann": [50, 50]}, "destinations": {"Zoe": [0, 0]}}),
        ("interactions", {"pairs": [["Ann", "Bob"], ["Ann", "Zoe"]]}),
    ]:
        answer = await tell(proxy, town, what, body)
        assert (answer.status_code, answer.json()["agents"]) == (409, ["Zoe"])
        assert "no position is known of 'Zoe'" in answer.json()["detail"]
    assert await distances(proxy, town) == {"Ann": 6, "Bob": 6}


async def test_without_a_space_there_are_no_positions(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob")
    for answer in (
        await tell(proxy, town, "positions", {"positions": {"Ann": [0, 0]}}),
        await tell(proxy, town, "interactions", {"pairs": [["Ann", "Bob"]]}),
    ):
        assert answer.status_code == 409
        assert f"PUT /admin/v1/simulations/{town}/space" in answer.json()["detail"]


async def test_an_unknown_simulation_has_no_space(proxy: Proxy) -> None:
    for answer in (
        await set_space(proxy, "atlantis"),
        await proxy.client.get("/admin/v1/simulations/atlantis/space"),
        await proxy.client.delete("/admin/v1/simulations/atlantis/space"),
        await place(proxy, "atlantis", positions={"Ann": [0, 0]}),
        await tell(proxy, "atlantis", "interactions", {"pairs": [["Ann", "Bob"]]}),
    ):
        assert answer.status_code == 404
        assert "'atlantis' is not known" in answer.json()["detail"]
    assert not proxy.controller.knows(SimulationId("atlantis"))


async def test_agents_that_there_is_no_room_for_are_named(cramped: Proxy) -> None:
    await set_space(cramped, CALLING)
    answer = await place(cramped, CALLING, positions={"Ann": [0, 0], "Bob": [0, 0]})
    assert (answer.status_code, answer.json()["agents"]) == (503, ["Bob"])
    assert cramped.controller.sizes()["positions"] == 1


async def test_a_crowd_is_worked_out_after_the_answer(proxy: Proxy) -> None:
    town = proxy.simulation("Zoe")
    await set_space(proxy, town)
    crowd = {f"agent-{number}": [number / 10, 0] for number in range(150)}
    assert (await place(proxy, town, positions=crowd)).status_code == 200
    while proxy.controller.behind:  # noqa: ASYNC110  a few turns of this loop
        await asyncio.sleep(0)
    known = proxy.controller.agent(town, AgentName("agent-149"))
    assert known is not None
    assert known.distance == 0.0

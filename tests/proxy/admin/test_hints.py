from __future__ import annotations

from typing import Any

import httpx
import pytest

from scalesim.proxy.core.actions import Action, Order
from scalesim.proxy.core.model import AgentName, SimulationId

from .conftest import CALLING, Proxy

pytestmark = pytest.mark.anyio


async def tell(proxy: Proxy, simulation: str, what: str, body: object) -> httpx.Response:
    return await proxy.client.post(f"/admin/v1/simulations/{simulation}/{what}", json=body)


async def told(proxy: Proxy, simulation: str) -> dict[str, Any]:
    answer = await proxy.client.get(f"/admin/v1/simulations/{simulation}/agents")
    return {
        agent["name"]: (agent["distance"], agent["unit"], agent["source"])
        for agent in answer.json()["agents"]
    }


async def test_distances_in_steps_are_taken(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob", "Cleo")
    answer = await tell(
        proxy, town, "distances", {"unit": "steps", "distances": {"Ann": 3, "Bob": 0.5, "Cleo": None}}
    )
    assert answer.status_code == 200
    assert answer.json() == {"simulation": town, "agents": 3}
    assert await told(proxy, town) == {
        "Ann": (3, "steps", "hinted"),
        "Bob": (0.5, "steps", "hinted"),
        "Cleo": (None, "steps", "hinted"),
    }


async def test_distances_in_seconds_are_taken(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    await tell(proxy, town, "distances", {"unit": "seconds", "distances": {"Ann": 300}})
    distance, unit, source = (await told(proxy, town))["Ann"]
    assert 290 < distance <= 300
    assert (unit, source) == ("seconds", "hinted")


async def test_agents_that_are_left_out_keep_what_was_known(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob")
    await tell(proxy, town, "distances", {"unit": "steps", "distances": {"Ann": 3, "Bob": 4}})
    await tell(proxy, town, "distances", {"unit": "steps", "distances": {"Ann": 9}})
    assert {name: distance for name, (distance, _, _) in (await told(proxy, town)).items()} == {
        "Ann": 9,
        "Bob": 4,
    }


async def test_a_hint_reaches_the_engine_as_an_order(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob")
    await tell(proxy, town, "distances", {"unit": "steps", "distances": {"Ann": 9, "Bob": 2}})
    wanted = [f"{town}/Bob", f"{town}/Ann"]

    def is_wanted(action: Action) -> bool:
        owners = [owner for owner, _ in action.distances] if isinstance(action, Order) else []
        return [owner for owner in owners if owner.startswith(f"{town}/")] == wanted

    await proxy.adapter.until(lambda adapter: any(is_wanted(action) for action, _ in adapter.actions))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"unit": "steps", "distances": {"Ann": -1}}, "greater than or equal to 0"),
        (
            {"unit": "steps", "distances": {"Ann": 1.1e12}},
            "distances.Ann: Input should be less than or equal",
        ),
        ({"unit": "steps", "distances": {" ": 1}}, "distances"),
        ({"unit": "parsecs", "distances": {"Ann": 1}}, "'steps' or 'seconds' (got 'parsecs')"),
        ({"unit": "turns", "distances": {"Ann": 1}}, "'steps' or 'seconds' (got 'turns')"),
        ({"unit": "steps", "distances": {"Ann": "3"}}, "valid number"),
        ({"unit": "steps", "distances": {"Ann": True}}, "valid number"),
        ({"unit": "steps", "distances": {"": 1}}, "distances"),
        ({"unit": "steps", "distances": {"A\nb": 1}}, "distances"),
        ({"unit": "steps", "distances": [1]}, "distances"),
        ({"unit": "steps"}, "distances: Field required"),
        ({"distances": {}}, "unit: Field required"),
        ({"unit": "steps", "distances": {}, "agents": {}}, "agents: Extra inputs"),
        ([], "body"),
        (None, "body"),
    ],
)
async def test_a_bad_body_is_refused_and_changes_nothing(proxy: Proxy, body: object, says: str) -> None:
    town = proxy.simulation("Ann")
    before = proxy.known(town)
    answer = await tell(proxy, town, "distances", body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]
    assert proxy.known(town) == before


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000])
async def test_what_is_no_finite_number_is_refused_and_changes_nothing(proxy: Proxy, number: str) -> None:
    town = proxy.simulation("Ann", "Bob")
    before = proxy.known(town)
    answer = await proxy.client.post(
        f"/admin/v1/simulations/{town}/distances",
        content=f'{{"unit":"steps","distances":{{"Bob":1,"Ann":{number}}}}}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert proxy.known(town) == before


@pytest.mark.parametrize("text", ["", "{", "nul", '{"unit":"steps"', b"\xff\xfe"])
async def test_what_is_no_json_is_refused(proxy: Proxy, text: str | bytes) -> None:
    town = proxy.simulation("Ann")
    answer = await proxy.client.post(
        f"/admin/v1/simulations/{town}/distances", content=text, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("distances", {"unit": "steps", "distances": {"Ann": 1}, "create_agents": True}),
        ("actions", {"unit": "steps", "durations": {"Ann": 1}, "create_agents": True}),
        ("ticks", {"step": 1}),
        ("agents/Ann/leave", None),
    ],
)
async def test_a_hint_for_an_unknown_simulation_is_refused_by_its_name(
    proxy: Proxy, what: str, body: object
) -> None:
    answer = await tell(proxy, "atlantis", what, body)
    assert answer.status_code == 404
    assert "'atlantis' is not known" in answer.json()["detail"]
    assert not proxy.controller.knows(SimulationId("atlantis"))


@pytest.mark.parametrize("name", ["a b", "x" * 65, "ümlaut", "a%2Fb"])
async def test_a_simulation_that_cannot_exist_is_refused(proxy: Proxy, name: str) -> None:
    answer = await tell(proxy, name, "ticks", {})
    assert answer.status_code in (404, 422)


@pytest.mark.parametrize(("what", "field"), [("distances", "distances"), ("actions", "durations")])
async def test_unknown_agents_are_refused_by_name_and_nothing_changes(
    proxy: Proxy, what: str, field: str
) -> None:
    town = proxy.simulation("Ann")
    before = proxy.known(town)
    answer = await tell(proxy, town, what, {"unit": "steps", field: {"Ann": 3, "Zoe": 1, "Yan": 2}})
    assert answer.status_code == 404
    assert answer.json()["agents"] == ["Zoe", "Yan"]
    assert "'Zoe', 'Yan'" in answer.json()["detail"]
    assert proxy.known(town) == before


@pytest.mark.parametrize(("what", "field"), [("distances", "distances"), ("actions", "durations")])
async def test_unknown_agents_are_created_if_asked_for(proxy: Proxy, what: str, field: str) -> None:
    town = proxy.simulation("Ann")
    answer = await tell(
        proxy, town, what, {"unit": "steps", field: {"Ann": 3, "Zoe": 1}, "create_agents": True}
    )
    assert answer.status_code == 200
    assert (await told(proxy, town))["Zoe"][:2] == (1, "steps")


async def test_a_long_list_of_unknown_agents_is_cut(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    strangers = {f"agent-{number}": number for number in range(1000)}
    answer = await tell(proxy, town, "distances", {"unit": "steps", "distances": strangers})
    assert "and 980 more" in answer.json()["detail"]
    assert len(answer.content) < 4000


async def test_the_duration_of_an_action_is_taken(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    answer = await tell(proxy, town, "actions", {"unit": "steps", "durations": {"Ann": 6}})
    assert answer.status_code == 200
    assert (await told(proxy, town))["Ann"] == (6, "steps", "plan")


@pytest.mark.parametrize("duration", [-1, None, "6", 1.1e12])
async def test_a_duration_that_is_none_is_refused_and_changes_nothing(proxy: Proxy, duration: object) -> None:
    town = proxy.simulation("Ann", "Bob")
    before = proxy.known(town)
    answer = await tell(proxy, town, "actions", {"unit": "steps", "durations": {"Bob": 2, "Ann": duration}})
    assert answer.status_code == 422
    assert "durations.Ann" in answer.json()["detail"]
    assert proxy.known(town) == before


async def test_ticks_move_the_clock_of_the_simulation(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    await tell(proxy, town, "ticks", {"step": 17})
    await tell(proxy, town, "distances", {"unit": "steps", "distances": {"Ann": 3}})
    assert (await tell(proxy, town, "ticks", {"step": None})).json() == {"simulation": town, "step": 18}
    assert (await tell(proxy, town, "ticks", {})).json()["step"] == 19
    assert (await proxy.client.post(f"/admin/v1/simulations/{town}/ticks")).json()["step"] == 20
    assert (await told(proxy, town))["Ann"] == (0, "steps", "hinted")


@pytest.mark.parametrize("step", [-1, "17", [17], True, 1.1e12])
async def test_a_step_that_is_none_is_refused(proxy: Proxy, step: object) -> None:
    town = proxy.simulation("Ann")
    before = proxy.known(town)
    answer = await tell(proxy, town, "ticks", {"step": step})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("step")
    assert proxy.known(town) == before


async def test_an_agent_that_leaves_is_forgotten(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bo/b c")
    assert (await tell(proxy, town, "agents/Bo%2Fb%20c/leave", None)).status_code == 200
    assert not proxy.controller.knows(town, AgentName("Bo/b c"))
    again = await tell(proxy, town, "agents/Bo%2Fb%20c/leave", None)
    assert again.status_code == 404
    assert "'Bo/b c'" in again.json()["detail"]


async def update(proxy: Proxy, body: object, simulation: str | None = None) -> httpx.Response:
    headers = {} if simulation is None else {"x-simulation-id": simulation}
    return await proxy.client.post("/v1/update", json=body, headers=headers)


async def test_kvflows_update_creates_the_simulation_and_its_agents(proxy: Proxy) -> None:
    body = {
        "agent_data": {"0": 0, "7": 3},
        "timestep_data": {"3": ["7", 8], "0": ["0"]},
        "timestep_cnt": 2,
    }
    answer = await update(proxy, body, "flow")
    assert answer.status_code == 200
    assert answer.json() == {"simulation": "flow", "agents": 3}
    assert {name: at for name, (at, _, _) in (await told(proxy, "flow")).items()} == {"0": 0, "7": 3, "8": 3}


async def test_each_of_kvflows_updates_is_a_step_in_which_what_was_told_ages(proxy: Proxy) -> None:
    for step in range(3):
        await update(proxy, {"agent_data": {"7": 5, "8": 2} if step == 0 else {"8": 2}}, "aging")
    assert {name: at for name, (at, _, _) in (await told(proxy, "aging")).items()} == {"7": 3, "8": 2}


async def test_space_around_names_is_dropped(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob")
    answer = await tell(proxy, town, "distances", {"unit": "steps", "distances": {" Ann ": 3}})
    assert answer.status_code == 200
    await update(proxy, {"agent_data": {"Bob ": 4}, "timestep_data": {"4": [" Bob"]}}, town)
    assert {name: at for name, (at, _, _) in (await told(proxy, town)).items()} == {"Ann": 2, "Bob": 4}


@pytest.mark.parametrize(("what", "field"), [("distances", "distances"), ("actions", "durations")])
async def test_agents_that_there_is_no_room_for_are_named(cramped: Proxy, what: str, field: str) -> None:
    body = {"unit": "steps", field: {"Ann": 3, "Zoe": 1}, "create_agents": True}
    for answer in [
        await tell(cramped, CALLING, what, body),
        await update(cramped, {"agent_data": {"Ann": 3, "Zoe": 1}}, CALLING),
    ]:
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["agents"] == ["Zoe"]
        assert "'Zoe'" in answer.json()["detail"]


async def test_an_update_for_a_simulation_that_there_is_no_room_for_is_refused(cramped: Proxy) -> None:
    answer = await update(cramped, {"agent_data": {"7": 3}}, "city")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "no room for the simulation 'city'" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body", [{"agent_data": {"7": 3}}, {"timestep_data": {"3": ["7"]}}, {"timestep_data": {"3.0": [7]}}]
)
async def test_half_of_kvflows_update_is_enough_and_goes_to_the_default_simulation(
    proxy: Proxy, body: object
) -> None:
    assert (await update(proxy, body)).json() == {"simulation": "default", "agents": 1}
    assert (await told(proxy, "default"))["7"] == (3, "steps", "hinted")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"agent_data": {"7": 3}, "timestep_data": {"4": ["7"]}}, "different distances are given for '7'"),
        ({"timestep_data": {"3": ["7"], "4": ["7"]}}, "different distances are given for '7'"),
        ({"timestep_data": {"soon": ["7"]}}, "'soon'"),
        ({"timestep_data": {"-1": ["7"]}}, "'-1'"),
        ({"timestep_data": {"nan": ["7"]}}, "'nan'"),
        ({"timestep_data": {"inf": ["7"]}}, "'inf'"),
        ({"timestep_data": {"3": "7"}}, "timestep_data.3"),
        ({"timestep_data": {"3": [None]}}, "timestep_data.3.0"),
        ({"agent_data": {"7": -3}}, "agent_data.7"),
        ({"agent_data": {"7": 3}, "timestep_cnt": -1}, "timestep_cnt"),
        ({"agent_data": {"7": 3}, "timestep_cnt": 10**13}, "timestep_cnt"),
        ({"agent_data": {"7": 1.1e12}}, "agent_data.7"),
        ({"timestep_data": {"1.1e12": ["7"]}}, "timestep_data has the key '1.1e12'"),
        ({"timestep_cnt": 1}, "both missing"),
        ({}, "both missing"),
    ],
)
async def test_a_bad_update_is_refused_and_changes_nothing(proxy: Proxy, body: object, says: str) -> None:
    answer = await update(proxy, body, "untouched")
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert not proxy.controller.knows(SimulationId("untouched"))


async def test_an_update_for_a_simulation_that_cannot_exist_is_refused(proxy: Proxy) -> None:
    answer = await update(proxy, {"agent_data": {"7": 3}}, "a b")
    assert answer.status_code == 422
    assert "x-simulation-id" in answer.json()["detail"]

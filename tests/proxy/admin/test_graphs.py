from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from scalesim.proxy.admin import gate
from scalesim.proxy.admin.gate import BODY_LIMIT
from scalesim.proxy.core.events import Activated, SimulationEnded
from scalesim.proxy.core.model import AgentName, SimulationId
from scalesim.proxy.settings import Settings

from .conftest import CALLING, Proxy, started
from .test_hints import tell, told

pytestmark = pytest.mark.anyio
LINES = {"content-type": "application/x-ndjson"}
CHAIN = [["Ann", "Bob"], ["Bob", "Cem"]]


def graph(simulation: str) -> str:
    return f"/admin/v1/simulations/{simulation}/graph"


async def give(proxy: Proxy, simulation: str, edges: object = CHAIN, **more: Any) -> httpx.Response:
    return await proxy.client.put(graph(simulation), json={"edges": edges, **more})


async def lines(proxy: Proxy, simulation: str, content: Any, **query: Any) -> httpx.Response:
    return await proxy.client.put(graph(simulation), content=content, headers=LINES, params=query)


async def distances(proxy: Proxy, simulation: str) -> dict[str, Any]:
    return {name: (away, source) for name, (away, _, source) in (await told(proxy, simulation)).items()}


async def test_a_graph_and_an_activation_tell_how_many_steps_away_agents_are(proxy: Proxy) -> None:
    town = proxy.simulation("Zoe")
    answer = await give(proxy, town, create_agents=True)
    assert (answer.status_code, answer.json()) == (200, {"simulation": town, "agents": 3, "edges": 2})
    answer = await tell(proxy, town, "activations", {"agents": ["Ann"]})
    assert (answer.status_code, answer.json()) == (200, {"simulation": town, "agents": 1})
    known = await distances(proxy, town)
    assert {name: known[name] for name in ("Ann", "Bob", "Cem")} == {
        "Ann": (0, "path"),
        "Bob": (1, "path"),
        "Cem": (2, "path"),
    }
    await tell(proxy, town, "ticks", {})
    assert (await distances(proxy, town))["Cem"] == (1, "path")


async def test_a_graph_may_be_sent_as_lines(proxy: Proxy) -> None:
    town = proxy.simulation("Zoe")
    body = b'["Bob", "Ann"]\n["Bob", "Cem"]'
    answer = await lines(proxy, town, body, directed=True, create_agents=True)
    assert (answer.status_code, answer.json()) == (200, {"simulation": town, "agents": 3, "edges": 2})
    await tell(proxy, town, "activations", {"agents": ["Ann"]})
    assert (await distances(proxy, town))["Bob"] == (None, None), "the edge leads the other way"


async def test_another_wave_reaches_who_was_reached(proxy: Proxy) -> None:
    town = proxy.simulation("Zoe")
    await give(proxy, town, create_agents=True)
    await tell(proxy, town, "activations", {"agents": ["Ann", "Bob"], "wave": "rumour"})
    for _ in range(4):
        await tell(proxy, town, "ticks", {})
    for wave, expected in [("rumour", 3), ("denial", 1)]:
        await tell(proxy, town, "activations", {"agents": ["Ann"], "wave": wave})
        assert (await distances(proxy, town))["Bob"] == (expected, "path"), "overdue since step 0, or anew"


async def test_a_new_graph_takes_the_place_of_the_old_one_and_ends_its_waves(proxy: Proxy) -> None:
    town = proxy.simulation("Zoe")
    await give(proxy, town, create_agents=True)
    await tell(proxy, town, "activations", {"agents": ["Ann"]})
    assert (await give(proxy, town, [["Ann", "Cem"]])).json()["edges"] == 1
    assert (await distances(proxy, town))["Cem"] == (None, None)
    await tell(proxy, town, "activations", {"agents": ["Ann"]})
    known = await distances(proxy, town)
    assert (known["Bob"], known["Cem"]) == ((None, None), (1, "path"))


async def test_a_graph_can_be_forgotten_and_activations_need_one(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    await give(proxy, town, create_agents=True)
    assert (await proxy.client.delete(graph(town))).status_code == 204
    answer = await tell(proxy, town, "activations", {"agents": ["Ann"]})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert f"PUT {graph(town)}" in answer.json()["detail"]
    assert (await give(proxy, town, [])).json() == {"simulation": town, "agents": 0, "edges": 0}
    assert (await tell(proxy, town, "activations", {"agents": ["Ann"]})).status_code == 200


async def test_how_large_a_graph_is_can_be_asked(proxy: Proxy) -> None:
    town = proxy.simulation("Zoe")
    assert (await proxy.client.get(graph(town))).status_code == 404
    await give(proxy, town, create_agents=True)
    answer = await proxy.client.get(graph(town))
    assert (answer.status_code, answer.json()) == (200, {"simulation": town, "agents": 3, "edges": 2})


@pytest.mark.parametrize("query", [{"directed": True}, {"create_agents": False}])
async def test_what_belongs_into_a_body_of_json_is_refused_in_its_url(
    proxy: Proxy, query: dict[str, bool]
) -> None:
    town = proxy.simulation("Ann", "Bob")
    answer = await proxy.client.put(graph(town), json={"edges": [["Ann", "Bob"]]}, params=query)
    assert answer.status_code == 422
    assert "stand in a body of JSON" in answer.json()["detail"]
    assert proxy.controller.graph_size(town) is None


async def test_agents_without_edges_may_be_activated(proxy: Proxy) -> None:
    town = proxy.simulation("Zoe")
    await give(proxy, town, create_agents=True)
    assert (await tell(proxy, town, "activations", {"agents": ["Zoe"]})).status_code == 200
    assert (await distances(proxy, town))["Bob"] == (None, None)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "edges: Field required"),
        ({"edges": [["Ann"]]}, "edges.0"),
        ({"edges": [["Ann", "Bob"], ["Ann", "Bob", "Cem"]]}, "edges.1"),
        ({"edges": [["Ann", 7]]}, "edges.0.1"),
        ({"edges": [["Ann", ""]]}, "edges.0.1"),
        ({"edges": {"Ann": "Bob"}}, "edges"),
        ({"edges": [], "directed": 1}, "directed"),
        ({"edges": [], "weights": []}, "weights: Extra inputs"),
        ([], "body"),
    ],
)
async def test_a_bad_graph_is_refused_and_the_old_one_stays(proxy: Proxy, body: object, says: str) -> None:
    town = proxy.simulation("Ann", "Bob")
    await give(proxy, town, [["Ann", "Bob"]])
    answer = await proxy.client.put(graph(town), json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]
    assert proxy.controller.graph_size(town) == (2, 1)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"edges": [["Ann", NaN]]}'])
async def test_a_graph_that_is_no_json_is_refused(proxy: Proxy, content: bytes) -> None:
    town = proxy.simulation("Ann")
    answer = await proxy.client.put(
        graph(town), content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_bad_line_is_refused_by_its_number_and_the_old_graph_stays(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob")
    await give(proxy, town, [["Ann", "Bob"]])
    answer = await lines(proxy, town, b'["Ann", "Bob"]\n' * 500 + b"oops")
    assert (answer.status_code, answer.json()["line"]) == (422, 501)
    assert proxy.controller.graph_size(town) == (2, 1)


async def test_unknown_agents_of_a_graph_are_refused_and_the_old_one_stays(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob")
    await give(proxy, town, [["Ann", "Bob"]])
    for answer in (
        await give(proxy, town, [["Ann", "Yan"]]),
        await lines(proxy, town, b'["Ann", "Yan"]'),
        await tell(proxy, town, "activations", {"agents": ["Ann", "Yan"]}),
    ):
        assert (answer.status_code, answer.json()["agents"]) == (404, ["Yan"])
    assert proxy.controller.graph_size(town) == (2, 1)
    answer = await tell(proxy, town, "activations", {"agents": ["Yan"], "create_agents": True})
    assert answer.status_code == 200
    assert proxy.controller.knows(town, AgentName("Yan"))


async def test_an_unknown_simulation_is_refused_by_its_name(proxy: Proxy) -> None:
    for answer in (
        await give(proxy, "atlantis", create_agents=True),
        await lines(proxy, "atlantis", b'["Ann", "Bob"]', create_agents=True),
        await proxy.client.delete(graph("atlantis")),
        await tell(proxy, "atlantis", "activations", {"agents": ["Ann"], "create_agents": True}),
    ):
        assert answer.status_code == 404
        assert "'atlantis' is not known" in answer.json()["detail"]
    assert not proxy.controller.knows(SimulationId("atlantis"))


@pytest.mark.parametrize(
    "body", [{}, {"agents": "Ann"}, {"agents": [""]}, {"agents": [1]}, {"agents": [], "wave": ""}, None]
)
async def test_bad_activations_are_refused(proxy: Proxy, body: object) -> None:
    town = proxy.simulation("Ann")
    await give(proxy, town, create_agents=True)
    assert (await tell(proxy, town, "activations", body)).status_code == 422
    assert proxy.controller.graph_size(town) == (3, 2)


async def test_while_a_graph_comes_in_there_is_no_other_and_the_old_one_holds(proxy: Proxy) -> None:
    town = proxy.simulation("Zoe")
    await give(proxy, town, [["Ann", "Bob"]], create_agents=True)
    goes_on, began = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b'["Ann", "Ann"]\n'
        began.set()
        await goes_on.wait()
        yield b'["Bob", "Bob"]\n'

    first = asyncio.create_task(lines(proxy, town, slowly()))
    await began.wait()
    while (answer := await give(proxy, town)).status_code != 409:
        assert answer.status_code == 404, "Cem is not known"
    answer = await proxy.client.delete(graph(town))
    assert (answer.status_code, "on its way" in answer.json()["detail"]) == (409, True)
    assert (await tell(proxy, town, "activations", {"agents": ["Ann"]})).status_code == 200
    assert (await distances(proxy, town))["Bob"] == (1, "path")
    assert proxy.controller.graph_size(town) == (2, 1)
    goes_on.set()
    assert (await first).json()["edges"] == 2
    assert (await give(proxy, town, [["Ann", "Bob"]])).status_code == 200


async def test_a_simulation_that_ends_meanwhile_does_not_come_back(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob")
    goes_on, began = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        began.set()
        yield b'["Ann", "Bob"]\n'
        await goes_on.wait()

    first = asyncio.create_task(lines(proxy, town, slowly(), create_agents=True))
    await began.wait()
    while (await proxy.client.delete(graph(town))).status_code != 409:
        pass
    proxy.runtime.post(SimulationEnded(proxy.runtime.now(), town))
    goes_on.set()
    assert (await first).status_code in (404, 409)
    assert not proxy.controller.knows(town)


@pytest.mark.slow
async def test_more_edges_than_there_is_room_for_are_refused_and_the_old_graph_stays() -> None:
    async with started(Settings(engine="http://engine"), edge_limit=2, agent_limit=2) as proxy:
        town = proxy.simulation("Ann", "Bob")
        assert (await give(proxy, town, [["Ann", "Bob"]])).status_code == 200
        for answer in (
            await give(proxy, town, [["Ann", "Bob"]] * 3),
            await lines(proxy, town, b'["Ann", "Bob"]\n' * 3),
        ):
            assert (answer.status_code, answer.json()["limit"]) == (413, 2)
        assert proxy.controller.graph_size(town) == (2, 1)
        assert (await give(proxy, town, [["Ann", "Bob"]] * 2)).json()["edges"] == 2


async def test_more_agents_than_there_can_be_are_refused_and_there_is_no_graph(cramped: Proxy) -> None:
    for answer in (
        await give(cramped, CALLING, [["Ann", "Bob"]], create_agents=True),
        await lines(cramped, CALLING, b'["Ann", "Bob"]', create_agents=True),
    ):
        assert (answer.status_code, answer.json()["limit"]) == (413, 1)
        assert "room for 1 agents" in answer.json()["detail"]
    assert cramped.controller.graph_size(CALLING) is None


async def test_lines_may_be_more_than_a_body_of_json(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob")
    line = b'["Ann", "Bob"]' + b" " * 8_000 + b"\n"
    content = line * (BODY_LIMIT // len(line) + 1)
    answer = await lines(proxy, town, content)
    assert (answer.status_code, answer.json()["edges"]) == (200, len(content) // len(line))


@pytest.mark.parametrize("announced", [True, False])
async def test_lines_without_end_are_refused_and_the_old_graph_stays(
    proxy: Proxy, announced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = proxy.simulation("Ann", "Bob")
    await give(proxy, town, [["Ann", "Bob"]])
    monkeypatch.setattr(gate, "STREAM_LIMIT", 1_000)
    content = b'["Ann", "Bob"]\n' * 100

    async def unannounced() -> AsyncIterator[bytes]:
        yield content[:700]
        yield content[700:]

    answer = await lines(proxy, town, content if announced else unannounced())
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert proxy.controller.graph_size(town) == (2, 1)


@pytest.mark.parametrize(("method", "what"), [("PUT", "space"), ("PUT", "mode"), ("POST", "ticks")])
async def test_lines_are_not_taken_for_what_tells_of_one_thing(proxy: Proxy, method: str, what: str) -> None:
    town = proxy.simulation("Ann")
    path = f"/admin/v1/simulations/{town}/{what}"
    answer = await proxy.client.request(method, path, content=b'["Ann", "Ann"]', headers=LINES)
    assert answer.status_code == 415


async def test_lines_need_a_key_where_json_needs_one(locked: Proxy) -> None:
    town = locked.simulation("Ann")
    assert (await lines(locked, town, b'["Ann", "Ann"]')).status_code == 401
    assert locked.controller.graph_size(town) is None


async def test_a_wave_on_a_large_graph_goes_on_after_the_answer(proxy: Proxy) -> None:
    town = proxy.simulation("Zoe")
    names = [f"agent-{number}" for number in range(3000)]
    body = "".join(f'["{one}", "{other}"]\n' for one, other in pairwise(names)).encode()
    await lines(proxy, town, body, create_agents=True)
    await tell(proxy, town, "activations", {"agents": names[:1]})
    while proxy.controller.behind:  # noqa: ASYNC110  a few turns of this loop
        await asyncio.sleep(0)
    known = proxy.controller.agent(town, AgentName(names[-1]))
    assert known is not None
    assert known.distance == 2999


async def test_the_planner_catches_up_by_itself(proxy: Proxy) -> None:
    town = proxy.simulation("Zoe")
    await give(proxy, town, create_agents=True)
    proxy.runtime.post(Activated(proxy.runtime.now(), town, [AgentName("Ann")]))
    while proxy.controller.behind:  # noqa: ASYNC110  a few turns of this loop
        await asyncio.sleep(0.001)
    assert (await distances(proxy, town))["Cem"] == (2, "path")

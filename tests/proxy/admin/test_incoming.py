from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from scalesim.proxy.admin import incoming
from scalesim.proxy.admin.gate import BODY_LIMIT
from scalesim.proxy.admin.incoming import lines
from scalesim.proxy.admin.pieces import PIECE, pieces
from scalesim.proxy.admin.problems import Problem
from scalesim.proxy.core.events import Event
from scalesim.proxy.core.model import SimulationId

from .conftest import Proxy
from .test_hints import told

pytestmark = pytest.mark.anyio
AS_LINES = {"content-type": "application/x-ndjson"}
ROUTES = (
    "distances",
    "actions",
    "space",
    "positions",
    "interactions",
    "graph",
    "activations",
    "adapters",
    "update",
)
MANY = [f"agent-{number:05}" for number in range(1_000)]


def body_of(route: str, agents: Sequence[str]) -> dict[str, Any]:
    """Tells something of each of them."""
    match route:
        case "distances":
            return {"unit": "steps", "distances": dict.fromkeys(agents, 3), "create_agents": True}
        case "actions":
            return {"unit": "steps", "durations": dict.fromkeys(agents, 3), "create_agents": True}
        case "positions":
            places = {agent: [10.0 * MANY.index(agent), 0.0] for agent in agents}
            return {"positions": places, "destinations": places, "create_agents": True}
        case "interactions":
            return {"pairs": [[agent, MANY[0] if agent != MANY[0] else MANY[1]] for agent in agents]}
        case "graph":
            return {"edges": [[agent, agent] for agent in agents], "create_agents": True}
        case "activations":
            return {"agents": list(agents), "wave": "rumour", "create_agents": True}
        case "adapters":
            return {"agents": dict.fromkeys(agents), "create_agents": True}
    return {"agent_data": dict.fromkeys(agents, 3), "timestep_data": {"3": list(agents)}}


async def send(proxy: Proxy, town: str, route: str, content: Any, **more: Any) -> httpx.Response:
    """As JSON, or as lines where the headers say so."""
    more.setdefault("headers", {"content-type": "application/json"})
    method = "PUT" if route in ("graph", "adapters", "space") else "POST"
    if route == "update":
        return await proxy.client.post(
            "/v1/update", content=content, headers={**more["headers"], "x-simulation-id": town}
        )
    return await proxy.client.request(
        method, f"/admin/v1/simulations/{town}/{route}", content=content, **more
    )


async def ready_for(proxy: Proxy, route: str) -> SimulationId:
    """A simulation of which that may be told."""
    town = proxy.simulation("Zoe")
    if route in ("positions", "interactions"):
        rules = {"unit": "steps", "radius": 1, "speed": 1, "cooldown": 5}
        assert (await send(proxy, town, "space", json.dumps(rules))).status_code == 200
    if route == "interactions":
        await send(proxy, town, "positions", json.dumps(body_of("positions", MANY)))
    if route == "activations":
        await send(proxy, town, "graph", json.dumps(body_of("graph", MANY)))
    return town


def lines_of(route: str) -> bytes:
    if route == "graph":
        return b"".join(b'["%s", "%s"]\n' % (agent.encode(), agent.encode()) for agent in MANY)
    return b"\n".join(json.dumps(body_of(route, some)).encode() for some in pieces(MANY, 100))


@pytest.mark.parametrize("as_lines", [False, True])
@pytest.mark.parametrize("route", [one for one in ROUTES if one != "space"])
async def test_many_agents_are_told_of_in_pieces_and_others_get_their_turn(
    proxy: Proxy, route: str, as_lines: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = await ready_for(proxy, route)
    turns = 0
    posted: list[tuple[str, int, int]] = []
    post = proxy.runtime.post

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def noted(event: Event) -> None:
        sizes = [
            len(getattr(event, name, ())) for name in ("distances", "motions", "pairs", "edges", "agents")
        ]
        posted.append((type(event).__name__, max(sizes), turns))
        post(event)

    monkeypatch.setattr(proxy.runtime, "post", noted)
    other = asyncio.create_task(count())
    if as_lines:
        query = {"params": {"create_agents": True}} if route == "graph" else {}
        answer = await send(proxy, town, route, lines_of(route), headers=AS_LINES, **query)
    else:
        answer = await send(proxy, town, route, json.dumps(body_of(route, MANY)))
    other.cancel()
    assert answer.status_code == 200, answer.text
    assert answer.json()["agents"] == len(MANY)
    name, _ = Counter(name for name, _, _ in posted if name not in ("Idled", "Ticked")).most_common(1)[0]
    is_of_one = name in ("ActionStarted", "AdapterAssigned")
    ours = [(1 if is_of_one else size, turn) for kind, size, turn in posted if kind == name]
    together = Counter[int]()
    for size, turn in ours:
        together[turn] += size
    assert sum(together.values()) == len(MANY)
    assert max(together.values()) <= PIECE


@pytest.mark.parametrize("route", [one for one in ROUTES if one not in ("space", "graph")])
async def test_a_bad_line_is_named_and_nothing_changes(proxy: Proxy, route: str) -> None:
    town = await ready_for(proxy, route)
    before = proxy.known(town)
    good = json.dumps(body_of(route, MANY[:3])).encode()
    for bad in (b"oops", b'{"oops": 1}', b"[]", b'{"unit": NaN}', b"\xff"):
        answer = await send(proxy, town, route, good + b"\n\n" + bad + b"\n" + good, headers=AS_LINES)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"].startswith("line 3: ")
        assert proxy.known(town) == before


@pytest.mark.parametrize(
    ("route", "field", "other"),
    [
        ("distances", "unit", {"unit": "seconds"}),
        ("distances", "create_agents", {"create_agents": False}),
        ("activations", "wave", {"wave": "denial"}),
        ("update", "timestep_cnt", {"timestep_cnt": 3}),
    ],
)
async def test_what_is_no_entry_must_be_the_same_in_all_lines(
    proxy: Proxy, route: str, field: str, other: dict[str, Any]
) -> None:
    town = await ready_for(proxy, route)
    before = proxy.known(town)
    content = [body_of(route, MANY[:1]), body_of(route, MANY[1:2]), body_of(route, MANY[2:3]) | other]
    answer = await send(proxy, town, route, "\n".join(map(json.dumps, content)), headers=AS_LINES)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(f"line 3: {field} is not what it is in the first line")
    assert proxy.known(town) == before


@pytest.mark.parametrize("content", [b"", b"\n \n"])
async def test_no_line_at_all_is_refused(proxy: Proxy, content: bytes) -> None:
    answer = await send(proxy, proxy.simulation("Ann"), "distances", content, headers=AS_LINES)
    assert (answer.status_code, answer.json()["detail"]) == (422, "body: it is empty; nothing was changed")


async def test_of_an_agent_in_several_lines_the_last_counts(proxy: Proxy) -> None:
    town = proxy.simulation("Ann", "Bob")
    content = [{"unit": "steps", "distances": told} for told in ({"Ann": 1, "Bob": 2}, {"Ann": 5})]
    answer = await send(proxy, town, "distances", "\n".join(map(json.dumps, content)), headers=AS_LINES)
    assert answer.json()["agents"] == 2
    assert {name: away for name, (away, _, _) in (await told(proxy, town)).items()} == {"Ann": 5, "Bob": 2}


async def test_updates_in_several_lines_are_one_and_must_not_contradict_each_other(proxy: Proxy) -> None:
    town = proxy.simulation("Zoe")
    content = [{"agent_data": {"1": 2}}, {"timestep_data": {"4": ["2"]}}, {"timestep_data": {"4": [3]}}]
    answer = await send(proxy, town, "update", "\n".join(map(json.dumps, content)), headers=AS_LINES)
    assert answer.json()["agents"] == 3
    simulation = proxy.controller.simulation(town)
    assert simulation is not None
    assert simulation.step == 1
    known = proxy.known(town)
    content.append({"agent_data": {"2": 1}})
    answer = await send(proxy, town, "update", "\n".join(map(json.dumps, content)), headers=AS_LINES)
    assert (answer.status_code, answer.json()["agents"]) == (422, ["2"])
    assert proxy.known(town) == known


async def test_an_error_deep_in_a_large_body_says_where_it_is(proxy: Proxy) -> None:
    town = await ready_for(proxy, "distances")
    body = body_of("distances", MANY)
    body["distances"][MANY[-1]] = -1
    answer = await send(proxy, town, "distances", json.dumps(body))
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("near byte ")
    assert f"distances.{MANY[-1]}: " in answer.json()["detail"]
    assert len(proxy.controller.agents(town)) == 1


@pytest.mark.parametrize("end", ["", "}} {}"])
async def test_a_large_body_that_ends_badly_is_refused(proxy: Proxy, end: str) -> None:
    town = await ready_for(proxy, "distances")
    text = json.dumps({"distances": dict.fromkeys(MANY, 1)})[:-2] + end
    answer = await send(proxy, town, "distances", text)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("body: ")


async def test_a_body_of_thousands_of_errors_names_a_few(proxy: Proxy) -> None:
    town = proxy.simulation("Ann")
    body = {"unit": "steps", "distances": dict.fromkeys(MANY, -1)}
    answer = await send(proxy, town, "distances", json.dumps(body))
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 20)
    assert len(answer.content) < 8_000


async def test_more_entries_than_a_call_may_have_are_refused(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "LIMIT", 250)
    town = proxy.simulation("Ann")
    for content, headers in (
        (lines_of("distances"), AS_LINES),
        (json.dumps(body_of("distances", MANY)), {"content-type": "application/json"}),
    ):
        answer = await send(proxy, town, "distances", content, headers=headers)
        assert (answer.status_code, answer.json()["limit"]) == (413, 250)
    assert len(proxy.controller.agents(town)) == 1


async def test_who_stops_in_the_middle_of_a_body_is_told_so(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "READ_S", 0.01)
    town = proxy.simulation("Ann", "Bob")

    for method, route, kind in (
        ("POST", "distances", "application/json"),
        ("POST", "distances", "application/x-ndjson"),
        ("PUT", "graph", "application/x-ndjson"),
    ):
        url = proxy.client.base_url
        reader, writer = await asyncio.open_connection(url.host, url.port)
        head = f"{method} /admin/v1/simulations/{town}/{route} HTTP/1.1\r\nHost: {url.host}\r\n"
        writer.write(f"{head}Content-Type: {kind}\r\nContent-Length: 99\r\n\r\n[".encode())
        assert b" 408 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_only_so_many_bodies_in_lines_are_read_at_a_time_and_json_never_waits(proxy: Proxy) -> None:
    town, city = proxy.simulation("Ann"), proxy.simulation("Ann")
    go_on, began = asyncio.Event(), asyncio.Semaphore(0)
    line = json.dumps({"unit": "steps", "distances": {"Ann": 1}}).encode()

    async def slowly() -> AsyncIterator[bytes]:
        yield line
        began.release()
        await go_on.wait()

    slow = [asyncio.create_task(send(proxy, town, "distances", slowly(), headers=AS_LINES)) for _ in range(4)]
    for _ in slow:
        await began.acquire()
    waits = asyncio.create_task(send(proxy, city, "distances", line, headers=AS_LINES))
    assert (await send(proxy, city, "distances", line)).status_code == 200
    assert not waits.done()
    go_on.set()
    assert [(await answer).status_code for answer in (*slow, waits)] == [200] * 5


async def test_lines_are_told_by_their_numbers_however_they_are_cut() -> None:
    text = b"one\n\n  \r\ntwo\nthree"
    for size in (1, 3, 100):
        found = [line async for line in lines(_chunks(text, size), 10)]
        assert [(number, line.strip()) for number, line in found] == [(1, b"one"), (4, b"two"), (5, b"three")]


@pytest.mark.parametrize("text", [b"short\n" + b"x" * 11 + b"\nshort", b"short\n" + b"x" * 99])
async def test_a_line_that_is_too_long_is_refused_by_its_number(text: bytes) -> None:
    for size in (1, 7, 200):
        with pytest.raises(Problem, match="line 2: it is longer than 10 bytes"):
            [line async for line in lines(_chunks(text, size), 10)]


async def test_a_line_may_be_a_large_body(proxy: Proxy) -> None:
    town = proxy.simulation("Zoe")
    content = json.dumps(body_of("distances", MANY[:900])) + "\n" + json.dumps(body_of("distances", MANY))
    answer = await send(proxy, town, "distances", content, headers=AS_LINES)
    assert answer.json()["agents"] == len(MANY)
    answer = await send(proxy, town, "distances", b" " * BODY_LIMIT + b"{}", headers=AS_LINES)
    assert (answer.status_code, answer.json()["detail"][:23]) == (422, "line 1: it is longer th")


async def _chunks(text: bytes, size: int) -> AsyncIterator[bytes]:
    for begin in range(0, len(text), size):
        yield text[begin : begin + size]

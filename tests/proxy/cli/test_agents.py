from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
from anyio import to_thread
from typer.testing import Result

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.app import ServerAddresses, running
from scalesim.proxy.cli.ending import PROBLEM, USAGE
from tests.proxy.test_app import chat, settings_for, until
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve as served

from .running import invoke

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
async def town() -> AsyncIterator[ServerAddresses]:
    """A proxy that knows Ann, Bob and Cy/1."""
    async with (
        served(EmulatedEngine().app) as url,
        running(settings_for(url)) as addresses,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        await until(client, addresses, up=True)
        for agent in ("Ann", "Bob", "Cy/1"):
            assert (await chat(client, addresses, agent)).status_code == 200
        agents = f"{addresses.admin}/admin/v1/simulations/town/agents"
        async with asyncio.timeout(PATIENCE_S):
            while any(one["running"] for one in (await client.get(agents)).json()["agents"]):
                pass
        yield addresses


async def asked(town: ServerAddresses, *words: str, environ: Mapping[str, str] | None = None) -> Result:
    there = {"SCALESIM_ADMIN": town.admin} | dict(environ or {})
    return await to_thread.run_sync(lambda: invoke("agents", *words, environ=there))


async def test_agents_are_listed_in_a_narrow_table(town: ServerAddresses) -> None:
    told = await asked(town, "list")
    assert told.exit_code == 0
    heading, *rows = told.stdout.splitlines()
    assert heading.split()[0] == "agent"
    assert [row.split()[0] for row in rows[:3]] == ["Ann", "Bob", "Cy/1"]
    assert max(map(len, told.stdout.splitlines())) <= 80
    assert rows[-1] == "3 of 3 agents of town"


async def test_a_list_goes_on_where_it_ended(town: ServerAddresses) -> None:
    first = await asked(town, "list", "--limit", "2")
    more = first.stdout.splitlines()[-1]
    assert more.startswith("more: the same with --after ")
    then = json.loads((await asked(town, "list", "--json", "--after", more.split()[-1])).stdout)
    assert [one["name"] for one in then["agents"]] == ["Cy/1"]
    assert then["next"] is None


async def test_a_page_that_the_proxy_did_not_fill_is_gone_on_with(town: ServerAddresses) -> None:
    """Where few fit a filter, the proxy answers with what it has found, and where to go on."""
    told = json.loads((await asked(town, "list", "--json", "--name-begins", "Cy")).stdout)
    assert [one["name"] for one in told["agents"]] == ["Cy/1"]


async def test_all_filters_that_are_given_must_fit(town: ServerAddresses) -> None:
    async def names(*words: str) -> list[str]:
        told = json.loads((await asked(town, "list", "--json", *words)).stdout)
        return [one["name"] for one in told["agents"]]

    assert await names("--name-begins", "B", "--waiting") == ["Bob"]
    assert await names("--running") == []
    assert await names("--engine", "engine-0", "--unpinned") == ["Ann", "Bob", "Cy/1"]
    assert await names("--pinned") == []
    assert await names("--source", "hinted") == []


async def test_a_wrong_filter_is_refused_by_name(town: ServerAddresses) -> None:
    told = await asked(town, "list", "--source", "rumours")
    assert told.exit_code == PROBLEM
    assert "source: " in told.stderr
    assert len(told.stderr.splitlines()) == 1


async def test_one_agent_is_shown_with_its_memory(town: ServerAddresses) -> None:
    told = await asked(town, "show", "Cy/1")
    assert told.exit_code == 0
    assert "kv_prefix" in told.stdout
    as_json = json.loads((await asked(town, "show", "Cy/1", "--json")).stdout)
    assert as_json["name"] == "Cy/1"


async def test_who_should_have_called_is_overdue_and_not_far_away(town: ServerAddresses) -> None:
    url = f"{town.admin}/admin/v1/simulations/town/distances"
    async with httpx.AsyncClient(trust_env=False) as client:
        hints = {"unit": "seconds", "distances": {"Ann": 0.001, "Bob": 900}}
        assert (await client.post(url, json=hints)).status_code == 200
    rows = {row.split()[0]: row for row in (await asked(town, "list")).stdout.splitlines() if row}
    assert "overdue for " in rows["Ann"]
    assert "overdue" not in rows["Bob"]
    assert "overdue for " in (await asked(town, "show", "Ann")).stdout


async def test_a_story_tells_what_happened_the_oldest_first(town: ServerAddresses) -> None:
    told = await asked(town, "story", "Ann", "--simulation", "town")
    assert told.exit_code == 0
    assert "engine-0: done, " in told.stdout
    as_json = json.loads((await asked(town, "story", "Ann", "--json")).stdout)
    assert len(as_json["calls"]) == 1


async def test_somebody_unknown_is_a_problem(town: ServerAddresses) -> None:
    told = await asked(town, "story", "Nobody", "--json")
    assert told.exit_code == PROBLEM
    assert json.loads(told.stdout)["status"] == 404
    assert "'Nobody'" in told.stderr


async def test_of_several_simulations_one_has_to_be_named(town: ServerAddresses) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.put(f"{town.admin}/admin/v1/simulations/city")
    told = await asked(town, "list")
    assert told.exit_code == USAGE
    assert told.stderr == "--simulation: missing; there are town, city\n"
    assert (await asked(town, "list", "-s", "town")).exit_code == 0


async def test_before_the_first_call_there_is_nobody_to_list() -> None:
    async with served(EmulatedEngine().app) as url, running(settings_for(url)) as addresses:
        told = await asked(addresses, "list")
    assert told.exit_code == PROBLEM
    assert "knows no simulation yet" in told.stderr

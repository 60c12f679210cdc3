"""Several engines behind one proxy, over sockets: who gets which calls, and who is told what to keep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.app import ServerAddresses, running
from scalesim.proxy.settings import Settings
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve as served

from .test_app import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

AGENTS = [f"agent-{number}" for number in range(9)]
QUICK: dict[str, Any] = {
    "port": 0,
    "admin_port": 0,
    "tick_ms": 1,
    "report_every_s": 0.02,
    "probe_every_s": 0.02,
    "breaker_rest_s": 0.05,
    "placement_ramp_s": 0.0,
}


@dataclass
class Region:
    """A proxy and its engines, each of which can be stopped and started."""

    client: httpx.AsyncClient
    addresses: ServerAddresses
    ports: dict[str, int]
    up: dict[str, AsyncExitStack] = field(default_factory=dict)
    engines: dict[str, EmulatedEngine] = field(default_factory=dict)

    async def start(self, name: str) -> None:
        stack = self.up[name] = AsyncExitStack()
        engine = self.engines[name] = EmulatedEngine(capacity_tokens=60_000)
        await stack.enter_async_context(served(engine.app, self.ports[name]))

    async def stop(self, name: str) -> None:
        await self.up.pop(name).aclose()

    async def call(self, agent: str, simulation: str = "town", model: str = "emulated") -> None:
        message = {"role": "user", "content": f"You are {agent}. " + "What do you do next? " * 20}
        answer = await self.client.post(
            f"{self.addresses.data}/v1/chat/completions",
            json={"model": model, "messages": [message], "max_tokens": 2},
            headers={"x-agent-id": agent, "x-simulation-id": simulation},
        )
        assert answer.status_code == 200, answer.text

    async def told(self, path: str) -> Any:
        return (await self.client.get(f"{self.addresses.admin}/admin/v1{path}")).json()

    async def homes(self) -> dict[str, set[str]]:
        """Agents by the engine that they called last."""
        found: dict[str, set[str]] = {name: set() for name in self.ports}
        for one in (await self.told("/simulations/town/agents"))["agents"]:
            found[one["engine"]].add(one["name"])
        return found

    def ordered(self, name: str) -> set[str]:
        """Whom that engine was told to keep."""
        ledger = self.engines[name].ledger
        assert ledger is not None
        return {owner.partition("/")[2] for owner in ledger.distances}

    async def hint(self) -> None:
        """Distances for all, nearer ones first."""
        body = {"unit": "steps", "distances": {name: number + 1 for number, name in enumerate(AGENTS)}}
        url = f"{self.addresses.admin}/admin/v1/simulations/town/distances"
        assert (await self.client.post(url, json=body)).status_code == 200

    async def until(self, met: Callable[[], Awaitable[object]]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await met():
                pass

    async def states(self) -> dict[str, str]:
        return {one["engine"]: one["state"] for one in (await self.told("/engines"))["engines"]}


@asynccontextmanager
async def region(*names: str, **options: Any) -> AsyncIterator[Region]:
    ports = {name: free_port() for name in names}
    engines = [f"{name}=http://127.0.0.1:{port}" for name, port in ports.items()]
    settings = Settings.load({"engines": engines, **QUICK, **options}, {})
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S))
        addresses = await stack.enter_async_context(running(settings))
        made = Region(client, addresses, ports)
        for name in names:
            await made.start(name)
        try:

            async def all_up() -> bool:
                return set((await made.states()).values()) == {"up"}

            await made.until(all_up)
            yield made
        finally:
            for name in list(made.up):
                await made.stop(name)


async def test_agents_stay_on_their_engine_and_each_engine_keeps_its_own_alone() -> None:
    async with region("a", "b", "c", placement_unhurried_calls=0) as made:
        for agent in AGENTS:
            await made.call(agent)
        homes = await made.homes()
        assert all(homes.values()), "each has some"
        for agent in AGENTS:
            await made.call(agent)
        assert await made.homes() == homes
        await made.hint()

        async def all_are_ordered() -> bool:
            return {name: made.ordered(name) for name in made.ports} == homes

        await made.until(all_are_ordered)
        placement = await made.told("/placement")
        assert placement["calls"] == {"home": 9, "new": 9}
        assert placement["agents"] == 9


async def test_agents_of_an_engine_that_died_live_elsewhere_and_it_is_used_again_when_it_is_back() -> None:
    async with region("a", "b", "c", placement_unhurried_calls=0) as made:
        for agent in AGENTS:
            await made.call(agent)
        before = await made.homes()
        await made.stop("a")
        for agent in AGENTS:
            await made.call(agent)
        after = await made.homes()
        assert after["a"] == set()
        assert before["b"] <= after["b"]
        assert before["c"] <= after["c"], "who was well stays"
        await made.hint()

        async def others_keep_them() -> bool:
            return {name: made.ordered(name) for name in ("b", "c")} == {
                name: after[name] for name in ("b", "c")
            }

        await made.until(others_keep_them)

        async def is_lost() -> bool:
            return (await made.states())["a"] == "lost"

        await made.until(is_lost)
        await made.start("a")

        async def is_up() -> bool:
            return (await made.states())["a"] == "up"

        await made.until(is_up)
        for number in range(9):
            await made.call(f"new-{number}")
        homes = await made.homes()
        assert homes["a"], "new agents go where there is room"
        assert homes["a"].isdisjoint(AGENTS), "nobody is sent back to what has forgotten everything"


async def test_an_engine_that_comes_back_gets_agents_that_call_late() -> None:
    async with region("a", "b") as made:
        await made.stop("a")
        for agent in AGENTS:
            await made.call(agent)
        assert (await made.homes())["b"] == set(AGENTS)
        await made.start("a")

        async def is_up() -> bool:
            return (await made.states())["a"] == "up"

        await made.until(is_up)
        far = {name: 1_000.0 + number for number, name in enumerate(AGENTS)}
        body = {"unit": "seconds", "distances": far | {AGENTS[-1]: 1.0}}
        url = f"{made.addresses.admin}/admin/v1/simulations/town/distances"
        assert (await made.client.post(url, json=body)).status_code == 200

        async def some_moved() -> bool:
            return bool((await made.told("/placement"))["moved"])

        await made.until(some_moved)
        homes = await made.homes()
        assert (len(homes["a"]), len(homes["b"])) == (4, 5)
        assert AGENTS[-1] in homes["b"], "it calls soon"
        assert (
            "scalesim_moved_agents_total 4" in (await made.client.get(f"{made.addresses.admin}/metrics")).text
        )
        for agent in AGENTS:
            await made.call(agent)
        assert await made.homes() == homes, "their calls go where they moved to"


async def test_of_an_engine_that_is_removed_nothing_is_left() -> None:
    async with region("a", "b") as made:
        sizes = (await made.told("/status"))["sizes"]
        tasks = asyncio.all_tasks()
        extra = free_port()
        made.ports["c"] = extra
        await made.start("c")
        url = f"{made.addresses.admin}/admin/v1/engines"
        body = {"name": "c", "url": f"http://127.0.0.1:{extra}"}
        assert (await made.client.post(url, json=body)).status_code == 201

        async def is_up() -> bool:
            return (await made.states())["c"] == "up"

        await made.until(is_up)
        for agent in AGENTS:
            await made.call(agent)
        homes = await made.homes()
        assert homes["c"]
        assert (await made.client.delete(f"{url}/c")).status_code == 204
        for agent in AGENTS:
            await made.call(agent)
        assert (await made.homes())["c"] == set()
        assert set(await made.states()) == {"a", "b"}
        assert 'engine="c"' not in (await made.client.get(f"{made.addresses.admin}/metrics")).text
        await made.client.delete(f"{made.addresses.admin}/admin/v1/simulations/town")
        engines = ("engines", "registered_engines", "placed_engines", "breakers", "leaving_engines")
        after = (await made.told("/status"))["sizes"]
        assert {name: after[name] for name in engines} == {name: sizes[name] for name in engines}
        await made.stop("c")
        left = {task.get_name() for task in asyncio.all_tasks() - tasks if "c" in repr(task.get_coro())}
        assert not [one for one in left if "watcher of c" in one or "sender of c" in one]


async def test_the_models_of_all_engines_are_listed_and_the_only_engine_lists_its_own() -> None:
    async with region("a", "b", aliases="gpt-4o=emulated") as made:
        listed = (await made.client.get(f"{made.addresses.data}/v1/models")).json()
        assert [one["id"] for one in listed["data"]] == ["emulated", "gpt-4o"]
        one = await made.client.get(f"{made.addresses.data}/v1/models/gpt-4o")
        assert one.json()["root"] == "emulated"
        none = await made.client.get(f"{made.addresses.data}/v1/models/gpt-5")
        assert (none.status_code, none.json()["error"]["code"]) == (404, "model_not_found")
        await made.call("Ann", model="gpt-4o")
        health = await made.client.get(f"{made.addresses.data}/health")
        assert health.status_code == 200
    async with region("a") as made:
        listed = (await made.client.get(f"{made.addresses.data}/v1/models")).json()
        assert [one["id"] for one in listed["data"]] == ["emulated"]


async def test_a_proxy_without_engines_is_not_ready_until_one_is_registered() -> None:
    settings = Settings.load({"engines": "none", **QUICK}, {})
    async with (
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client,
        running(settings) as addresses,
        served(EmulatedEngine().app) as url,
    ):
        made = Region(client, addresses, {})
        assert (await client.get(f"{addresses.admin}/healthz")).status_code == 200
        assert (await client.get(f"{addresses.admin}/readyz")).status_code == 503
        refused = await client.post(f"{addresses.data}/v1/completions", json={"prompt": "x"})
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "no_engine")
        assert int(refused.headers["retry-after"]) >= 1
        await client.post(f"{addresses.admin}/admin/v1/engines", json={"name": "a", "url": url})

        async def is_ready() -> bool:
            return (await client.get(f"{addresses.admin}/readyz")).status_code == 200

        await made.until(is_ready)
        await made.call("Ann")


async def test_agents_of_one_kind_come_together() -> None:
    """Each kind has a system prompt of its own, and its agents arrive in turns with those of the other."""
    prompts = [f"You are a {kind} of the town. " * 50 for kind in ("smith", "monk")]
    async with region("a", "b") as made:

        async def call(number: int) -> None:
            messages = [
                {"role": "system", "content": prompts[number % 2]},
                {"role": "user", "content": f"You are agent-{number}. What do you do next?"},
            ]
            answer = await made.client.post(
                f"{made.addresses.data}/v1/chat/completions",
                json={"model": "emulated", "messages": messages, "max_tokens": 2},
                headers={"x-agent-id": f"agent-{number}", "x-simulation-id": "town"},
            )
            assert answer.status_code == 200, answer.text

        for number in range(24):
            await call(number)
        kinds = {
            name: {int(agent[6:]) % 2 for agent in agents} for name, agents in (await made.homes()).items()
        }
        assert sorted(map(sorted, kinds.values())) == [[0], [1]]
        for number in range(24):
            await call(number)
        assert (await made.told("/placement"))["calls"] == {"home": 24, "new": 24}


async def test_after_a_restart_agents_are_where_they_were_and_an_engine_that_is_gone_does_not_come_back(
    tmp_path: Path,
) -> None:
    kept = {"state_file": str(tmp_path / "state"), "placement_unhurried_calls": 0}
    async with region("a", "b", "c", **kept) as made:
        for agent in AGENTS:
            await made.call(agent)
        before = await made.homes()
        assert all(before.values())
    async with region("b", "c", **kept) as made:
        metrics = (await made.client.get(f"{made.addresses.admin}/metrics")).text
        assert 'engine="b"' in metrics
        assert 'engine="a"' not in metrics, "the settings name it no more, though agents were there"
        for agent in AGENTS:
            await made.call(agent)
        after = await made.homes()
        assert before["b"] <= after["b"]
        assert before["c"] <= after["c"]
        lost = len(before["a"])
        assert (await made.told("/placement"))["calls"] == {"home": 9 - lost, "new": lost}

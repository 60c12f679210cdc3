"""Real front ends from PyPI between the proxy and two engines each: who gets which calls, and who is commanded."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.engine_adapters.emulated.asgi import Receive, Scope, Send
from scalesim.proxy.app import ServerAddresses, running
from scalesim.proxy.settings import Settings
from scalesim.workloads.bench_proxy.contestants import NotThere, Place
from tests.support.serve import serve as served

from .test_app import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.fronts]

CHAT = "/v1/chat/completions"
AGENTS = [*(f"agent-{number}" for number in range(6)), "Zoë Müller", "李明_t2"]
NO_ENGINE = ("no_available_workers", "call_upstream_request_error")
PATIENCE_S = 90.0
"""The programs are built for servers: on two busy cores they take long to start."""
QUICK: dict[str, Any] = {
    "port": 0,
    "admin_port": 0,
    "tick_ms": 1,
    "report_every_s": 0.05,
    "probe_every_s": 0.1,
    "breaker_rest_s": 0.05,
    "guard": False,
}
COMMON = (
    "--cb-failure-threshold",
    "1",
    "--cb-timeout-duration-secs",
    "1",
    "--health-check-interval-secs",
    "1",
)
"""As docs/serving.md recommends it: what they wait for by default loses calls."""
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sglang-router": (("bin", "python"), ("-m", "sglang_router.launch_router", "--policy", "manual")),
    "smg": (("bin", "smg"), ("launch", "--policy", "manual", "--disable-tokenizer-autoload")),
}
STICKY = ("--policy", "round_robin", "--routing-key-override")
"""smg's other way to keep calls of a key together: it reads the ids of requests, too."""


@dataclass
class Town:
    kind: str
    client: httpx.AsyncClient
    addresses: ServerAddresses
    engines: dict[str, EmulatedEngine] = field(default_factory=dict)
    """By URL."""
    up: dict[str, AsyncExitStack] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    """By the engine that they reached."""
    aborts: Counter[str] = field(default_factory=Counter)
    loads: Counter[str] = field(default_factory=Counter)
    program: subprocess.Popen[bytes] | None = None
    """The front end."""
    capacity_tokens: int = 60_000
    decode_s_per_token: float = 0.0

    async def start(self, url: str) -> None:
        stack = self.up[url] = AsyncExitStack()
        engine = self.engines[url] = EmulatedEngine(
            capacity_tokens=self.capacity_tokens,
            host_tokens=60_000,
            decode_s_per_token=self.decode_s_per_token,
        )

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.calls[url] += scope["path"].endswith("/completions")
                self.aborts[url] += scope["path"] == "/abort_request"
                self.loads[url] += scope["path"] == "/scalesim/v1/load"
            await engine.app(scope, receive, send)

        await stack.enter_async_context(served(counted, int(url.rpartition(":")[2])))

    async def stop(self, url: str) -> None:
        await self.up.pop(url).aclose()

    async def call(self, agent: str, route: str = CHAT, max_tokens: int = 2) -> httpx.Response:
        answer = await self.ask(agent, route, max_tokens)
        assert answer.status_code == 200, answer.text
        return answer

    async def ask(self, agent: str, route: str = CHAT, max_tokens: int = 2) -> httpx.Response:
        text = f"You are {agent}. " + "What do you do next? " * 20
        said: dict[str, Any] = (
            {"prompt": text}
            if route == "/v1/completions"
            else {"messages": [{"role": "user", "content": text}]}
        )
        return await self.client.post(
            self.addresses.data + route,
            json={"model": "emulated", "max_tokens": max_tokens, **said},
            headers={"x-agent-id": agent.encode(), "x-simulation-id": "town"},
        )

    async def answerer(self, agent: str, route: str = CHAT) -> str:
        """The engine that a call reached."""
        before = self.calls.copy()
        await self.call(agent, route)
        (url,) = self.calls - before
        return url

    async def front(self) -> Any:
        return (await self.client.get(f"{self.addresses.admin}/admin/v1/engines/main")).json()

    async def hint(self, first: str = "") -> None:
        """Distances for all, nearer ones first, and one of them before all others."""
        order = sorted(AGENTS, key=lambda name: (name != first, name))
        body = {"unit": "steps", "distances": {name: number + 1 for number, name in enumerate(order)}}
        url = f"{self.addresses.admin}/admin/v1/simulations/town/distances"
        assert (await self.client.post(url, json=body)).status_code == 200

    def missing(self, url: str, agent: str) -> bool:
        """Whether the engine would have to load some of what the agent needs."""
        _, missing_bytes = self.engines[url].loads.stores["kv_prefix"].report(f"town/{agent}")
        return missing_bytes > 0

    def ordered(self, url: str) -> set[str]:
        ledger = self.engines[url].ledger
        assert ledger is not None
        return {owner.partition("/")[2] for owner in ledger.distances}


async def until(met: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await met():  # noqa: ASYNC110  another process works, and tells nobody
            await asyncio.sleep(0.02)


@asynccontextmanager
async def town(
    kind: str,
    folder: Path,
    *more: str,
    listed: bool = True,
    capacity_tokens: int = 60_000,
    decode_s_per_token: float = 0.0,
    **options: Any,
) -> AsyncIterator[Town]:
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    port, metrics_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    program, arguments = COMMANDS[kind]
    try:
        path = Place("127.0.0.1", port, urls[0], folder).program(kind, *program)
    except NotThere as exc:
        pytest.skip(str(exc))
    behind = " ".join(urls) if listed else ""
    settings = Settings.load({"fronts": f"main={kind} {url} {behind}", **QUICK, **options}, {})
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S))
        made = Town(
            kind,
            client,
            ServerAddresses("", ""),
            capacity_tokens=capacity_tokens,
            decode_s_per_token=decode_s_per_token,
        )
        for one in urls:
            await made.start(one)
        log = stack.enter_context((folder / "front.log").open("wb"))
        process = made.program = subprocess.Popen(  # noqa: ASYNC220  it forks at once
            [
                *(
                    path,
                    *arguments,
                    *more,
                    "--worker-urls",
                    *urls,
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(port),
                ),
                *("--prometheus-host", "127.0.0.1", "--prometheus-port", str(metrics_port)),
                *("--log-level", "warn", *COMMON),
            ],
            stdout=log,
            stderr=log,
        )
        stack.callback(process.wait)
        stack.callback(process.kill)

        async def is_ready() -> bool:
            assert process.poll() is None, (folder / "front.log").read_text()
            try:
                return (await client.get(f"{url}/readiness")).status_code == 200
            except httpx.TransportError:
                return False

        await until(is_ready)
        made.addresses = await stack.enter_async_context(running(settings))

        async def is_up() -> bool:
            told = await made.front()
            return told["state"] == "up" and all(one["up"] for one in told["behind"])

        try:
            await until(is_up)
            yield made
        finally:
            for one in list(made.up):
                await made.stop(one)


@pytest.mark.parametrize(("kind", "more"), [("sglang-router", ()), ("smg", ()), ("smg", STICKY)])
async def test_every_call_of_an_agent_reaches_the_same_engine_and_both_are_commanded(
    kind: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    async with town(kind, tmp_path, *more) as made:
        homes = {agent: await made.answerer(agent) for agent in AGENTS}
        for _ in range(3):
            assert {agent: await made.answerer(agent) for agent in AGENTS} == homes
        assert set(homes.values()) == set(made.engines), "by chance not once in 128"

        async def homes_are_known() -> bool:
            told = {one["url"]: one["agents"] for one in (await made.front())["behind"]}
            return told == {url: list(homes.values()).count(url) for url in made.engines}

        await until(homes_are_known)
        await made.hint()

        async def each_is_told_of_its_own() -> bool:
            return all(
                made.ordered(url) == {agent for agent, home in homes.items() if home == url}
                for url in made.engines
            )

        await until(each_is_told_of_its_own)
        told = await made.front()
        assert (told["front"], told["commanded"]) == (kind, True)
        assert told["capacity_tokens"] == 120_000
        assert told["extended"] is True


@pytest.mark.parametrize("kind", ["sglang-router", "smg"])
async def test_calls_on_every_route_stay_together(kind: str, tmp_path: Path) -> None:
    async with town(kind, tmp_path) as made:
        for agent in AGENTS[:4]:
            routes = ("/v1/chat/completions", "/v1/completions")
            assert len({await made.answerer(agent, route) for route in routes for _ in range(2)}) == 1


@pytest.mark.parametrize("kind", ["sglang-router", "smg"])
async def test_a_dead_engine_behind_it_is_survived_and_used_again_when_it_is_back(
    kind: str, tmp_path: Path
) -> None:
    async with town(kind, tmp_path) as made:
        homes = {agent: await made.answerer(agent) for agent in AGENTS}
        gone = homes[AGENTS[0]]
        (left,) = set(made.engines) - {gone}
        await made.stop(gone)
        assert [await made.answerer(agent) for agent in AGENTS] == [left] * len(AGENTS), "no call is lost"

        async def is_missed() -> bool:
            told = await made.front()
            return {one["url"]: one["up"] for one in told["behind"]} == {gone: False, left: True}

        await until(is_missed)
        await made.hint()

        async def the_other_is_told_of_all() -> bool:
            return made.ordered(left) == set(AGENTS)

        await until(the_other_is_told_of_all)
        assert (await made.front())["state"] == "up"
        await made.start(gone)

        async def is_back() -> bool:
            told = await made.front()
            return all(one["up"] for one in told["behind"])

        await until(is_back)
        for agent in AGENTS:
            await made.call(agent)


@pytest.mark.parametrize("kind", ["sglang-router", "smg"])
async def test_who_gets_no_answer_is_told_why(kind: str, tmp_path: Path) -> None:
    async with town(kind, tmp_path) as made:
        await made.call("Ann")
        for url in made.engines:
            await made.stop(url)
        refused = await made.ask("Ann")
        # In the front end's own words, which depend on whether its own breakers are open by then.
        assert refused.status_code >= 500
        assert refused.json()["error"]["code"] in NO_ENGINE, refused.text

        async def both_are_missed() -> bool:
            return not any(one["up"] for one in (await made.front())["behind"])

        await until(both_are_missed)
        told = await made.front()
        assert (told["state"], told["features"]) == ("up", [])
        assert all(url in told["problem"] and "no answer" in told["problem"] for url in made.engines)
        assert all("ConnectError" in one["problem"] for one in told["behind"])

        assert made.program is not None
        made.program.kill()
        made.program.wait()
        refused = await made.ask("Ann")
        assert refused.status_code in (502, 503)
        assert f"'main' at {told['url']} is" in refused.json()["error"]["message"]
        assert re.search("Connect call failed|ConnectError", refused.json()["error"]["message"])

        async def it_is_missed() -> bool:
            return bool((await made.front())["state"] == "lost")

        await until(it_is_missed)


@pytest.mark.parametrize("kind", ["sglang-router", "smg"])
async def test_alone_it_serves_and_nothing_is_commanded(kind: str, tmp_path: Path) -> None:
    async with town(kind, tmp_path, listed=False) as made:
        homes = {agent: await made.answerer(agent) for agent in AGENTS}
        assert {agent: await made.answerer(agent) for agent in AGENTS} == homes
        await made.hint()
        told = await made.front()
        assert (told["features"], told["behind"]) == ([], [])
        assert "no engines are listed behind it" in told["description"]
        assert not any(made.ordered(url) for url in made.engines)
        models = (await made.client.get(f"{made.addresses.data}/v1/models")).json()
        assert [one["id"] for one in models["data"]] == ["emulated"]
        await made.call("Ann", "/v1/completions")
        given = {"text": "Ann waits.", "sampling_params": {"max_new_tokens": 2}}
        named = {"x-agent-id": "Ann"}
        answer = await made.client.post(f"{made.addresses.data}/generate", json=given, headers=named)
        assert answer.json()["meta_info"]["completion_tokens"] == 2
        asked = {"model": "emulated", "messages": [{"role": "user", "content": "Go on."}], "stream": True}
        told = await made.client.post(made.addresses.data + CHAT, json=asked, headers=named)
        assert told.text.rstrip().endswith("data: [DONE]")
        assert (await made.client.get(f"{made.addresses.data}/health")).status_code == 200


@pytest.mark.parametrize(("kind", "route"), [("sglang-router", "/v1/completions"), ("smg", CHAT)])
async def test_a_call_whose_client_leaves_is_aborted_in_the_engine_behind_it(
    kind: str, route: str, tmp_path: Path
) -> None:
    """sglang-router drops the ids of chat completions: there, nobody can."""
    async with town(kind, tmp_path, decode_s_per_token=0.02) as made:
        call = asyncio.create_task(made.call("Ann", route, max_tokens=50_000))

        async def it_runs() -> bool:
            return any(engine.scheduler.running for engine in made.engines.values())

        await until(it_runs)
        call.cancel()

        async def it_has_ended() -> bool:
            # Nobody may know yet which of them has it, so both are asked.
            return set(+made.aborts) == set(made.engines) and not await it_runs()

        await until(it_has_ended)


@pytest.mark.parametrize("kind", ["sglang-router", "smg"])
async def test_prefixes_are_brought_back_ahead_of_calls_where_their_agents_call(
    kind: str, tmp_path: Path
) -> None:
    async with town(kind, tmp_path, capacity_tokens=260) as made:
        homes = {agent: await made.answerer(agent) for agent in AGENTS * 2}
        crowded = max(made.engines, key=list(homes.values()).count)
        first, *_ = [agent for agent, home in homes.items() if home == crowded]

        async def it_was_evicted() -> bool:
            await made.call(next(agent for agent in AGENTS if homes[agent] == crowded and agent != first))
            return made.missing(crowded, first)

        await until(it_was_evicted)
        await made.hint(first)

        async def it_is_back() -> bool:
            return not made.missing(crowded, first)

        await until(it_is_back)
        assert made.loads[crowded] > 0
        assert {agent: await made.answerer(agent) for agent in AGENTS} == homes

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.app import CannotListen, ServerAddresses, listeners, running, serve
from scalesim.proxy.core.durations import Scale
from scalesim.proxy.core.model import (
    Clock,
)
from scalesim.proxy.settings import Settings
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve as served

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # every server takes a quarter of a second to stop


def settings_for(engine: str, **options: Any) -> Settings:
    quick: dict[str, Any] = {
        "port": 0,
        "admin_port": 0,
        "tick_ms": 1,
        "report_every_s": 0.02,
        "probe_every_s": 0.02,
    }
    return Settings(engine=engine, **(quick | options))


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers nobody."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@asynccontextmanager
async def proxied(
    engine: EmulatedEngine, **options: Any
) -> AsyncIterator[tuple[ServerAddresses, httpx.AsyncClient]]:
    async with (
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client,
        served(engine.app) as url,
        running(settings_for(url, **options)) as addresses,
    ):
        await until(client, addresses, up=True)
        yield addresses, client


async def until(client: httpx.AsyncClient, addresses: ServerAddresses, *, up: bool) -> None:
    wanted = 200 if up else 503
    async with asyncio.timeout(PATIENCE_S):
        while (await client.get(f"{addresses.admin}/ready")).status_code != wanted:
            pass


async def chat(client: httpx.AsyncClient, addresses: ServerAddresses, agent: str) -> httpx.Response:
    message = {"role": "user", "content": f"You are {agent}. " + "What do you do next? " * 20}
    return await client.post(
        f"{addresses.data}/v1/chat/completions",
        json={"model": "emulated", "messages": [message], "max_tokens": 4},
        headers={"x-agent-id": agent, "x-simulation-id": "town"},
    )


async def test_a_call_goes_through_and_is_counted() -> None:
    async with proxied(EmulatedEngine()) as (addresses, client):
        first, second = await chat(client, addresses, "Ann"), await chat(client, addresses, "Ann")
        (town,) = (await client.get(f"{addresses.admin}/admin/v1/simulations")).json()["simulations"]
    assert (first.status_code, second.status_code) == (200, 200)
    assert (town["simulation"], town["calls"], town["agents"]) == ("town", 2, 1)
    assert town["cached_tokens"] > 0


async def test_a_hint_changes_the_order_in_the_engine() -> None:
    async with proxied(EmulatedEngine()) as (addresses, client):
        await chat(client, addresses, "Ann")
        hint = {"unit": "steps", "distances": {"Ann": 3}}
        told = await client.post(f"{addresses.admin}/admin/v1/simulations/town/distances", json=hint)
        assert told.status_code == 200
        async with asyncio.timeout(PATIENCE_S):
            engine: dict[str, Any] = {}
            while not engine.get("plan_in_force"):
                (engine,) = (await client.get(f"{addresses.admin}/admin/v1/engines")).json()["engines"]
    assert engine["extended"]
    assert engine["ordered_agents"] == 1


async def test_a_dead_engine_gives_clean_errors_and_a_new_one_needs_no_restart() -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S))
        addresses = await stack.enter_async_context(running(settings_for(f"http://127.0.0.1:{port}")))
        dead = await chat(client, addresses, "Ann")
        health = await client.get(f"{addresses.admin}/health")
        await stack.enter_async_context(served(EmulatedEngine().app, port))
        await until(client, addresses, up=True)
        alive = await chat(client, addresses, "Ann")
    assert dead.status_code == 502
    assert f"127.0.0.1:{port}" in dead.json()["error"]["message"]
    assert health.status_code == 200
    assert alive.status_code == 200


async def test_a_stock_engine_is_served_and_said_to_be_stock() -> None:
    async with proxied(EmulatedEngine(extended=False)) as (addresses, client):
        answer = await chat(client, addresses, "Ann")
        (engine,) = (await client.get(f"{addresses.admin}/admin/v1/engines")).json()["engines"]
    assert answer.status_code == 200
    assert (engine["up"], engine["extended"]) == (True, False)
    assert engine["problem"]


async def test_an_assigned_adapter_is_brought_and_used_and_a_bad_one_says_why(tmp_path: Path) -> None:
    engine = EmulatedEngine(adapter_slots=3)
    async with proxied(engine) as (addresses, client):
        admin = f"{addresses.admin}/admin/v1"
        await client.put(f"{admin}/adapters/pirate", json={"path": str(tmp_path)})
        await client.put(f"{admin}/adapters/ghost", json={"path": str(tmp_path / "nothing")})
        await client.put(f"{admin}/simulations/town")
        agents = {"agents": {"Ann": "pirate", "Bob": "ghost"}, "create_agents": True}
        assigned = (await client.put(f"{admin}/simulations/town/adapters", json=agents)).json()
        ghost = (await client.get(f"{admin}/adapters/ghost")).json()
        ann, bob = await chat(client, addresses, "Ann"), await chat(client, addresses, "Bob")
        (told, _) = (await client.get(f"{admin}/simulations/town/agents")).json()["agents"]
    assert list(assigned["problems"]) == ["ghost"]
    assert "nothing" in assigned["problems"]["ghost"]
    assert "nothing" in ghost["problem"]
    assert ann.status_code == 200
    assert bob.status_code == 400
    assert "ghost" in bob.text
    assert told["adapter"] == "pirate"


@pytest.mark.parametrize("parts", ["all", "none"])
async def test_a_prefix_is_computed_again_before_the_call_unless_that_is_switched_off(parts: str) -> None:
    chosen = Settings.load({"engine": "http://one", "parts": parts}, {}).parts
    async with proxied(EmulatedEngine(), parts=chosen) as (addresses, client):
        admin = f"{addresses.admin}/admin/v1"
        (engine,) = (await client.get(f"{admin}/engines")).json()["engines"]
        size = (await chat(client, addresses, "Ann")).json()["usage"]["prompt_tokens"]
        await client.post(
            f"{admin}/simulations/town/actions", json={"unit": "seconds", "durations": {"Ann": 3600}}
        )
        await evict(client, engine["url"], "town/Ann")
        hint = {"unit": "steps", "distances": {"Ann": 1}}
        await client.post(f"{admin}/simulations/town/distances", json=hint)
        metrics, looks = "", 0
        async with asyncio.timeout(PATIENCE_S):
            while 'scalesim_loads_total{kind="kv_prefix",state="loaded"}' not in metrics and looks < 30:
                metrics = (await client.get(f"{addresses.admin}/metrics")).text
                looks += parts == "none"
        again = await chat(client, addresses, "Ann")
    cached = again.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert 'table="warm_up_owners"' in metrics
    if parts == "all":
        assert cached >= size - 2
    else:
        assert "scalesim_loads_total{" not in metrics
        assert cached < size / 2


async def test_a_stock_engine_is_given_back_what_others_took_the_room_of_before_the_call() -> None:
    """It has room for one of the two, and keeps whoever called last."""
    async with proxied(EmulatedEngine(extended=False, capacity_tokens=200)) as (addresses, client):
        size = (await chat(client, addresses, "Ann")).json()["usage"]["prompt_tokens"]
        await chat(client, addresses, "Bob")
        hint = {"unit": "steps", "distances": {"Ann": 1, "Bob": 50}}
        await client.post(f"{addresses.admin}/admin/v1/simulations/town/distances", json=hint)
        metrics = ""
        async with asyncio.timeout(PATIENCE_S):
            while 'scalesim_loads_total{kind="kv_prefix",state="loaded"}' not in metrics:
                metrics = (await client.get(f"{addresses.admin}/metrics")).text
        again = await chat(client, addresses, "Ann")
    assert again.json()["usage"]["prompt_tokens_details"]["cached_tokens"] >= size - 2


@pytest.mark.parametrize(("answers", "found"), [(None, 0), (Scale(Clock.SECONDS, 2.0), 1)])
async def test_how_long_an_agent_acts_is_read_in_its_answer_if_that_is_switched_on(
    answers: Scale | None, found: int
) -> None:
    async def engine(scope: Scope, receive: Receive, send: Send) -> None:
        said = {"choices": [{"index": 0, "message": {"content": '{"time": 10}'}}]}
        await JSONResponse(said)(scope, receive, send)

    async with (
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client,
        served(engine) as url,
        running(settings_for(url, answers=answers)) as addresses,
    ):
        await chat(client, addresses, "Ann")
        town = f"{addresses.admin}/admin/v1/simulations/town"
        assert (await client.get(f"{town}/answers")).json()["found"] == found
        await client.put(f"{town}/answers", json={"rules": ["default"], "unit": "seconds", "per_minute": 1})
        await chat(client, addresses, "Ann")
        assert (await client.get(f"{town}/answers")).json()["found"] == found + 1
        assert (await client.get(f"{addresses.admin}/admin/v1/status")).json()["failures"] == {}


@pytest.mark.parametrize("host_copy", [True, False])
async def test_texts_are_kept_only_where_the_engine_has_no_copy_of_the_prefix(host_copy: bool) -> None:
    async with proxied(EmulatedEngine(host_tokens=10_000)) as (addresses, client):
        admin = f"{addresses.admin}/admin/v1"
        await client.put(f"{admin}/simulations/town")
        wanted = {"kind": "kv_prefix", "wanted": host_copy}
        assert (await client.put(f"{admin}/simulations/town/host-copy", json=wanted)).status_code == 200
        await chat(client, addresses, "Ann")
        sizes = (await client.get(f"{admin}/status")).json()["sizes"]
    assert sizes["warm_up_owners"] == (0 if host_copy else 1)


async def evict(client: httpx.AsyncClient, engine: str, owner: str) -> None:
    """As if others had needed its room. Sent with the fence that is in force, which may have moved on meanwhile."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            fence = (await client.get(f"{engine}/scalesim/v1/stats")).json()["fence"]
            body = {"fence": fence, "owners": [owner]}
            if (await client.post(f"{engine}/scalesim/v1/evict", json=body)).status_code == 200:
                return


async def test_a_second_proxy_takes_over_and_the_first_says_so() -> None:
    async with proxied(EmulatedEngine()) as (first, client):
        (engine,) = (await client.get(f"{first.admin}/admin/v1/engines")).json()["engines"]
        async with running(settings_for(engine["url"])) as second:
            await until(client, second, up=True)
            hint = {"unit": "steps", "distances": {"Ann": 3, "Bob": 4}}
            for proxy in (second, first):
                await chat(client, proxy, "Ann")
                await chat(client, proxy, "Bob")
                await client.post(f"{proxy.admin}/admin/v1/simulations/town/distances", json=hint)
                async with asyncio.timeout(PATIENCE_S):
                    while proxy is second and not engine["plan_in_force"]:
                        (engine,) = (await client.get(f"{second.admin}/admin/v1/engines")).json()["engines"]
            async with asyncio.timeout(PATIENCE_S):
                while engine["commanded"]:
                    (engine,) = (await client.get(f"{first.admin}/admin/v1/engines")).json()["engines"]
            still_served = await chat(client, first, "Ann")
    assert "another proxy" in engine["problem"]
    assert still_served.status_code == 200


async def test_a_running_call_ends_before_the_proxy_does() -> None:
    engine = EmulatedEngine(decode_s_per_token=0.25)
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client, served(engine.app) as url:
        async with running(settings_for(url)) as addresses:
            call = asyncio.create_task(chat(client, addresses, "Ann"))
            metrics = ""
            async with asyncio.timeout(PATIENCE_S):
                while 'scalesim_running_calls{simulation="town"} 1' not in metrics:
                    metrics = (await client.get(f"{addresses.admin}/metrics")).text
        assert (await call).status_code == 200


async def test_while_running_calls_end_nothing_new_is_taken_and_the_probe_says_so() -> None:
    engine = EmulatedEngine(decode_s_per_token=0.5)
    client_of = partial(httpx.AsyncClient, trust_env=False, timeout=PATIENCE_S)
    async with client_of() as one, client_of() as other, served(engine.app) as url, AsyncExitStack() as proxy:
        addresses = await proxy.enter_async_context(running(settings_for(url)))
        await until(one, addresses, up=True)
        assert (await other.get(f"{addresses.data}/v1/models")).status_code == 200
        call = asyncio.create_task(chat(one, addresses, "Ann"))
        async with asyncio.timeout(PATIENCE_S):
            while (
                'scalesim_engine_calls{engine="engine-0"} 1'
                not in (await other.get(f"{addresses.admin}/metrics")).text
            ):
                pass
            ending = asyncio.create_task(proxy.aclose())
            await until(other, addresses, up=False)
        not_ready = await other.get(f"{addresses.admin}/readyz")
        refused = await other.get(f"{addresses.data}/v1/models")
        assert (await call).status_code == 200
        await ending
    assert "about to end" in not_ready.json()["detail"]
    assert (refused.status_code, refused.json()["error"]["type"]) == (503, "draining")
    assert (refused.headers["retry-after"], refused.headers["connection"]) == ("2", "close")


async def test_a_port_in_use_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"127\.0\.0\.1, port {port}: Address already in use"):
            async with running(replace(settings_for("http://127.0.0.1:1"), admin_port=port)):
                pass


async def test_a_port_that_only_one_of_our_listeners_can_have_is_named() -> None:
    """Both can be bound while neither listens: settings cannot see that these two hosts are one."""
    port = free_port()
    hosts = {"host": "127.1", "admin_host": "127.0.0.1"}
    with pytest.raises(CannotListen, match=rf"127\.0\.0\.1, port {port}: Address already in use"):
        async with running(settings_for("http://127.0.0.1:1", port=port, admin_port=port, **hosts)):
            pass


async def test_a_host_that_is_not_ours_is_named() -> None:
    with pytest.raises(CannotListen, match=r"192\.0\.2\.1"):
        async with running(replace(settings_for("http://127.0.0.1:1"), host="192.0.2.1")):
            pass


async def test_serving_says_where_and_ends_on_a_signal(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[ServerAddresses] = []
    ready = asyncio.Event()

    def on_ready(addresses: ServerAddresses) -> None:
        told.append(addresses)
        ready.set()

    async with served(EmulatedEngine().app) as url:
        serving = asyncio.create_task(serve(settings_for(url), ready=on_ready))
        said = ""
        async with asyncio.timeout(PATIENCE_S):
            await ready.wait()
            while "extended" not in said:
                await asyncio.sleep(0)
                said += capsys.readouterr().out
            os.kill(os.getpid(), signal.SIGTERM)
            await serving
    lines = [line.split() for line in said.splitlines()]
    assert [line[0] for line in lines] == ["data", "admin", "mode", "engine"]
    assert (lines[0][1], lines[1][1]) == (told[0].data, told[0].admin)
    assert lines[2][1] == "on"
    assert lines[3][1] == url


async def test_a_second_signal_cuts_off_what_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "CLOSING_S", 0.2)
    ready: asyncio.Future[ServerAddresses] = asyncio.get_running_loop().create_future()
    engine = EmulatedEngine(decode_s_per_token=30)
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client, served(engine.app) as url:
        serving = asyncio.create_task(serve(settings_for(url), ready=ready.set_result))
        async with asyncio.timeout(PATIENCE_S):
            addresses = await ready
            call = asyncio.create_task(chat(client, addresses, "Ann"))
            metrics = ""
            while 'scalesim_running_calls{simulation="town"} 1' not in metrics:
                metrics = (await client.get(f"{addresses.admin}/metrics")).text
            os.kill(os.getpid(), signal.SIGINT)
            while not call.done() and (await port_is_open(addresses.data)):
                pass
            os.kill(os.getpid(), signal.SIGINT)
            await serving
            with pytest.raises(httpx.HTTPError):
                (await call).raise_for_status()


async def port_is_open(url: str) -> bool:
    address = httpx.URL(url)
    try:
        _, writer = await asyncio.open_connection(address.host, address.port)
    except OSError:
        return False
    writer.close()
    return True

"""Several proxies that serve one simulation by Redis: as processes, of which one is killed, or Redis is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scalesim.workloads.checked_calls import CheckedCall, Kind, checked_call
from tests.faults.cutter import Cutter
from tests.faults.town import (
    CALLS,
    Crowd,
    Process,
    Row,
    Town,
    all_are_right,
    calls_to,
    leaked,
    load_of,
    status_of,
    until,
)
from tests.proxy.state.servers import RedisServer, redis_server
from tests.support.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.slow]

AGENTS = 12
LEADS_WITHIN_S = 3.0


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


async def pair(
    town: Town, redis: RedisServer, *options: str, without: str | None = None
) -> tuple[list[Process], list[Process]]:
    """Two engines, and two proxies in front of both."""
    engines = await two_engines(town, *options)
    return engines, await proxies_of(town, engines, [redis.url()] * 2, without)


async def two_engines(town: Town, *options: str) -> list[Process]:
    return [await town.engine(*options) for _ in range(2)]


async def proxies_of(
    town: Town, engines: list[Process], redis_urls: list[str], without: str | None = None
) -> list[Process]:
    urls = {f"gpu-{number}": one.url for number, one in enumerate(engines)}
    proxies = await asyncio.gather(*(town.proxy(urls, "--redis", one, without=without) for one in redis_urls))
    await leader_of(proxies)
    return list(proxies)


async def role_of(proxy: Process) -> str:
    role: str = (await status_of(proxy))["group"]["role"]
    return role


async def leader_of(proxies: list[Process]) -> Process:
    async def leading() -> list[Process]:
        return [one for one in proxies if await role_of(one) == "leads"]

    found = await until(leading, bool, "leader")
    assert len(found) == 1
    return found[0]


async def agents_known(proxy: Process) -> int:
    """As the leader knows them, whoever is asked."""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
        answer = await http.get(f"{proxy.admin_url}/admin/v1/simulations")
        answer.raise_for_status()
        return sum(one["agents"] for one in answer.json()["simulations"])


def of_agents(proxy: Process, count: int, tokens: int, said: str) -> list[CheckedCall]:
    """Half of them streamed."""
    return [
        checked_call(
            str(proxy.place),
            f"agent {index}",
            f"What now? {said}",
            tokens,
            streams=index % 2 == 1,
            headers={"x-simulation-id": "town"},
        )
        for index in range(count)
    ]


async def cached(http: httpx.AsyncClient, proxy: Process, agent: int) -> bool:
    """Whether its memory was where the call went: no two agents begin alike."""
    words = " ".join(f"word{agent}-{number}" for number in range(40))
    answer = await http.post(
        f"{proxy.url}/v1/chat/completions",
        json={"model": "emulated", "messages": [{"role": "user", "content": words}], "max_tokens": 2},
        headers={"x-simulation-id": "town", "x-agent-id": f"agent {agent}"},
    )
    answer.raise_for_status()
    usage: dict[str, Any] = answer.json()["usage"]
    return (
        int((usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)) > usage["prompt_tokens"] / 2
    )


async def found_again(town: Town, redis: RedisServer, without: str | None = None) -> list[bool]:
    """Of calls whose agent called the other proxy before: at first, and after an engine was killed and came back."""
    engines, (one, other) = await pair(town, redis, "--decode-s-per-token", "0", without=without)
    agents = range(AGENTS)
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
        assert not any([await cached(http, one, agent) for agent in agents])
        found = [await cached(http, other, agent) for agent in reversed(agents)]
        engines[0].kill()
        for proxy in (one, other):
            await until(
                lambda proxy=proxy: status_of(proxy), lambda told: not _is_up(told, "gpu-0"), "its end"
            )
        for agent in agents:  # those that lived there find a new home
            await cached(http, one, agent)
        await engines[0].again(town.servers)
        for proxy in (one, other):
            await until(
                lambda proxy=proxy: status_of(proxy), lambda told: _is_up(told, "gpu-0"), "its return"
            )
        found += [await cached(http, other, agent) for agent in reversed(agents)]
        found += [await cached(http, one, agent) for agent in agents]
    return found


async def test_agents_keep_their_engine_whichever_proxy_they_call(town: Town, redis: RedisServer) -> None:
    assert all(await found_again(town, redis))


async def test_agents_do_not_keep_their_engine_if_proxies_place_each_by_itself(
    town: Town, redis: RedisServer
) -> None:
    assert not all(await found_again(town, redis, without="places_are_shared"))


async def test_when_the_leading_proxy_is_killed_amid_calls_only_those_in_it_are_lost_and_it_is_soon_replaced(
    town: Town, redis: RedisServer, rows: list[Row]
) -> None:
    engines, proxies = await pair(town, redis, "--decode-s-per-token", "0.1")
    leader = await leader_of(proxies)
    [other] = [one for one in proxies if one is not leader]
    crowds = [Crowd(one.place, of_agents(one, CALLS // 2, 60, f"at {one.port}")) for one in (leader, other)]
    asking = [asyncio.create_task(one.run()) for one in crowds]
    await until(lambda: _load(engines), lambda load: load >= CALLS, f"{CALLS} calls in the engines")
    await until(lambda: agents_known(leader), lambda count: count == CALLS // 2, "agents")
    leader.kill()
    killed_at = time.monotonic()
    await until(lambda: role_of(other), lambda role: role == "leads", "another leader")
    back_s = time.monotonic() - killed_at
    assert await agents_known(other) == CALLS // 2
    await asyncio.gather(*asking)
    lost, kept = (one.row("") for one in crowds)
    row = crowds[1].row("kill -9 of the leading proxy: calls in the other one")
    row.recovered_s = back_s
    row.leaked = await leaked(other)
    rows.append(row)
    assert kept.endings == {Kind.RIGHT: CALLS // 2}, kept.told
    assert lost.endings[Kind.WRONG] == lost.endings[Kind.RIGHT] == 0, lost.told
    assert back_s < LEADS_WITHIN_S
    assert not row.leaked

    # Who was killed is one of them again, and knows them all when it comes to lead.
    await leader.again(town.servers)
    assert await role_of(leader) == "follows"
    await all_are_right(leader.place, "afterwards")
    known = await agents_known(other)
    await asyncio.sleep(1.0)  # for it to write them down: nobody can be asked whether it did
    other.kill()
    killed_at = time.monotonic()
    await until(lambda: role_of(leader), lambda role: role == "leads", "the first leader")
    assert time.monotonic() - killed_at < LEADS_WITHIN_S
    assert await agents_known(leader) == known


async def test_when_the_leading_proxy_is_killed_nobody_leads_if_leases_do_not_end(
    town: Town, redis: RedisServer
) -> None:
    _, proxies = await pair(town, redis, without="leases_end")
    leader = await leader_of(proxies)
    [other] = [one for one in proxies if one is not leader]
    leader.kill()
    with pytest.raises(TimeoutError):
        await until(lambda: role_of(other), lambda role: role == "leads", "leader", 2 * LEADS_WITHIN_S)


async def leader_cut_off(
    town: Town, redis: RedisServer, without: str | None = None
) -> tuple[list[Row], bool]:
    """What became of the calls in the leading proxy and in the other one, and whether the first still led when the second did."""
    engines = await two_engines(town, "--decode-s-per-token", "0.1")
    async with Cutter(redis.port) as one_wire, Cutter(redis.port) as other_wire:
        wires = [one_wire, other_wire]
        urls = [f"redis://127.0.0.1:{wire.port}/0" for wire in wires]
        proxies = await proxies_of(town, engines, urls, without)
        leader = await leader_of(proxies)
        [other] = [one for one in proxies if one is not leader]
        wire = wires[proxies.index(leader)]
        crowds = [
            Crowd(one.place, of_agents(one, CALLS // 2, 60, f"at {one.port}")) for one in (leader, other)
        ]
        asking = [asyncio.create_task(one.run()) for one in crowds]
        await until(lambda: _load(engines), lambda load: load >= CALLS, f"{CALLS} calls in the engines")
        await until(lambda: agents_known(leader), lambda count: count == CALLS // 2, "agents")
        wire.stall()
        cut_at = time.monotonic()
        await until(lambda: role_of(other), lambda role: role == "leads", "another leader")
        back_s = time.monotonic() - cut_at
        await asyncio.sleep(1.0)  # a leader that hears nothing notices when its next question has no answer
        still_leads = await role_of(leader) == "leads"
        await asyncio.gather(*asking)
        rows = [
            one.row(f"wire between Redis and the leading proxy pulled: calls in {case}")
            for one, case in zip(crowds, ("it", "the other one"), strict=True)
        ]
        wire.heal()
        await until(
            lambda: status_of(leader), lambda told: not told["group"]["problem"], "end of the trouble"
        )
        if without is None:
            assert await leader_of(proxies) is other
            assert await agents_known(leader) == await agents_known(other) == CALLS // 2
            for row, one in zip(rows, (leader, other), strict=True):
                row.recovered_s, row.leaked = back_s, await leaked(one)
    return rows, still_leads


async def test_a_leading_proxy_whose_wire_to_redis_is_pulled_stops_and_no_call_is_lost(
    town: Town, redis: RedisServer, rows: list[Row]
) -> None:
    found, still_leads = await leader_cut_off(town, redis)
    rows += found
    assert not still_leads
    for row in found:
        assert row.endings == {Kind.RIGHT: CALLS // 2}, row.told
        assert not row.leaked


async def test_a_leading_proxy_whose_wire_to_redis_is_pulled_goes_on_leading_without_protection(
    town: Town, redis: RedisServer
) -> None:
    _, still_leads = await leader_cut_off(town, redis, without="leases_end_without_an_answer")
    assert still_leads


async def test_when_redis_is_killed_calls_are_lost_if_they_have_to_ask_it(
    town: Town, redis: RedisServer
) -> None:
    engines, proxies = await pair(
        town, redis, "--decode-s-per-token", "0.1", without="calls_do_without_redis"
    )
    crowd = Crowd(proxies[0].place, of_agents(proxies[0], CALLS // 4, 60, "and now?"))
    asking = asyncio.create_task(crowd.run())
    await until(lambda: _load(engines), lambda load: load >= CALLS // 4, "calls in the engines")
    redis.kill()
    await asking
    after = Crowd(proxies[0].place, of_agents(proxies[0], CALLS // 4, 2, "without Redis"))
    await after.run()
    assert after.row("").lost > 0


async def test_when_redis_is_killed_amid_calls_none_is_lost_and_all_is_known_again_when_an_empty_one_comes(
    town: Town, redis: RedisServer, rows: list[Row]
) -> None:
    engines, proxies = await pair(town, redis, "--decode-s-per-token", "0.1")
    leader = await leader_of(proxies)
    crowds = [Crowd(one.place, of_agents(one, CALLS // 2, 60, f"at {one.port}")) for one in proxies]
    asking = [asyncio.create_task(one.run()) for one in crowds]
    await until(lambda: _load(engines), lambda load: load >= CALLS, f"{CALLS} calls in the engines")
    await until(lambda: agents_known(leader), lambda count: count == CALLS // 2, "agents")
    redis.kill()
    await asyncio.gather(*asking)
    for one in proxies:
        await all_are_right(one.place, "without Redis")
        assert (await status_of(one))["group"]["problem"]
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
        await until(lambda: role_of(leader), lambda role: role == "follows", "end of the lease")
        told = await http.put(f"{leader.admin_url}/admin/v1/simulations/city")
        assert (told.status_code, told.headers["retry-after"]) == (503, "2")
    redis.start()
    at = time.monotonic()
    await leader_of(proxies)
    for one in proxies:
        await until(lambda one=one: agents_known(one), lambda count: count >= CALLS // 2, "agents")
    for case, crowd in zip(("leading", "other"), crowds, strict=True):
        row = crowd.row(f"kill -9 of Redis: calls in the {case} proxy")
        row.recovered_s = time.monotonic() - at
        rows.append(row)
        assert row.endings == {Kind.RIGHT: CALLS // 2}, row.told
    for one in proxies:
        await until(
            lambda one=one: status_of(one), lambda told: not told["group"]["problem"], "end of the trouble"
        )
        assert not await leaked(one)


async def _load(engines: list[Process]) -> float:
    return sum([await load_of(one) for one in engines])


def workers_of(proxy: Process) -> list[int]:
    children = Path(f"/proc/{proxy.pid}/task/{proxy.pid}/children")
    return [int(one) for one in children.read_text().split()]


async def test_four_workers_serve_on_one_port_and_one_that_is_killed_comes_back(
    town: Town, redis: RedisServer, rows: list[Row]
) -> None:
    engine = await town.engine("--decode-s-per-token", "0.05")
    proxy = await town.proxy(engine.url, "--redis", redis.url(), "--workers", "4")
    assert proxy.admin_url is not None
    first = int(proxy.admin_url.rpartition(":")[2])
    workers = [
        Process(proxy.server, proxy.start, proxy.port, f"http://127.0.0.1:{first + number}")
        for number in range(4)
    ]
    await until(lambda: _all_are_ready(workers), bool, "four workers")
    before = workers_of(proxy)
    assert len(before) == 4
    crowd = Crowd(proxy.place, calls_to(proxy.place, tokens=60))
    asking = asyncio.create_task(crowd.run())
    await until(lambda: load_of(engine), lambda load: load >= CALLS, f"{CALLS} calls in the engine")
    held = [(await status_of(one))["sizes"]["calls_in_flight"] for one in workers]
    assert sum(held) == CALLS
    assert min(held) > 0, "each has some of them"
    os.kill(before[0], signal.SIGKILL)
    at = time.monotonic()
    await until(
        lambda: _all_are_ready(workers),
        lambda are: are and before[0] not in workers_of(proxy),
        "four workers",
    )
    back_s = time.monotonic() - at
    await asking
    row = crowd.row("kill -9 of one worker of four")
    row.recovered_s = back_s
    after = workers_of(proxy)
    rows.append(row)
    assert len(after) == 4
    assert set(before) - set(after) == {before[0]}
    assert row.endings[Kind.WRONG] == 0
    assert row.lost in held, "those in the killed one, and no others"
    await all_are_right(proxy.place, "afterwards")

    last = Crowd(proxy.place, calls_to(proxy.place, tokens=30, said="at the end"))
    asking = asyncio.create_task(last.run())
    await until(lambda: load_of(engine), lambda load: load >= CALLS, f"{CALLS} calls in the engine")
    os.kill(proxy.pid, signal.SIGTERM)
    await asking
    assert last.row("").endings == {Kind.RIGHT: CALLS}, last.row("").told
    assert await asyncio.to_thread(proxy.server.process.wait, PATIENCE_S) == 0


async def test_a_worker_that_is_killed_is_missed_if_nobody_starts_it_again(
    town: Town, redis: RedisServer
) -> None:
    engine = await town.engine()
    options = ("--redis", redis.url(), "--workers", "2")
    proxy = await town.proxy(engine.url, *options, without="workers_come_back")
    before = workers_of(proxy)
    os.kill(before[1], signal.SIGKILL)

    async def come_back() -> bool:
        alive = workers_of(proxy)
        return len(alive) == 2 and alive != before

    with pytest.raises(TimeoutError):
        await until(come_back, bool, "a new worker", 2 * LEADS_WITHIN_S)


async def _all_are_ready(workers: list[Process]) -> bool:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
        return all([(await http.get(f"{one.admin_url}/readyz")).is_success for one in workers])


async def test_what_is_told_to_a_proxy_that_follows_reaches_the_leader_and_an_engine_that_is_registered_all(
    town: Town, redis: RedisServer
) -> None:
    _, proxies = await pair(town, redis)
    leader = await leader_of(proxies)
    [other] = [one for one in proxies if one is not leader]
    third = await town.engine()
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
        admin = f"{other.admin_url}/admin/v1"
        assert (await http.put(f"{admin}/simulations/city")).is_success
        body = {"unit": "steps", "distances": {"Ann": 3}, "create_agents": True}
        lines = json.dumps(body).encode() + b"\n"
        many = await http.post(
            f"{admin}/simulations/city/distances",
            content=lines,
            headers={"content-type": "application/x-ndjson"},
        )
        assert many.status_code == 200, many.text
        of_leader = await http.get(f"{leader.admin_url}/admin/v1/simulations/city/agents")
        assert [one["name"] for one in of_leader.json()["agents"]] == ["Ann"]
        registered = await http.post(f"{admin}/engines", json={"name": "gpu-9", "url": third.url})
        assert registered.status_code == 201, registered.text
        for one in proxies:
            await until(lambda one=one: status_of(one), lambda told: _is_up(told, "gpu-9"), "the new engine")
        assert (await http.delete(f"{admin}/engines/gpu-9")).status_code in (202, 204)
        for one in proxies:
            await until(lambda one=one: status_of(one), lambda told: not _is_up(told, "gpu-9"), "its end")


def _is_up(status: dict[str, Any], engine: str) -> bool:
    return any(one["engine"] == engine and one["up"] for one in status["engines"])

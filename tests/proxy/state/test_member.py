"""Members of one group on a real Redis: who leads, what they hear, what they know, and what becomes of it when something dies."""

from __future__ import annotations

import asyncio
import math
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis.asyncio

from scalesim.proxy.core.events import (
    AdapterAssigned,
    AdapterRegistered,
    AgentLeft,
    AgentPinned,
    CallEnded,
    CallStarted,
    DistanceHinted,
    EdgesGiven,
    EstimatorSet,
    HostCopySet,
    ModeSet,
    PolicySet,
    ReadingSet,
    SimulationEnded,
)
from scalesim.proxy.core.model import AgentName, Clock, EngineId, Mode, SimulationId
from scalesim.proxy.state.lease import TTL_S
from scalesim.proxy.state.store import NotTheLeader, StateAway
from tests.support.patience import PATIENCE_S

from .group import GPU, TOWN, Engine, Proxy, leader_of, leaders, running, until
from .servers import RedisServer, free_port, redis_server

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

FAILOVER_S = 3.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as one:
        yield one


@pytest.fixture
async def bounded(server: RedisServer) -> AsyncIterator[None]:
    """After the test nothing is in Redis that stays there for ever."""
    yield
    async with redis.asyncio.Redis.from_url(server.url(), protocol=2) as client:
        keys = [key async for key in client.scan_iter()]
        assert keys
        for_ever = [key for key in keys if await client.pttl(key) < 0]
        assert for_ever == []
        assert all(b"{test}" in key for key in keys)


async def settled(*proxies: Proxy) -> None:
    """All that was told until now is written down."""
    leader = await leader_of(*proxies)
    for one in proxies:
        await until(lambda one=one: one.member.sizes()["outbox"] == 0, "an empty outbox")
    before = leader.store.writes
    await until(lambda: leader.store.writes >= before + 3, "three writings")


@pytest.mark.usefixtures("bounded")
async def test_exactly_one_of_three_leads(server: RedisServer) -> None:
    proxies = [Proxy(name, server.url()) for name in "abc"]
    async with running(*proxies):
        leader = await leader_of(*proxies)
        until_then = time.monotonic() + 2.5
        while time.monotonic() < until_then:
            assert leaders(proxies) == [leader]
            await asyncio.sleep(0.01)
        assert [len(one.roles) for one in proxies if one is not leader] == [0, 0]
        others = [one for one in proxies if one is not leader]
        assert {one.member.status().leader_url for one in others} == {f"http://{leader.name}"}


@pytest.mark.usefixtures("bounded")
async def test_what_all_members_learn_arrives_once_and_in_the_order_of_each(server: RedisServer) -> None:
    proxies = [Proxy(name, server.url()) for name in "abc"]
    async with running(*proxies):
        leader = await leader_of(*proxies)
        for number in range(100):
            for one in proxies:
                one.call(f"{one.name}{number % 7}")
                one.member.post(
                    DistanceHinted(
                        time.monotonic(), TOWN, Clock.SECONDS, {AgentName(one.name): float(number)}
                    )
                )
            await asyncio.sleep(0)
        await until(lambda: len(leader.heard(CallEnded)) == 300, "all calls")
        for one in proxies:
            first = one.member.first_call
            own = [event.call for event in leader.heard(CallStarted) if first < event.call <= first + 100]
            assert own == [first + number for number in range(1, 101)]
            hints = [
                event.distances[one.name]
                for event in leader.heard(DistanceHinted)
                if one.name in event.distances
            ]
            assert hints == [float(number) for number in range(100)]
        assert len(leader.heard(CallStarted)) == 300
        assert leader.controller.totals().unknown_calls == 0
        assert [len(one.heard(CallStarted)) for one in proxies if one is not leader] == [0, 0]


@pytest.mark.usefixtures("bounded")
async def test_when_the_leader_dies_another_one_knows_its_agents_within_three_seconds(
    server: RedisServer,
) -> None:
    proxies = [Proxy(name, server.url(), ttl_s=TTL_S) for name in "abc"]
    async with running(*proxies):
        leader = await leader_of(*proxies)
        others = [one for one in proxies if one is not leader]
        for number in range(200):
            proxies[number % 3].call(f"agent-{number}", prompt=100 + number)
        call = others[0].start("runs")
        orphan = leader.start("orphan")
        await until(lambda: len(leader.heard(CallEnded)) == 200 and len(leader.names()) == 202, "all calls")
        await settled(*proxies)
        others[1].call("after the last writing")
        known = leader.agents()
        died_at = time.monotonic()
        await leader.crash()
        heir = await leader_of(*others)
        took_s = time.monotonic() - died_at
        assert took_s < FAILOVER_S
        found = heir.agents()
        assert found.keys() == known.keys() | {"after the last writing"}
        for name, one in known.items():
            now = found[name]
            assert (now.size_tokens, now.engine, now.activations) == (
                one.size_tokens,
                one.engine,
                one.activations,
            )
            assert now.used_at == pytest.approx(one.used_at, abs=0.05)
        assert heir.runs("runs") == 1
        others[0].end(call)
        await until(lambda: heir.runs("runs") == 0, "the end of the running call")
        assert heir.controller.totals().unknown_calls == 0
        assert heir.runs("orphan") == 1
        assert orphan in heir.controller.keeping.calls()
        heir.controller.check()


@pytest.mark.usefixtures("bounded")
async def test_a_leader_that_is_cut_off_stops_before_another_one_begins_and_can_write_nothing(
    server: RedisServer,
) -> None:
    engine, proxies = Engine(), [Proxy(name, server.url()) for name in "ab"]
    async with running(*proxies):
        old = await leader_of(*proxies)
        new = next(one for one in proxies if one is not old)
        old_token = old.member.lease.token
        assert old_token is not None
        assert engine.command(old_token, old.name)
        old.store.cut = True
        await until(lambda: not old.member.may_command(), "the end of the lease")
        stopped_at = time.monotonic()
        await until(new.member.may_command, "another leader")
        assert new.roles[0][0] > stopped_at
        new_token = new.member.lease.token
        assert new_token is not None
        assert engine.command(new_token, new.name)
        # What was on its way when it was stopped comes too late.
        assert not engine.command(old_token, old.name)
        old.store.cut = False
        with pytest.raises(NotTheLeader):
            await old.store.write(old_token, [("SET", old.store.keys.head, b"mine")])
        await until(lambda: not old.member.leads, "its release")
        assert leaders(proxies) == [new]


@pytest.mark.usefixtures("bounded")
async def test_who_was_stopped_may_not_command_even_before_its_loop_has_turned(server: RedisServer) -> None:
    one = Proxy("a", server.url())
    async with running(one):
        await leader_of(one)
        one.ahead_s = 60.0
        assert one.member.leads
        assert not one.member.may_command()
        one.ahead_s = 0.0
        assert one.member.may_command()


@pytest.mark.usefixtures("bounded")
async def test_who_finds_its_lease_over_and_gets_the_next_one_in_one_go_begins_anew(
    server: RedisServer,
) -> None:
    one = Proxy("a", server.url())
    async with running(one):
        await leader_of(one)
        one.call("Ann")
        await settled(one)
        first = one.member.lease.token
        async with redis.asyncio.Redis.from_url(server.url(), protocol=2) as client:
            await client.delete(one.store.keys.lease)  # its time ran out
        one.ahead_s += 60.0  # and this process was stopped meanwhile
        await until(lambda: one.member.lease.token not in (None, first), "the next lease")
        second = one.member.lease.token
        assert not one.member.may_command()
        await until(one.member.may_command, "its leading")
        assert [token for _, token in one.roles] == [first, None, second]
        one.call("Bob")
        await until(lambda: one.names() == {"Ann", "Bob"}, "both")


@pytest.mark.usefixtures("bounded")
async def test_an_engine_that_has_seen_a_time_to_come_obeys_the_next_lease(server: RedisServer) -> None:
    one, engine = Proxy("a", server.url(), ttl_s=1.0), Engine(highest=2 * int(time.time() * 1000))
    async with running(one):
        await leader_of(one)
        token = one.member.lease.token
        assert token is not None
        assert not engine.command(token, "a")
        one.member.outranked(engine.highest)
        assert not one.member.may_command()
        await until(one.member.may_command, "the next lease")
        token = one.member.lease.token
        assert token is not None
        assert engine.command(token, "a")


@pytest.mark.usefixtures("bounded")
async def test_the_stream_holds_no_more_than_what_is_not_written_down(server: RedisServer) -> None:
    one = Proxy("a", server.url())
    async with running(one), redis.asyncio.Redis.from_url(server.url(), protocol=2) as client:
        await leader_of(one)
        for number in range(250):
            one.call(f"agent-{number % 5}")
            await until(lambda: one.member.sizes()["outbox"] == 0, "an empty outbox")
        await settled(one)
        await settled(one)
        # Whole nodes of a hundred entries are dropped.
        assert await client.xlen(one.store.keys.events) <= 200


@pytest.mark.usefixtures("bounded")
async def test_a_former_leader_does_not_take_what_it_could_not_write_for_what_its_heir_wrote(
    server: RedisServer,
) -> None:
    proxies = [Proxy(name, server.url()) for name in "ab"]
    async with running(*proxies):
        old = await leader_of(*proxies)
        heir = next(one for one in proxies if one is not old)
        old.member.post(ModeSet(time.monotonic(), TOWN, Mode.SHADOW))
        await settled(*proxies)
        await until(lambda: heir.controller.mode(TOWN) is Mode.SHADOW, "the mode")
        old.store.cuts = "log:simulations"
        old.member.post(ReadingSet(time.monotonic(), TOWN, None))
        old.member.post(ModeSet(time.monotonic(), TOWN, Mode.OFF))
        await until(lambda: old.member.facts.tables["simulations"].is_unsure, "what is not written")
        old.store.cut = True  # and nobody hears of it
        await until(heir.member.may_command, "another leader")
        await until(lambda: not old.member.leads, "its release")
        # Until it has written as many pieces as the other one could not write.
        lost, written = (one.member.facts.tables["simulations"] for one in (old, heir))
        while written.version.number + 1 < lost.version.number:
            before = written.version
            wanted = bool(before.number % 2)
            heir.member.post(HostCopySet(time.monotonic(), TOWN, None, "lora", wanted))
            await until(lambda before=before: written.version != before, "a piece")
        heir.member.post(ModeSet(time.monotonic(), TOWN, Mode.ON))
        await settled(heir)
        old.store.cut, old.store.cuts = False, None
        await until(lambda: old.controller.mode(TOWN) is Mode.ON, "the mode of the heir")


@pytest.mark.usefixtures("bounded")
async def test_a_leader_does_not_read_back_what_it_writes(server: RedisServer) -> None:
    one = Proxy("a", server.url())
    async with running(one):
        await leader_of(one)
        await settled(one)
        table = one.member.facts.tables["places"]
        table.put("town/a1", b"gpu-9")
        assert table.take(1) is not None, "it is on its way"
        one.member._following._seen = None  # as after what an operator told
        await one.member._following.look()
        assert table.get("town/a1") == b"gpu-9"


@pytest.mark.usefixtures("bounded")
async def test_edges_that_there_is_no_room_for_take_none_in_redis(server: RedisServer) -> None:
    one = Proxy("a", server.url(), edges=3)
    edges = [(AgentName(f"a{number}"), AgentName(f"a{number + 1}")) for number in range(3)]
    async with running(one), redis.asyncio.Redis.from_url(server.url(), protocol=2) as client:
        await leader_of(one)
        for _ in range(50):
            one.member.post(EdgesGiven(time.monotonic(), TOWN, edges))
        await until(lambda: one.controller.graph_size(TOWN) == (4, 3), "the graph")
        await settled(one)
        assert await client.llen(one.store.keys.graph(TOWN)) == 1


@pytest.mark.usefixtures("bounded")
async def test_a_former_leader_forgets_what_has_grown_old_and_may_lead_again(server: RedisServer) -> None:
    proxies = [Proxy(name, server.url()) for name in "ab"]
    async with running(*proxies):
        old = await leader_of(*proxies)
        new = next(one for one in proxies if one is not old)
        old.call("Ann")
        old.member.post(ModeSet(time.monotonic(), TOWN, Mode.SHADOW))
        await settled(*proxies)
        old.store.cut = True
        await until(new.member.may_command, "another leader")
        new.call("Bob")
        old.store.cut = False
        await until(lambda: not old.names(), "its forgetting")
        assert old.controller.mode(TOWN) is Mode.SHADOW
        await settled(*proxies)
        new.store.cut = True
        await until(old.member.may_command, "the first leader again")
        assert old.names() == {"Ann", "Bob"}


@pytest.mark.usefixtures("bounded")
async def test_who_leads_again_does_not_keep_the_places_of_those_who_left_meanwhile(
    server: RedisServer,
) -> None:
    proxies = [Proxy(name, server.url()) for name in "ab"]
    async with running(*proxies):
        old = await leader_of(*proxies)
        new = next(one for one in proxies if one is not old)
        old.call("Ann")
        old.call("Zoe")
        await settled(*proxies)
        assert old.member.sizes()["homes"] == 2
        old.store.cut = True
        await until(new.member.may_command, "another leader")
        new.member.post(AgentLeft(time.monotonic(), TOWN, AgentName("Zoe")))
        old.store.cut = False
        await until(lambda: not old.names(), "its forgetting")
        assert old.member.sizes()["homes"] == 0
        await settled(*proxies)
        new.store.cut = True
        await until(old.member.may_command, "the first leader again")
        assert old.names() == {"Ann"}
        assert old.member.sizes()["homes"] == 1


@pytest.mark.usefixtures("bounded")
async def test_what_operators_tell_one_member_all_members_know(server: RedisServer) -> None:
    proxies = [Proxy(name, server.url()) for name in "abc"]
    async with running(*proxies):
        leader = await leader_of(*proxies)
        one, other = (proxy for proxy in proxies if proxy is not leader)
        at = time.monotonic()
        for path in ("/one", "/two"):
            one.member.post(AdapterRegistered(at, "poet", path))
        one.member.post(AdapterAssigned(at, TOWN, AgentName("Ann"), "poet"))
        one.member.post(ModeSet(at, TOWN, Mode.OFF))
        assert one.controller.mode(TOWN) is Mode.OFF
        assert one.controller.adapter_of(TOWN, AgentName("Ann")) == "poet@2"
        await until(lambda: other.controller.adapter_of(TOWN, AgentName("Ann")) == "poet@2", "the adapter")
        await until(lambda: other.controller.mode(TOWN) is Mode.OFF, "the mode")
        assert leader.controller.adapter_of(TOWN, AgentName("Ann")) == "poet@2"
        other.member.post(AdapterAssigned(time.monotonic(), TOWN, AgentName("Ann"), None))
        await until(lambda: one.controller.adapter_of(TOWN, AgentName("Ann")) is None, "its end")
        assert other.controller.adapter_of(TOWN, AgentName("Ann")) is None


@pytest.mark.usefixtures("bounded")
async def test_what_operators_chose_is_in_force_with_the_next_leader(server: RedisServer) -> None:
    proxies = [Proxy(name, server.url(), ttl_s=TTL_S) for name in "ab"]
    async with running(*proxies):
        leader = await leader_of(*proxies)
        leader.call("Ann")
        at, ann = time.monotonic(), AgentName("Ann")
        for event in (
            EstimatorSet(at, TOWN, "gap"),
            PolicySet(at, GPU, "lru"),
            PolicySet(at, None, "cost_aware"),
            AgentPinned(at, TOWN, ann, math.inf, "the judge"),
        ):
            leader.member.post(event)
        await settled(*proxies)
        await leader.crash()
        heir = await leader_of(*(one for one in proxies if one is not leader))
        ((simulation, pinned),) = heir.controller.pins(0, 10)
        assert (simulation, pinned.name, pinned.pin and pinned.pin.reason) == (TOWN, "Ann", "the judge")
        assert [one.estimator for one in heir.controller.simulations()] == ["gap"]
        assert (heir.controller.policy(GPU), heir.controller.policy()) == ("lru", "cost_aware")
        heir.controller.check()


@pytest.mark.usefixtures("bounded")
async def test_members_place_agents_where_their_memory_is(server: RedisServer) -> None:
    proxies = [Proxy(name, server.url()) for name in "ab"]
    engines = [EngineId(f"gpu-{number}") for number in range(4)]
    for one in proxies:
        one.fleet.parts = {name: {"part": 1.0} for name in engines}
    async with running(*proxies):
        leader = await leader_of(*proxies)
        other = next(one for one in proxies if one is not leader)
        await until(lambda: len(other.member.engines()) == 4, "the engines")
        homes = {f"a{number}": engines[number % 4] for number in range(40)}
        for agent, engine in homes.items():
            leader.call(agent, engine=engine)
        await until(
            lambda: all(other.member.home_of(f"town/{agent}") == home for agent, home in homes.items()),
            "all homes",
        )
        exceptions = other.member.sizes()["shared_places"]
        assert 0 < exceptions < len(homes)
        # One engine leaves, and its agents are no exceptions to anything that is known of the others.
        leader.fleet.parts = {name: {"part": 1.0} for name in engines[1:]}
        await until(lambda: len(other.member.engines()) == 3, "three engines")
        stay = {agent: home for agent, home in homes.items() if home != engines[0]}
        await until(
            lambda: all(other.member.home_of(f"town/{agent}") == home for agent, home in stay.items()),
            "who stays",
        )


@pytest.mark.usefixtures("bounded")
async def test_a_redis_that_is_started_anew_and_empty_learns_all_again(server: RedisServer) -> None:
    proxies = [Proxy(name, server.url()) for name in "abc"]
    async with running(*proxies):
        leader = await leader_of(*proxies)
        others = [one for one in proxies if one is not leader]
        for number in range(60):
            proxies[number % 3].call(f"agent-{number}")
        call = others[0].start("runs")
        ended = others[1].start("ends meanwhile")
        await until(lambda: len(leader.names()) == 62, "all agents")
        await settled(*proxies)
        token = leader.member.lease.token
        assert token is not None
        server.kill()
        await until(lambda: not leaders(proxies), "nobody to lead")
        others[1].end(ended)
        others[0].call("while it was away")
        server.start()
        again = await leader_of(*proxies)
        assert again is leader
        assert (again.member.lease.token or 0) > token
        await until(lambda: "while it was away" in leader.names(), "what was told meanwhile")
        await until(lambda: leader.runs("ends meanwhile") == 0, "the end")
        assert leader.runs("runs") == 1
        assert len(leader.names()) == 63
        await settled(*proxies)
        await leader.crash()
        heir = await leader_of(*others)
        assert len(heir.names()) == 63
        others[0].end(call)
        await until(lambda: heir.runs("runs") == 0, "the end of the running call")


@pytest.mark.usefixtures("bounded")
async def test_while_redis_hangs_nobody_commands_and_serving_goes_on(server: RedisServer) -> None:
    proxies = [Proxy(name, server.url()) for name in "ab"]
    async with running(*proxies):
        leader = await leader_of(*proxies)
        other = next(one for one in proxies if one is not leader)
        await until(other.member.engines, "the engines")
        server.stop()
        try:
            stopped_at = time.monotonic()
            await until(lambda: not leaders(proxies), "nobody to lead")
            assert time.monotonic() - stopped_at < 4.1
            began = time.perf_counter()
            for number in range(200):
                other.call(f"agent-{number}")
            assert time.perf_counter() - began < 1.0
            assert other.member.home_of("town/agent-1") == GPU
        finally:
            server.go_on()
        await until(lambda: leaders(proxies), "a leader again")
        again = leaders(proxies)[0]
        await until(lambda: len(again.names()) == 200, "all that was told meanwhile")
        assert not any(one.running_calls for one in again.agents().values())


@pytest.mark.usefixtures("bounded")
async def test_the_calls_of_a_member_that_died_are_ended(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scalesim.proxy.state.senders.SILENT_S", 1.5)
    proxies = [Proxy(name, server.url()) for name in "ab"]
    async with running(*proxies):
        leader = await leader_of(*proxies)
        other = next(one for one in proxies if one is not leader)
        other.start("Ann")
        await until(lambda: leader.runs("Ann"), "the call")
        await other.crash()
        await until(lambda: leader.runs("Ann") == 0, "its end")
        await settled(leader)


@pytest.mark.usefixtures("bounded")
async def test_a_graph_is_known_to_the_next_leader(server: RedisServer) -> None:
    proxies = [Proxy(name, server.url()) for name in "ab"]
    async with running(*proxies):
        leader = await leader_of(*proxies)
        heir = next(one for one in proxies if one is not leader)
        edges = [(AgentName(f"a{number}"), AgentName(f"a{number + 1}")) for number in range(300)]
        for start in range(0, 300, 50):
            heir.member.post(EdgesGiven(time.monotonic(), TOWN, edges[start : start + 50]))
        await until(lambda: leader.controller.graph_size(TOWN) == (301, 300), "the graph")
        await settled(*proxies)
        await leader.crash()
        await leader_of(heir)
        assert heir.controller.graph_size(TOWN) == (301, 300)


@pytest.mark.usefixtures("bounded")
async def test_a_member_that_ends_gives_the_lease_back_at_once(server: RedisServer) -> None:
    proxies = [Proxy(name, server.url()) for name in "ab"]
    async with running(*proxies):
        leader = await leader_of(*proxies)
        other = next(one for one in proxies if one is not leader)
        call = leader.start("Ann")
        await settled(*proxies)
        assert leader.task is not None
        ended_at = time.monotonic()
        leader.task.cancel()
        await until(other.member.may_command, "another leader")
        assert time.monotonic() - ended_at < 1.0
        await until(lambda: other.runs("Ann") == 0, "the end of its calls")
        assert call not in other.controller.keeping.calls()


@pytest.mark.usefixtures("bounded")
async def test_a_simulation_that_ended_leaves_nothing_behind(server: RedisServer) -> None:
    one = Proxy("a", server.url())
    async with running(one), redis.asyncio.Redis.from_url(server.url(), protocol=2) as client:
        await leader_of(one)
        for number in range(50):
            one.call(f"agent-{number}")
        one.member.post(ModeSet(time.monotonic(), TOWN, Mode.SHADOW))
        await settled(one)
        assert [key async for key in client.scan_iter("*:agents:*")]
        one.member.post(SimulationEnded(time.monotonic(), TOWN))
        await settled(one)
        assert [key async for key in client.scan_iter("*:agents:*")] == []
        assert await client.hkeys(one.store.keys.learned) == []
        assert await client.hkeys(one.store.keys.table("simulations")) == []


async def test_groups_do_not_hear_each_other(server: RedisServer) -> None:
    one, other = Proxy("a", server.url(), "one"), Proxy("b", server.url(), "two")
    async with running(one, other):
        await until(lambda: len(leaders([one, other])) == 2, "two leaders")
        one.call("Ann")
        await until(lambda: one.names(), "the call")
        await asyncio.sleep(0.1)
        assert not other.controller.knows(TOWN)


async def test_a_wrong_password_is_a_problem_that_is_told(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--requirepass", "secret") as server:
        one = Proxy("a", server.url(":wrong@"))
        async with running(one):
            await until(
                lambda: "assword" in one.member.status().problem or "AUTH" in one.member.status().problem
            )
            assert not one.member.leads
            one.call("Ann")
            assert one.member.sizes()["outbox"] >= 2


async def test_with_the_password_it_works(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--requirepass", "secret") as server:
        one = Proxy("a", server.url(":secret@"))
        async with running(one):
            await leader_of(one)
            one.call("Ann")
            await until(lambda: one.names(), "the call")


def certificate(folder: Path) -> Path:
    """Of 127.0.0.1, signed by itself; its key lies beside it."""
    file = folder / "redis.pem"
    made = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    whose = ("-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    subprocess.run(
        [*made, *whose, "-keyout", folder / "redis.key", "-out", file], check=True, capture_output=True
    )
    return file


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[RedisServer]:
    file, port = certificate(tmp_path), free_port()
    keys = ("--tls-cert-file", str(file), "--tls-key-file", str(tmp_path / "redis.key"))
    own = ("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", "--requirepass", "secret")
    with redis_server(tmp_path, *own, *keys, port=port) as server:
        yield server


async def test_over_tls_the_certificate_is_checked(tls_server: RedisServer) -> None:
    trusted = tls_server.url(":secret@", "rediss", f"?ssl_ca_certs={tls_server.folder / 'redis.pem'}")
    one, other = Proxy("a", trusted), Proxy("b", tls_server.url(":secret@", "rediss"))
    async with running(one, other):
        await until(one.member.may_command, "a leader")
        one.call("Ann")
        await until(one.names, "the call")
        await until(lambda: "certificate" in other.member.status().problem, "a refusal")
        assert not other.member.leads


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisServer]:
    """Of one node, with all slots."""
    with (
        redis_server(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server,
        socket.create_connection(("127.0.0.1", server.port)) as link,
    ):
        link.sendall(b"CLUSTER ADDSLOTSRANGE 0 16383\r\n")
        assert link.recv(100) == b"+OK\r\n"
        answer = b""
        while b"cluster_state:ok" not in answer:
            link.sendall(b"CLUSTER INFO\r\n")
            answer = link.recv(10_000)
        yield server


@pytest.fixture
def cluster_of_three(tmp_path: Path) -> Iterator[RedisServer]:
    """One of its nodes. Which of them has the group follows from its name."""
    with ExitStack() as servers:
        nodes = []
        for name in ("one", "two", "three"):
            (folder := tmp_path / name).mkdir()
            own = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
            nodes.append(servers.enter_context(redis_server(folder, *own)))
        made = ("redis-cli", "--cluster", "create", *(f"127.0.0.1:{node.port}" for node in nodes))
        if shutil.which("redis-cli") is None:
            pytest.skip("redis-cli is not installed")
        subprocess.run([*made, "--cluster-yes"], check=True, capture_output=True, timeout=PATIENCE_S)
        yield nodes[0]


async def test_on_a_cluster_it_works_as_on_one_redis(cluster: RedisServer) -> None:
    await the_heir_knows_what_was_told(cluster.url(), "test")


@pytest.mark.slow
@pytest.mark.parametrize("group", ["a", "b", "test"])
async def test_in_a_cluster_of_three_a_group_is_on_one_node(
    cluster_of_three: RedisServer, group: str
) -> None:
    await the_heir_knows_what_was_told(cluster_of_three.url(), group)


async def the_heir_knows_what_was_told(url: str, group: str) -> None:
    proxies = [Proxy(name, url, group) for name in "ab"]
    async with running(*proxies):
        leader = await leader_of(*proxies)
        heir = next(one for one in proxies if one is not leader)
        for number in range(20):
            proxies[number % 2].call(f"agent-{number}")
        at = time.monotonic()
        heir.member.post(AdapterRegistered(at, "poet", "/poet"))
        heir.member.post(AdapterAssigned(at, TOWN, AgentName("agent-1"), "poet"))
        await until(lambda: leader.controller.adapter_of(TOWN, AgentName("agent-1")), "the adapter")
        await until(lambda: len(leader.names()) == 20, "all calls")
        await settled(*proxies)
        await leader.crash()
        await leader_of(heir)
        assert len(heir.names()) == 20
        assert heir.controller.adapter_of(TOWN, AgentName("agent-1")) == "poet"


async def test_what_is_no_redis_is_a_problem_that_is_told(tmp_path: Path) -> None:
    one = Proxy("a", "redis://127.0.0.1:1/0")
    async with running(one):
        await until(lambda: "onnect" in one.member.status().problem)
        with pytest.raises(StateAway):
            await one.store.time()
        assert SimulationId("town") not in one.controller.keeping.simulations()

"""A front end and two engines behind it, none of which is real: what each of them is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters import front
from scalesim.engine_adapters.base import EngineRefused, EngineUnreachable, Fence, FenceLost
from scalesim.engine_adapters.control_calls import ControlCalls
from scalesim.engine_adapters.front import FrontAdapter
from scalesim.engine_adapters.front_kinds import KINDS, key_of
from scalesim.proxy.core.actions import (
    Action,
    DropAdapter,
    Evict,
    FetchAdapter,
    Load,
    Order,
    Pin,
    Renew,
    StopLoad,
    Unpin,
)
from scalesim.proxy.core.model import (
    KV_PREFIX,
    LORA,
    AdapterName,
    Capabilities,
    EngineId,
    EngineReport,
    LoadResult,
    LoadState,
    MemoryId,
    MemoryReport,
    Owner,
)
from tests.support.fake_adapter import EXTENDED, FakeAdapter

pytestmark = pytest.mark.anyio

MAIN = EngineId("main")
A, B = "http://a:1", "http://b:1"
ANN, BOB, CYD = Owner("town/Ann"), Owner("town/Bob"), Owner("town/Cyd")
CHAT = "/v1/chat/completions"
FENCE = Fence(1, 0)
ALL = replace(EXTENDED, features=EXTENDED.features | {"load_kv_prefix", "load_lora", "fetch_adapters"})
PREFIX = MemoryId(KV_PREFIX, ANN)


def report(*owners: Owner, boot_id: str = "boot-1") -> EngineReport:
    memories = {MemoryId(KV_PREFIX, owner): MemoryReport(10, 5) for owner in owners}
    return EngineReport(boot_id, True, frozenset(), 0, 1000, (), memories)


class Rig:
    def __init__(self, kind: str, urls: tuple[str, ...], hints: dict[str, object] | None) -> None:
        self.health: int | Exception = 200
        self.asked: list[str] = []

        def answer(request: httpx.Request) -> httpx.Response:
            self.asked.append(str(request.url))
            if isinstance(self.health, Exception):
                raise self.health
            return httpx.Response(self.health)

        self.client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        self.engines = {url: FakeAdapter(url, engine=url) for url in urls}
        for one in self.engines.values():
            one.capabilities, one.next_report = ALL, report()
        itself = FakeAdapter("http://front:1", engine=MAIN)
        calls = ControlCalls(MAIN, itself.base_url, self.client, deadline_s=0.2)
        self.front = FrontAdapter(KINDS[kind], calls, itself, self.engines.values(), hints=hints)

    async def carry_out(self, action: Action) -> LoadResult | None:
        return await self.front.carry_out(action, FENCE)

    def heard(self, owner: Owner, url: str) -> None:
        self.front.heard(owner, [(b"x-smg-routed-worker-id", url.encode())])

    def told(self, url: str) -> list[Action]:
        return [action for action, _ in self.engines[url].actions]

    def homes(self) -> dict[str, int]:
        return {one.base_url: one.agents for one in self.front.behind()}


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with made() as one:
        yield one


class made:
    def __init__(self, kind: str = "smg", *urls: str, hints: dict[str, object] | None = None) -> None:
        self._rig = Rig(kind, urls or (A, B), hints)

    async def __aenter__(self) -> Rig:
        await self._rig.front.probe()
        return self._rig

    async def __aexit__(self, *exc: object) -> None:
        await self._rig.client.aclose()


# What a call is given


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("smg", b"x-smg-routing-key"),
        ("sglang-router", b"x-smg-routing-key"),
        ("dynamo", b"x-dynamo-session-id"),
    ],
)
async def test_each_kind_is_told_the_agent_in_its_own_words(kind: str, header: bytes) -> None:
    async with made(kind) as rig:
        assert rig.front.headers(ANN) == ((header, key_of(ANN).encode()),)


@pytest.mark.parametrize(
    ("kind", "path", "kept"),
    [
        ("smg", CHAT, {"rid", "lora_path"}),
        ("smg", "/v1/responses", set()),
        ("smg", "/v1/embeddings", {"rid"}),
        ("sglang-router", CHAT, {"lora_path"}),
        ("sglang-router", "/v1/completions", {"rid", "lora_path"}),
        ("sglang-router", "/generate", {"rid", "lora_path"}),
        ("dynamo", CHAT, set()),
    ],
)
async def test_fields_that_would_be_dropped_or_refused_are_left_out(
    kind: str, path: str, kept: set[str]
) -> None:
    async with made(kind) as rig:
        added = rig.front.additions(path, {}, ANN, "an-id", AdapterName("pirate"))
        assert set(added) == kept


async def test_an_id_that_is_read_for_the_key_is_a_turn_of_it() -> None:
    unique = "0" * 31 + "f"
    async with made("smg") as rig:
        assert rig.front.request_id(ANN, unique) == f"{key_of(ANN)}_t15"
    async with made("sglang-router") as rig:
        assert rig.front.request_id(ANN, unique) == unique


async def test_hints_go_with_every_call_that_has_none() -> None:
    async with made("dynamo", hints={"priority": 5}) as rig:
        added = rig.front.additions(CHAT, {"model": "m"}, None, "id")
        assert added == {"nvext": {"agent_hints": {"priority": 5}}}
        assert rig.front.additions("/v1/embeddings", {}, None, "id") == {}
        own = {"nvext": {"agent_hints": {"priority": 1}}}
        assert rig.front.additions(CHAT, own, None, "id") == {}, "the client's stay"


async def test_an_adapter_that_is_dropped_on_the_way_does_not_count() -> None:
    async with made("smg") as rig:
        assert rig.front.adapter_of(CHAT, {"lora_path": "pirate"}) == "pirate"
        assert rig.front.adapter_of("/v1/embeddings", {"lora_path": "pirate"}) is None


# What it is


async def test_it_is_as_large_as_its_engines_together(rig: Rig) -> None:
    found = await rig.front.probe()
    assert (found.kind, found.capacity_tokens, found.extended) == ("smg", 2000, True)
    assert rig.asked == ["http://front:1/health"] * 2
    assert rig.front.engine == MAIN
    assert rig.front.base_url == "http://front:1"


@pytest.mark.parametrize("health", [503, httpx.ConnectError("refused")])
async def test_a_front_end_that_does_not_answer_is_unreachable_however_its_engines_are(
    rig: Rig, health: int | Exception
) -> None:
    rig.health = health
    with pytest.raises(EngineUnreachable, match="GET /health"):
        await rig.front.probe()


async def test_without_engines_it_serves_and_can_nothing() -> None:
    one = Rig("smg", (), None)
    found = await one.front.probe()
    assert (found.features, found.reason) == (frozenset(), "no engines are listed behind it")
    with pytest.raises(EngineUnreachable):
        await one.front.report()
    await one.front.abort("id")
    assert [card["id"] for card in await one.front.models()] == ["fake-model"]  # type: ignore[index]
    await one.client.aclose()


async def test_an_engine_that_falls_silent_is_seen_by_the_next_report(rig: Rig) -> None:
    known = await rig.front.probe()
    assert (await rig.front.report()).boot_id == known.boot_id
    rig.engines[A].down = "refused"
    changed = await rig.front.report()
    assert changed.boot_id != known.boot_id
    again = await rig.front.probe()
    assert again.boot_id == changed.boot_id
    assert (again.capacity_tokens, again.reason) == (1000, f"{A}: no answer")
    assert [one.up for one in rig.front.behind()] == [False, True]
    assert "refused" in rig.front.behind()[0].problem


async def test_an_engine_that_is_back_is_seen_by_the_next_report(rig: Rig) -> None:
    rig.engines[A].down = "refused"
    known = await rig.front.probe()
    assert (await rig.front.report()).boot_id == known.boot_id
    rig.engines[A].down = None
    assert (await rig.front.report()).boot_id != known.boot_id
    assert (await rig.front.probe()).capacity_tokens == 2000


async def test_a_restart_of_one_is_seen_by_the_next_report(rig: Rig) -> None:
    known = await rig.front.probe()
    rig.engines[A].next_report = report(boot_id="boot-2")
    assert (await rig.front.report()).boot_id != known.boot_id


async def test_an_engine_that_hangs_holds_up_the_others_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "GONE_S", 0.001)
    never = asyncio.Event()
    hung = rig.engines[A]

    async def hangs() -> Any:
        await never.wait()

    monkeypatch.setattr(hung, "report", hangs)
    monkeypatch.setattr(hung, "probe", hangs)
    first = await rig.front.report()
    assert "http://b:1" in first.boot_id
    assert "http://a:1" not in first.boot_id
    async with asyncio.timeout(0.1):
        await rig.front.report()


async def test_what_a_front_end_drops_is_told_unless_its_engines_can_do_without() -> None:
    async with made("sglang-router") as rig:
        assert "passes the agent's name on" in (await rig.front.probe()).reason
        for one in rig.engines.values():
            one.capabilities = replace(ALL, features=ALL.features | {"routing_keys"})
        assert (await rig.front.probe()).extended


# Who is told what


async def test_as_long_as_nobody_knows_where_calls_go_all_engines_are_told_of_everybody(rig: Rig) -> None:
    order = Order(MAIN, ((ANN, 1.0), (BOB, 2.0)), no_host_copy=(BOB,))
    await rig.carry_out(order)
    assert rig.told(A) == rig.told(B) == [order]


async def test_an_agent_is_told_of_where_its_calls_go(rig: Rig) -> None:
    rig.heard(ANN, A)
    rig.heard(BOB, f"{B}/@3")  # a part of an engine that runs in parallel
    await rig.carry_out(Order(MAIN, ((ANN, 1.0), (BOB, 2.0), (CYD, 3.0)), no_host_copy=(ANN, BOB)))
    await rig.carry_out(Pin(MAIN, (ANN,)))
    assert rig.told(A) == [
        Order(MAIN, ((ANN, 1.0), (CYD, 3.0)), no_host_copy=(ANN,)),
        Pin(MAIN, (ANN,)),
    ]
    assert rig.told(B) == [Order(MAIN, ((BOB, 2.0), (CYD, 3.0)), no_host_copy=(BOB,))]
    assert rig.homes() == {A: 1, B: 1}


@pytest.mark.parametrize("said", ["http://elsewhere:1", "", "\xff", "grpc://a:1"])
async def test_an_engine_that_is_not_listed_is_nobody_s_home(rig: Rig, said: str) -> None:
    rig.front.heard(ANN, [(b"X-SMG-Routed-Worker-Id", said.encode("latin-1"))])
    assert rig.homes() == {A: 0, B: 0}


async def test_the_name_of_a_header_may_be_in_any_case(rig: Rig) -> None:
    rig.front.heard(ANN, [(b"other", b"x"), (b"X-SMG-Routed-Worker-Id", A.encode())])
    assert rig.homes() == {A: 1, B: 0}


async def test_when_calls_go_elsewhere_the_order_is_asked_for_anew(rig: Rig) -> None:
    rig.heard(ANN, A)
    assert (await rig.front.report()).plan_in_force
    rig.heard(ANN, A)
    assert (await rig.front.report()).plan_in_force
    rig.heard(ANN, B)
    assert not (await rig.front.report()).plan_in_force
    await rig.carry_out(Order(MAIN, ((ANN, 1.0),)))
    assert (await rig.front.report()).plan_in_force
    assert rig.told(B) == [Order(MAIN, ((ANN, 1.0),))]


async def test_where_answers_do_not_tell_reports_do() -> None:
    async with made("sglang-router") as rig:
        rig.heard(ANN, A)
        assert rig.homes() == {A: 0, B: 0}, "it says no such thing"
        rig.engines[A].next_report, rig.engines[B].next_report = report(ANN), report(BOB, CYD)
        await rig.front.report()
        assert rig.homes() == {A: 1, B: 2}


async def test_homes_of_an_engine_that_is_gone_and_of_agents_that_left_are_forgotten(rig: Rig) -> None:
    for owner, url in ((ANN, A), (BOB, B), (CYD, B)):
        rig.heard(owner, url)
    rig.front.forget(CYD)
    rig.engines[A].down = "refused"
    await rig.front.report()
    assert rig.homes() == {A: 0, B: 1}
    assert rig.front.sizes() == {"homes_behind_fronts": 1}


async def test_homes_are_bounded_and_the_longest_unheard_goes_first(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "HOMES", 2)
    for owner in (ANN, BOB, ANN, CYD):
        rig.heard(owner, A)
    assert rig.front.sizes() == {"homes_behind_fronts": 2}
    await rig.carry_out(Pin(MAIN, (ANN, BOB)))
    assert rig.told(B) == [Pin(MAIN, (BOB,))], "nobody knows any more"


@pytest.mark.parametrize(
    "action",
    [
        Renew(MAIN),
        Unpin(MAIN, (ANN,)),
        Evict(MAIN, (ANN,)),
        StopLoad(MAIN, PREFIX),
        FetchAdapter(MAIN, AdapterName("pirate"), "/pirate"),
        DropAdapter(MAIN, AdapterName("pirate")),
        Load(MAIN, MemoryId(LORA, "pirate"), 1.0, 5.0),
    ],
    ids=lambda action: type(action).__name__,
)
async def test_the_rest_is_for_all(rig: Rig, action: Action) -> None:
    rig.heard(ANN, A)
    await rig.carry_out(action)
    assert rig.told(A) == rig.told(B) == [action]


async def test_a_prefix_is_loaded_where_it_was_seen_and_calls_go(rig: Rig) -> None:
    load = Load(MAIN, PREFIX, 1.0, 5.0)
    assert await rig.carry_out(load) == LoadResult(LoadState.ABSENT), "nobody was seen to have it"
    rig.engines[A].next_report = rig.engines[B].next_report = report(ANN)
    await rig.front.report()
    rig.heard(ANN, B)
    rig.engines[B].load_results[PREFIX] = LoadResult(LoadState.LOADED, 5)
    assert await rig.carry_out(load) == LoadResult(LoadState.LOADED, 5)
    assert (rig.told(A), rig.told(B)) == ([], [load])


async def test_an_adapter_is_loaded_once_it_is_everywhere(rig: Rig) -> None:
    pirate = MemoryId(LORA, "pirate")
    rig.engines[A].load_results[pirate] = LoadResult(LoadState.LOADED, 5)
    load = Load(MAIN, pirate, 1.0, 5.0)
    assert await rig.carry_out(load) == LoadResult(LoadState.LOADED, 5)
    rig.engines[B].load_results[pirate] = LoadResult(LoadState.NO_ROOM)
    assert await rig.carry_out(load) == LoadResult(LoadState.NO_ROOM, 5)


async def test_an_engine_is_asked_for_nothing_that_it_cannot_do(rig: Rig) -> None:
    rig.engines[A].capabilities = Capabilities("sglang", "1", False, frozenset({"abort"}), "boot-1", 1000)
    await rig.front.probe()
    await rig.carry_out(Order(MAIN, ()))
    assert (rig.told(A), rig.told(B)) == ([], [Order(MAIN, ())])
    rig.engines[B].down = "refused"
    await rig.front.probe()
    with pytest.raises(EngineRefused, match="no engine behind it"):
        await rig.carry_out(Order(MAIN, ()))


async def test_a_failure_of_one_does_not_keep_it_from_the_other(rig: Rig) -> None:
    rig.engines[A].down = "refused"
    with pytest.raises(EngineUnreachable):
        await rig.carry_out(Renew(MAIN))
    assert rig.told(B) == [Renew(MAIN)]


async def test_whoever_outranks_us_somewhere_is_told_first(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.engines[A].down = "refused"

    async def outranked(action: Action, fence: Fence) -> None:
        raise FenceLost(EngineId(B), "later", 7)

    monkeypatch.setattr(rig.engines[B], "carry_out", outranked)
    with pytest.raises(FenceLost) as told:
        await rig.carry_out(Renew(MAIN))
    assert told.value.token == 7


async def test_a_call_is_aborted_wherever_it_may_run(rig: Rig) -> None:
    rig.engines[A].down = "refused"
    with pytest.raises(EngineUnreachable):
        await rig.front.abort("id")
    assert rig.engines[B].aborts == ["id"]

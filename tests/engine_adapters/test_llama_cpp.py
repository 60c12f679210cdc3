"""What the adapter sends llama.cpp's server, and what it makes of its answers. The rest is the contract's."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.base import EngineRefused, EngineUnreachable, Fence, FenceLost
from scalesim.engine_adapters.control_calls import ControlCalls
from scalesim.engine_adapters.llama_cpp import LlamaCppAdapter
from scalesim.proxy.core.actions import Evict, FetchAdapter, Load, Order, Pin, Renew, StopLoad
from scalesim.proxy.core.model import (
    KV_PREFIX,
    AdapterName,
    EngineId,
    LoadResult,
    LoadState,
    MemoryId,
    MemoryReport,
    Owner,
    Pool,
)

ENGINE = EngineId("e1")
ANN, BOB, EVE = map(Owner, ("town/ann", "town/bob", "town/eve"))
CHAT = "/v1/chat/completions"
BYTES = 100
"""Of a token."""

pytestmark = pytest.mark.anyio


class LlamaCpp:
    """A server of two slots, as far as control calls go. Its attributes are the test's levers."""

    def __init__(self) -> None:
        self.mark = "<__media_one__>"
        self.slots: list[dict[str, Any]] = [{"id": n, "n_ctx": 512, "is_processing": False} for n in range(2)]
        self.files: dict[str, int] = {}
        self.loras: list[dict[str, Any]] = []
        self.saves = self.has_slots = True
        self.status: int | None = None
        self.tasks = 0
        self.asked: list[str] = []

    def adapter(self) -> LlamaCppAdapter:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return LlamaCppAdapter(ControlCalls(ENGINE, "http://engine:8080/", client))

    def runs(self, number: int, tokens: int = 100) -> None:
        self.tasks += 1
        self.slots[number] |= {"id_task": self.tasks, "n_prompt_tokens": tokens}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(f"{request.method} {request.url.raw_path.decode()}")
        if self.status is not None:
            return httpx.Response(self.status, json={"error": {"message": "no"}})
        if path == "/props":
            props = {"total_slots": 2, "default_generation_settings": {}, "build_info": "b1"}
            return httpx.Response(200, json={**props, "media_marker": self.mark})
        if path == "/lora-adapters":
            return httpx.Response(200, json=self.loras)
        if path == "/slots" and request.method == "GET":
            return httpx.Response(200, json=self.slots) if self.has_slots else httpx.Response(501)
        if path.startswith("/slots/"):
            number = int(path.rpartition("/")[2])
            return self._act(number, request.url.params["action"], json.loads(request.content))
        return httpx.Response(404, json={})

    def _act(self, number: int, action: str, body: dict[str, Any]) -> httpx.Response:
        if not self.saves:
            return httpx.Response(501, json={"error": {"message": "Start it with --slot-save-path"}})
        if body.get("filename") == "/":
            return httpx.Response(400, json={"error": {"message": "Invalid filename"}})
        slot = self.slots[number]
        if action == "erase":
            slot["n_prompt_tokens"] = 0
            return httpx.Response(200, json={})
        if action == "save":
            tokens = self.files[body["filename"]] = slot["n_prompt_tokens"]
            return httpx.Response(200, json={"n_saved": tokens, "n_written": tokens * BYTES})
        if body["filename"] not in self.files:
            return httpx.Response(400, json={"error": {"message": "invalid slot save file"}})
        slot["n_prompt_tokens"] = self.files[body["filename"]]
        return httpx.Response(200, json={"n_restored": slot["n_prompt_tokens"]})


def load(owner: Owner, distance: float = 0.0) -> Load:
    return Load(ENGINE, MemoryId(KV_PREFIX, owner), distance, within_s=5.0)


def order(*owners: Owner) -> Order:
    return Order(ENGINE, tuple((owner, place + 1.0) for place, owner in enumerate(owners)))


async def called(adapter: LlamaCppAdapter, server: LlamaCpp, owner: Owner) -> int:
    number = adapter.additions(CHAT, {"model": "m"}, owner, "r")["id_slot"]
    assert isinstance(number, int)
    server.runs(number)
    await adapter.report()
    return number


async def test_a_probe_tells_what_it_was_started_with() -> None:
    server = LlamaCpp()
    known = await server.adapter().probe()
    assert (known.kind, known.version, known.capacity_tokens) == ("llama.cpp", "b1", 1024)
    assert known.features == {
        *("order", "pin", "evict", "residency", "owners"),
        *("load_kv_prefix", "host_copy"),
    }
    server.loras = [{"id": 0, "path": "/a/poet.gguf", "scale": 0.0}]
    assert "load_kv_prefix" not in (await server.adapter().probe()).features
    server.saves = False
    assert (await server.adapter().probe()).features == {"order", "pin", "residency", "owners"}
    server.has_slots = False
    blind = await server.adapter().probe()
    assert (blind.extended, blind.features) == (False, frozenset())
    assert "--no-slots" in blind.reason


async def test_a_second_probe_does_not_wait_for_what_the_server_computes() -> None:
    server = LlamaCpp()
    adapter = server.adapter()
    known = await adapter.probe()
    server.asked.clear()
    assert await adapter.probe() == known
    assert server.asked == ["GET /props"]


async def test_a_server_that_was_started_anew_is_another_one_and_holds_nothing() -> None:
    server = LlamaCpp()
    adapter = server.adapter()
    before = await adapter.probe()
    await called(adapter, server, ANN)
    server.mark, server.slots = "<__media_two__>", LlamaCpp().slots
    assert (await adapter.probe()).boot_id != before.boot_id
    assert (await adapter.report()).memories == {}


async def test_what_is_no_llama_cpp_or_refuses_the_key_is_of_no_use() -> None:
    server = LlamaCpp()
    for status, why in ((401, "key"), (404, "llama.cpp")):
        server.status = status
        known = await server.adapter().probe()
        assert known.kind == "unknown"
        assert why in known.reason
    server.status = 503  # it loads its model
    with pytest.raises(EngineUnreachable):
        await server.adapter().probe()


async def test_slots_that_make_no_sense_are_an_engine_out_of_reach() -> None:
    server = LlamaCpp()
    server.slots = [{"id": "zero"}]
    with pytest.raises(EngineUnreachable):
        await server.adapter().probe()


async def test_before_a_probe_every_action_is_refused_and_no_call_is_changed() -> None:
    adapter = LlamaCpp().adapter()
    with pytest.raises(EngineRefused):
        await adapter.carry_out(order(ANN), Fence(1, 1))
    assert adapter.additions(CHAT, {}, ANN, "r") == {}


async def test_a_call_names_its_agent_s_slot_unless_it_names_one_or_wants_several_answers() -> None:
    server = LlamaCpp()
    adapter = server.adapter()
    await adapter.probe()
    assert adapter.additions(CHAT, {}, ANN, "r") == {"id_slot": 0}
    for path, body, owner in (
        (CHAT, {}, None),
        (CHAT, {"id_slot": 1}, ANN),
        (CHAT, {"n": 2}, ANN),
        ("/v1/completions", {"prompt": ["a", "b"]}, ANN),
        ("/v1/embeddings", {}, ANN),
    ):
        assert adapter.additions(path, body, owner, "r") == {}
    assert adapter.additions("/v1/completions", {"prompt": [1, 2]}, ANN, "r") == {"id_slot": 0}


async def test_where_there_are_adapters_each_call_says_which_so_that_none_answers_with_another_s_cache() -> (
    None
):
    server = LlamaCpp()
    server.loras = [{"id": 0, "path": "/a/poet.gguf", "scale": 0.0}, {"id": 1, "path": "cook", "scale": 0.5}]
    adapter = server.adapter()
    await adapter.probe()
    poet = adapter.additions(CHAT, {}, None, "r", AdapterName("poet"))
    assert poet == {"lora": [{"id": 0, "scale": 1.0}, {"id": 1, "scale": 0.0}]}
    assert adapter.adapter_of(CHAT, poet) == "poet"
    as_started = adapter.additions(CHAT, {}, None, "r")
    assert as_started == {"lora": [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 0.5}]}
    assert adapter.additions(CHAT, {}, None, "r", AdapterName("nobody")) == {"lora": "nobody"}  # refused
    own = {"lora": [{"id": 0, "scale": 0.5}, {"id": 1, "scale": 0.5}]}
    assert adapter.additions(CHAT, own, None, "r", AdapterName("poet")) == {}
    assert adapter.adapter_of(CHAT, own) is None


async def test_the_report_counts_whole_slots() -> None:
    server = LlamaCpp()
    adapter = server.adapter()
    await adapter.probe()
    await called(adapter, server, ANN)
    report = await adapter.report()
    assert report.memories == {MemoryId(KV_PREFIX, ANN): MemoryReport(512, 0)}
    assert report.pools == (Pool("slots", frozenset({KV_PREFIX}), 1024, 512),)
    assert not report.plan_in_force


async def test_what_left_its_slot_is_restored_from_the_copy_made_after_the_call() -> None:
    server = LlamaCpp()
    adapter = server.adapter()
    await adapter.probe()
    await called(adapter, server, ANN)
    await adapter.carry_out(order(ANN, BOB, EVE), Fence(1, 1))
    assert set(server.files.values()) == {100}
    assert await adapter.carry_out(load(ANN), Fence(1, 1)) == LoadResult(LoadState.RESIDENT)
    await adapter.carry_out(order(BOB, EVE), Fence(1, 2))
    for owner in (BOB, EVE):
        await called(adapter, server, owner)
    report = await adapter.report()
    assert report.memories[MemoryId(KV_PREFIX, ANN)] == MemoryReport(0, 512 * BYTES)
    assert await adapter.carry_out(load(ANN, 9.0), Fence(1, 2)) == LoadResult(LoadState.NO_ROOM)
    result = await adapter.carry_out(load(ANN), Fence(1, 2))
    assert result == LoadResult(LoadState.LOADED, 100 * BYTES)
    # Eve, who is farthest, made room, and is copied before she leaves.
    assert (await adapter.report()).memories.keys() == {MemoryId(KV_PREFIX, one) for one in (ANN, BOB, EVE)}
    assert await adapter.carry_out(load(EVE), Fence(1, 2)) == LoadResult(LoadState.LOADED, 100 * BYTES)


async def test_a_copy_that_cannot_be_read_is_absent_and_forgotten() -> None:
    server = LlamaCpp()
    adapter = server.adapter()
    await adapter.probe()
    await called(adapter, server, ANN)
    await adapter.carry_out(order(ANN), Fence(1, 1))
    await adapter.carry_out(order(BOB), Fence(1, 2))
    for owner in (BOB, EVE):
        await called(adapter, server, owner)
    assert MemoryId(KV_PREFIX, ANN) in (await adapter.report()).memories
    server.files.clear()
    assert await adapter.carry_out(load(ANN), Fence(1, 2)) == LoadResult(LoadState.ABSENT)
    assert MemoryId(KV_PREFIX, ANN) not in (await adapter.report()).memories


async def test_who_shall_have_no_host_copy_gets_none() -> None:
    server = LlamaCpp()
    adapter = server.adapter()
    await adapter.probe()
    await called(adapter, server, ANN)
    await adapter.carry_out(Order(ENGINE, ((ANN, 1.0),), no_host_copy=(ANN,)), Fence(1, 1))
    await adapter.carry_out(Renew(ENGINE), Fence(1, 1))
    assert server.files == {}


async def test_evicted_memory_leaves_slot_and_copies() -> None:
    server = LlamaCpp()
    adapter = server.adapter()
    await adapter.probe()
    number = await called(adapter, server, ANN)
    await adapter.carry_out(order(ANN), Fence(1, 1))
    await adapter.carry_out(Evict(ENGINE, (ANN, BOB)), Fence(1, 2))
    assert server.slots[number]["n_prompt_tokens"] == 0
    assert (await adapter.report()).memories == {}
    assert await adapter.carry_out(load(ANN), Fence(1, 2)) == LoadResult(LoadState.ABSENT)


async def test_a_command_that_comes_late_is_refused() -> None:
    adapter = LlamaCpp().adapter()
    await adapter.probe()
    await adapter.carry_out(Pin(ENGINE, (ANN,)), Fence(2, 5))
    for action, fence in ((order(ANN), Fence(2, 4)), (load(ANN), Fence(1, 9))):
        with pytest.raises(FenceLost) as lost:
            await adapter.carry_out(action, fence)
        assert lost.value.token == 2
    await adapter.carry_out(StopLoad(ENGINE, MemoryId(KV_PREFIX, ANN)), Fence(2, 1))
    with pytest.raises(EngineRefused):
        await adapter.carry_out(FetchAdapter(ENGINE, AdapterName("poet"), "/a"), Fence(2, 6))

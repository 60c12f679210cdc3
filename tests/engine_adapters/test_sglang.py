"""The adapter alone: what it sends, and what it makes of answers no good engine gives. The rest is the contract's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.base import (
    LOAD_GRACE_S,
    EngineAdapter,
    EngineError,
    EngineRefused,
    EngineUnreachable,
    Fence,
    FenceLost,
)
from scalesim.engine_adapters.control_calls import ControlCalls
from scalesim.engine_adapters.sglang import SGLangAdapter
from scalesim.engine_adapters.sglang_plugin import wire
from scalesim.engine_adapters.sglang_requests import salting
from scalesim.proxy.core.actions import DropAdapter, Evict, FetchAdapter, Load, Order, Pin, Renew, StopLoad
from scalesim.proxy.core.model import (
    FAR,
    KV_PREFIX,
    LORA,
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
CAPABILITIES = {
    "protocol": wire.PROTOCOL,
    "plugin": "scalesim-sglang-plugin",
    "boot_id": "boot-1",
    "engine": {"name": "sglang", "version": "0.5.23"},
    "cache": {"class": "OwnedRadixCache", "active": True, "reason": ""},
    "features": list(wire.FEATURES),
    "capacity_tokens": 8_000,
    "page_size": 1,
    "self_check": {"ok": True, "problems": []},
}

Answer = Callable[[httpx.Request], httpx.Response]


class Far:
    """The other end of the wire: answers as told, and keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self._answer = answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        self.asked.append((request.method, request.url.path, body))
        return self._answer(request)

    def adapter(self, **options: Any) -> SGLangAdapter:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return SGLangAdapter(ControlCalls(ENGINE, "http://engine:30000/", client, **options))


def always(status: int, payload: object) -> Far:
    return Far(lambda _request: httpx.Response(status, json=payload))


def by_path(answers: dict[str, object]) -> Far:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path in answers:
            return httpx.Response(200, json=answers[request.url.path])
        return httpx.Response(404, json={"detail": "Not Found"})

    return Far(answer)


def test_it_is_an_engine_adapter() -> None:
    adapter: EngineAdapter = always(200, {}).adapter()
    assert adapter.engine == ENGINE
    assert adapter.base_url == "http://engine:30000"


# --- probe -------------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_probe_reads_the_capabilities() -> None:
    known = await always(200, CAPABILITIES).adapter().probe()
    assert (known.kind, known.version, known.extended, known.reason) == ("sglang", "0.5.23", True, "")
    assert (known.boot_id, known.capacity_tokens) == ("boot-1", 8_000)
    assert known.features == frozenset(wire.FEATURES)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"cache": {"active": False, "reason": "SGLang 9 is unknown"}}, "SGLang 9 is unknown"),
        ({"cache": {}}, "does not say why"),
        ({"cache": None}, "does not say why"),
        ({"protocol": 1}, "speaks protocol 1"),
    ],
)
async def test_an_engine_whose_plugin_stays_out_is_as_a_stock_one(
    changed: dict[str, Any], reason: str
) -> None:
    known = await always(200, {**CAPABILITIES, **changed}).adapter().probe()
    assert not known.extended
    assert reason in known.reason
    assert known.features == {"abort", "warm_up"}


@pytest.mark.anyio
@pytest.mark.parametrize(("told", "capacity"), [(None, 9_000), (8_000, 8_000)])
async def test_an_engine_whose_plugin_stays_out_tells_its_capacity_as_a_stock_one(
    told: int | None, capacity: int
) -> None:
    """What it holds is guessed from that, so that warm-ups come there too."""
    plugin = {**CAPABILITIES, "cache": {"active": False, "reason": "no"}, "capacity_tokens": told}
    far = by_path({f"{wire.PREFIX}/capabilities": plugin, "/server_info": {"max_total_num_tokens": 9_000}})
    assert (await far.adapter().probe()).capacity_tokens == capacity


@pytest.mark.anyio
@pytest.mark.parametrize("prefix", ["/", "/get_"])
async def test_a_stock_engine_is_known_by_its_server_info(prefix: str) -> None:
    info = {
        "version": "0.5.23",
        "max_total_num_tokens": 9_000,
        "random_seed": 5,
        "startup_time": {"scheduler_e2e": 1.5},
    }
    known = (
        await by_path({f"{prefix}server_info": info, f"{prefix}model_info": {"model_path": "m"}})
        .adapter()
        .probe()
    )
    assert (known.kind, known.version, known.extended, known.capacity_tokens) == (
        "sglang",
        "0.5.23",
        False,
        9_000,
    )
    assert known.features == {"abort", "warm_up"}
    assert "without ScaleSim's plugin" in known.reason


@pytest.mark.anyio
async def test_a_restarted_stock_engine_has_another_boot_id_even_with_a_fixed_seed() -> None:
    boots = []
    for seconds in (1.5, 1.5, 1.625):
        info = {"version": "0.5.23", "random_seed": 5, "startup_time": {"scheduler_e2e": seconds}}
        boots.append((await by_path({"/server_info": info}).adapter().probe()).boot_id)
    assert boots[0] == boots[1] != boots[2]
    assert (await by_path({"/server_info": {"version": "0.5.23"}}).adapter().probe()).boot_id is None


@pytest.mark.anyio
@pytest.mark.parametrize("far", [always(404, {}), always(200, "hello"), always(200, {}), always(405, None)])
async def test_what_is_no_sglang_can_do_nothing(far: Far) -> None:
    known = await far.adapter().probe()
    assert (known.kind, known.extended, known.features) == ("unknown", False, frozenset())
    assert known.reason


@pytest.mark.anyio
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_the_reason(status: int) -> None:
    known = await always(status, {"error": "Unauthorized"}).adapter(api_key="wrong").probe()
    assert "API key" in known.reason
    assert known.features == frozenset()


@pytest.mark.anyio
async def test_a_probe_reads_what_there_is_room_for() -> None:
    told = {**CAPABILITIES, "adapter_slots": 8, "host_adapters": 64}
    known = await always(200, told).adapter().probe()
    assert (known.adapter_slots, known.host_adapters) == (8, 64)
    absurd = {**CAPABILITIES, "adapter_slots": -1, "host_adapters": "many"}
    known = await always(200, absurd).adapter().probe()
    assert (known.extended, known.adapter_slots, known.host_adapters) == (True, None, None)


STOCK_LORA = {"version": "0.5.23", "enable_lora": True, "max_loras_per_batch": 4, "max_loaded_loras": 16}


@pytest.mark.anyio
@pytest.mark.parametrize("plugin", [None, {**CAPABILITIES, "cache": {"active": False}}])
async def test_without_the_plugin_adapters_come_and_go_where_lora_is_on(plugin: object) -> None:
    answers: dict[str, object] = {"/server_info": STOCK_LORA}
    if plugin is not None:
        answers["/scalesim/v1/capabilities"] = plugin
    known = await by_path(answers).adapter().probe()
    assert known.features == {"abort", "warm_up", "fetch_adapters"}
    assert (known.extended, known.adapter_slots, known.host_adapters) == (False, 4, 16)


# --- errors ------------------------------------------------------------------------------------------------------------


def raising(error: Exception) -> Far:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise error

    return Far(answer)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("far", "expected"),
    [
        (always(409, {"error": {"type": "fence_lost", "message": "newer"}}), FenceLost),
        (always(400, {"error": {"type": "bad_request", "message": "no"}}), EngineRefused),
        (always(404, {"detail": "Not Found"}), EngineRefused),
        (always(401, {"error": "Unauthorized"}), EngineRefused),
        (always(500, "broken"), EngineUnreachable),
        (always(504, {"error": {"type": "busy", "message": "later"}}), EngineUnreachable),
        (raising(httpx.ConnectError("refused")), EngineUnreachable),
        (raising(httpx.ReadTimeout("slow")), EngineUnreachable),
        (raising(httpx.RemoteProtocolError("cut")), EngineUnreachable),
        (raising(AttributeError("'NoneType' object has no attribute 'getpeername'")), EngineUnreachable),
    ],
)
async def test_a_failed_call_says_what_the_caller_can_do(far: Far, expected: type[EngineError]) -> None:
    adapter = far.adapter()
    for call in (
        adapter.carry_out(Renew(ENGINE), Fence(1, 1)),
        adapter.carry_out(Pin(ENGINE, (Owner("s/a"),)), Fence(1, 1)),
        adapter.report(),
        adapter.abort("r1"),
    ):
        with pytest.raises(expected, match="e1: ") as failure:
            await call
        assert type(failure.value) is expected


@pytest.mark.anyio
@pytest.mark.parametrize("far", [always(503, {}), raising(httpx.ConnectTimeout("slow"))])
async def test_a_probe_without_an_answer_is_unreachable(far: Far) -> None:
    with pytest.raises(EngineUnreachable):
        await far.adapter().probe()


@pytest.mark.anyio
async def test_what_the_engine_cannot_do_is_not_asked() -> None:
    far = by_path({"/server_info": {"version": "0.5.23"}})
    adapter = far.adapter()
    await adapter.probe()
    asked = len(far.asked)
    with pytest.raises(EngineRefused, match=r"it cannot order: .*without ScaleSim's plugin"):
        await adapter.carry_out(Order(ENGINE, ()), Fence(1, 1))
    with pytest.raises(EngineRefused):
        await adapter.report()
    assert len(far.asked) == asked


@pytest.mark.anyio
@pytest.mark.parametrize(
    "stats", [{}, {"boot_id": "b"}, [], {"pins": None, "boot_id": "b", "plan_in_force": 1}]
)
async def test_stats_of_another_protocol_are_refused(stats: object) -> None:
    with pytest.raises(EngineRefused, match="stats"):
        await always(200, stats).adapter().report()


STATS: dict[str, Any] = {
    "boot_id": "b",
    "plan_in_force": True,
    "pins": ["s/a"],
    "pinned_tokens": 1,
    "capacity_tokens": 2,
    "pools": [{"name": "kv", "kinds": ["kv_prefix"], "capacity_bytes": 100, "free_bytes": 40}],
    "memories": {"kv_prefix": {"s/a": [30, 10]}, "lora": {"pirate": [0, 8]}},
    "loading": [["kv_prefix", "s/a"]],
    "running_adapters": ["pirate"],
}


@pytest.mark.anyio
async def test_a_report_says_what_is_where() -> None:
    report = await always(200, STATS).adapter().report()
    assert report.pinned_owners == {"s/a"}
    assert report.pools == (Pool("kv", frozenset({KV_PREFIX}), 100, 40),)
    assert report.memories == {
        MemoryId(KV_PREFIX, "s/a"): MemoryReport(30, 10),
        MemoryId(LORA, "pirate"): MemoryReport(0, 8),
    }
    assert report.loading == {MemoryId(KV_PREFIX, "s/a")}
    assert report.running_adapters == {"pirate"}


@pytest.mark.anyio
async def test_an_engine_that_does_not_tell_of_memories_is_reported_without() -> None:
    stats = {
        key: STATS[key] for key in ("boot_id", "plan_in_force", "pins", "pinned_tokens", "capacity_tokens")
    }
    report = await always(200, stats).adapter().report()
    assert (report.pools, report.memories, report.loading, report.running_adapters) == (
        (),
        {},
        frozenset(),
        frozenset(),
    )


POOL = STATS["pools"][0]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "changed",
    [
        {"pins": [1]},
        {"pins": "s/a"},
        {"pools": None},
        {"pools": {}},
        {"pools": [[]]},
        {"pools": [{}]},
        {"pools": [{**POOL, "name": 1}]},
        {"pools": [{**POOL, "kinds": "kv_prefix"}]},
        {"pools": [{**POOL, "kinds": [None]}]},
        {"pools": [{**POOL, "capacity_bytes": -1}]},
        {"pools": [{**POOL, "free_bytes": 101}]},
        {"pools": [{**POOL, "free_bytes": 1.5}]},
        {"memories": []},
        {"memories": {"lora": ["a"]}},
        {"memories": {"lora": {"a": [1]}}},
        {"memories": {"lora": {"a": [1, 2, 3]}}},
        {"memories": {"lora": {"a": [1, True]}}},
        {"memories": {"lora": {"a": "12"}}},
        {"memories": {"lora": {"a": [0, 2**63]}}},
        {"loading": {}},
        {"loading": ["ab"]},
        {"loading": [["kv_prefix"]]},
        {"loading": [["kv_prefix", 1]]},
        {"running_adapters": "pirate"},
        {"running_adapters": [None]},
    ],
)
async def test_malformed_stats_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(EngineRefused, match="stats"):
        await always(200, {**STATS, **changed}).adapter().report()


@pytest.mark.anyio
@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "1.5", "-1", "true", '"9"', "null", str(2**63)])
@pytest.mark.parametrize("field", ["pinned_tokens", "capacity_tokens"])
async def test_absurd_numbers_in_the_stats_are_refused(field: str, number: str) -> None:
    stats = {"boot_id": "b", "plan_in_force": True, "pins": [], "pinned_tokens": 1, "capacity_tokens": 2}
    assert (await always(200, stats).adapter().report()).pinned_tokens == 1
    del stats[field]
    text = json.dumps(stats)[:-1] + f', "{field}": {number}}}'
    with pytest.raises(EngineRefused, match="stats"):
        await Far(lambda _request: httpx.Response(200, text=text)).adapter().report()


@pytest.mark.anyio
async def test_an_absurd_capacity_counts_as_not_told() -> None:
    known = await always(200, {**CAPABILITIES, "capacity_tokens": 10**400}).adapter().probe()
    assert (known.extended, known.capacity_tokens) == (True, None)


# --- commands ----------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_order_becomes_a_plan_without_those_expected_at_no_time() -> None:
    far = always(200, {"ok": True})
    distances = ((Owner("s/a"), 1.0), (Owner("s/b"), FAR), (Owner("s/" + "x" * 600), 2.0))
    await far.adapter().carry_out(Order(ENGINE, distances), Fence(3, 4))
    assert far.asked == [("POST", "/scalesim/v1/plan", {"fence": [3, 4], "owners": {"s/a": 1.0}})]


@pytest.mark.anyio
async def test_a_plan_says_all_that_is_in_force() -> None:
    far = always(200, {"ok": True})
    too_long = "x" * 600
    order = Order(
        ENGINE,
        ((Owner("s/a"), 1.0),),
        adapters=((AdapterName("near"), 0.0), (AdapterName("far"), FAR), (AdapterName(too_long), 1.0)),
        pinned_adapters=(AdapterName("near"), AdapterName(too_long)),
        no_host_copy=(Owner("s/a"), Owner("s/" + too_long)),
        ready_first=True,
    )
    await far.adapter().carry_out(order, Fence(3, 4))
    body = {
        "fence": [3, 4],
        "owners": {"s/a": 1.0},
        "adapters": {"near": 0.0},
        "pinned_adapters": ["near"],
        "no_host_copy": ["s/a"],
        "ready_first": True,
    }
    assert far.asked == [("POST", "/scalesim/v1/plan", body)]
    wire.parse_command("plan", body)


@pytest.mark.anyio
async def test_recency_in_charge_is_a_plan_without_owners() -> None:
    far = always(200, {"ok": True})
    await far.adapter().carry_out(Order(ENGINE, (), by_recency=True), Fence(3, 4))
    body = {"fence": [3, 4], "owners": {}, "by_recency": True}
    assert far.asked == [("POST", "/scalesim/v1/plan", body)]
    wire.parse_command("plan", body)


# --- loads and adapters --------------------------------------------------------------------------------------------------

PREFIX = MemoryId(KV_PREFIX, "s/a")
LOAD = Load(ENGINE, PREFIX, 2.5, 30.0)
FETCH = FetchAdapter(ENGINE, AdapterName("pirate"), "/adapters/pirate")
DROP = DropAdapter(ENGINE, AdapterName("pirate"))


@pytest.mark.anyio
@pytest.mark.parametrize("state", list(LoadState))
async def test_a_load_is_asked_for_and_its_end_is_told(state: LoadState) -> None:
    far = always(200, {"ok": True, "state": state, "moved_bytes": 64})
    assert await far.adapter().carry_out(LOAD, Fence(3, 4)) == LoadResult(state, 64)
    body = {"fence": [3, 4], "kind": "kv_prefix", "key": "s/a", "distance": 2.5, "within_s": 30.0}
    assert far.asked == [("POST", "/scalesim/v1/load", body)]
    wire.parse_command("load", body)


@pytest.mark.anyio
async def test_a_load_is_waited_for_as_long_as_it_may_take() -> None:
    timeouts = []

    def answer(request: httpx.Request) -> httpx.Response:
        timeouts.append(request.extensions["timeout"]["read"])
        return httpx.Response(200, json={"ok": True, "state": "resident", "moved_bytes": 0})

    adapter = Far(answer).adapter(deadline_s=5.0)
    await adapter.carry_out(LOAD, Fence(3, 4))
    await adapter.carry_out(Renew(ENGINE), Fence(3, 5))
    assert timeouts == [30.0 + LOAD_GRACE_S, 5.0]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [{"ok": True}, {"state": "gone"}, {"state": []}, {"state": "loaded", "moved_bytes": -1}, [], "loaded"],
)
async def test_a_load_that_ends_in_no_known_way_is_refused(answer: object) -> None:
    with pytest.raises(EngineRefused, match="load"):
        await always(200, answer).adapter().carry_out(LOAD, Fence(3, 4))


@pytest.mark.anyio
async def test_absurd_distances_and_times_are_told_as_far_as_the_protocol_goes() -> None:
    far = always(200, {"ok": True, "state": "resident"})
    await far.adapter().carry_out(Load(ENGINE, PREFIX, FAR, 1e9), Fence(3, 4))
    wire.parse_command("load", far.asked[0][2])


@pytest.mark.anyio
async def test_memory_that_cannot_be_named_is_absent() -> None:
    far = always(200, {"ok": True})
    memory = MemoryId(KV_PREFIX, "x" * 600)
    result = await far.adapter().carry_out(Load(ENGINE, memory, 1.0, 1.0), Fence(3, 4))
    assert result == LoadResult(LoadState.ABSENT)
    await far.adapter().carry_out(StopLoad(ENGINE, memory), Fence(3, 4))
    assert far.asked == []


@pytest.mark.anyio
async def test_a_load_is_stopped() -> None:
    far = always(200, {"ok": True, "was_loading": True})
    assert await far.adapter().carry_out(StopLoad(ENGINE, PREFIX), Fence(3, 4)) is None
    body = {"fence": [3, 4], "kind": "kv_prefix", "key": "s/a"}
    assert far.asked == [("POST", "/scalesim/v1/stop", body)]
    wire.parse_command("stop", body)


@pytest.mark.anyio
async def test_kinds_that_an_engine_cannot_load_are_not_asked_for() -> None:
    far = always(200, CAPABILITIES)  # no host tier, no adapters
    adapter = far.adapter()
    await adapter.probe()
    for action in (LOAD, StopLoad(ENGINE, PREFIX), FETCH, DROP):
        with pytest.raises(EngineRefused, match="cannot"):
            await adapter.carry_out(action, Fence(3, 4))
    assert len(far.asked) == 1


@pytest.mark.anyio
async def test_adapters_come_and_go() -> None:
    far = always(200, {"success": True, "loaded_adapters": {"pirate": "/adapters/pirate"}})
    await far.adapter().carry_out(FETCH, Fence(3, 4))
    await far.adapter().carry_out(DROP, Fence(3, 4))
    assert far.asked == [
        ("POST", "/load_lora_adapter", {"lora_name": "pirate", "lora_path": "/adapters/pirate"}),
        ("POST", "/unload_lora_adapter", {"lora_name": "pirate"}),
    ]


LONG = AdapterName("p" * 500)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["pirate", LONG])
@pytest.mark.parametrize(
    "says", ["Failed to load LoRA adapter {} because it is already loaded", "{} already exists"]
)
@pytest.mark.parametrize("loaded", [None, "/adapters/pirate", "/adapters/pirate/"])
async def test_an_adapter_that_is_there_already_counts_as_brought(
    name: str, says: str, loaded: str | None
) -> None:
    answer = {"success": False, "error_message": says.format(name), "loaded_adapters": {name: loaded}}
    fetch = FetchAdapter(ENGINE, AdapterName(name), "/adapters/pirate")
    await always(400, answer).adapter().carry_out(fetch, Fence(3, 4))


@pytest.mark.anyio
async def test_an_adapter_of_the_same_name_from_elsewhere_is_another() -> None:
    answer = {
        "success": False,
        "error_message": "Failed to load LoRA adapter pirate because it is already loaded",
        "loaded_adapters": {"pirate": "/adapters/parrot"},
    }
    with pytest.raises(EngineRefused, match=r"'/adapters/parrot' already, not from '/adapters/pirate'"):
        await always(400, answer).adapter().carry_out(FETCH, Fence(3, 4))


@pytest.mark.anyio
async def test_an_unload_that_was_left_half_way_is_ended_before_the_adapter_comes_again() -> None:
    answers = iter(
        [
            (400, {"error_message": "LoRA adapter 'pirate' has an incomplete unload. Retry the unload"}),
            (200, {"success": True}),
            (200, {"success": True}),
        ]
    )

    def answer(_request: httpx.Request) -> httpx.Response:
        status, told = next(answers)
        return httpx.Response(status, json=told)

    far = Far(answer)
    await far.adapter().carry_out(FETCH, Fence(3, 4))
    assert [path for _, path, _ in far.asked] == [
        "/load_lora_adapter",
        "/unload_lora_adapter",
        "/load_lora_adapter",
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["pirate", LONG])
async def test_an_adapter_that_is_not_there_counts_as_dropped(name: str) -> None:
    says = f"LoRA with name {name} does not exist. Loaded LoRAs: dict_keys([])"
    drop = DropAdapter(ENGINE, AdapterName(name))
    await always(400, {"success": False, "error_message": says}).adapter().carry_out(drop, Fence(3, 4))


@pytest.mark.anyio
@pytest.mark.parametrize("action", [FETCH, DROP])
async def test_what_the_engine_says_of_a_bad_adapter_is_told(action: FetchAdapter | DropAdapter) -> None:
    far = always(400, {"success": False, "error_message": "rank 256 is above --max-lora-rank"})
    with pytest.raises(EngineRefused, match="rank 256 is above"):
        await far.adapter().carry_out(action, Fence(3, 4))
    assert len(far.asked) == 1


@pytest.mark.slow
@pytest.mark.anyio
async def test_of_too_long_an_order_the_nearest_are_told() -> None:
    far = always(200, {"ok": True})
    distances = [(Owner(f"s/{n}"), float(n)) for n in range(wire.MAX_OWNERS + 100)]
    await far.adapter().carry_out(Order(ENGINE, tuple(reversed(distances))), Fence(3, 4))
    told = far.asked[0][2]["owners"]
    assert told == dict(distances[: wire.MAX_OWNERS])
    wire.parse_command("plan", far.asked[0][2])


@pytest.mark.anyio
async def test_a_long_list_of_owners_goes_in_parts_of_one_fence() -> None:
    far = always(200, {"ok": True})
    names = [Owner(f"s/{n}") for n in range(wire.MAX_OWNERS + 1)]
    await far.adapter().carry_out(Evict(ENGINE, tuple(names)), Fence(3, 4))
    assert [body["fence"] for _, _, body in far.asked] == [[3, 4], [3, 4]]
    assert [owner for _, _, body in far.asked for owner in body["owners"]] == names


@pytest.mark.anyio
async def test_control_calls_carry_the_key() -> None:
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200, json=CAPABILITIES)

    adapter = Far(answer).adapter(api_key="k")
    await adapter.probe()
    await adapter.carry_out(Renew(ENGINE), Fence(1, 1))
    await adapter.abort("r1")
    assert seen == ["Bearer k"] * 3


@pytest.mark.anyio
async def test_an_abort_names_the_request() -> None:
    far = Far(lambda _request: httpx.Response(200))
    await far.adapter().abort("r1")
    assert far.asked == [("POST", "/abort_request", {"rid": "r1"})]


# --- additions ---------------------------------------------------------------------------------------------------------

ANN = Owner("s/ann")
CHAT = "/v1/chat/completions"
BOTH = {"rid": "r1", "session_id": ANN}
OWNER_ALONE = {"session_id": ANN}
RESPONSE = {"request_id": "r1", "session_id": ANN}


@pytest.mark.parametrize(
    ("path", "body", "added"),
    [
        (CHAT, {}, BOTH),
        (CHAT, {"n": 1, "rid": None}, BOTH),
        (CHAT, {"rid": "theirs"}, OWNER_ALONE),
        (CHAT, {"n": 2}, OWNER_ALONE),
        (CHAT, {"session_id": "theirs"}, BOTH),
        ("/v1/completions", {"prompt": "a"}, BOTH),
        ("/v1/completions", {"prompt": [1, 2]}, BOTH),
        ("/v1/completions", {"prompt": ["a", "b"]}, OWNER_ALONE),
        ("/v1/completions", {"prompt": [[1], [2]]}, OWNER_ALONE),
        ("/generate", {"input_ids": [1, 2], "sampling_params": {"n": 1}}, BOTH),
        ("/generate", {"input_ids": [[1], [2]]}, OWNER_ALONE),
        ("/generate", {"text": ["a"]}, OWNER_ALONE),
        ("/generate", {"text": "a", "sampling_params": {"n": 2}}, OWNER_ALONE),
        ("/generate", {"text": "a", "sampling_params": [{}]}, OWNER_ALONE),
        ("/v1/responses", {"input": ["a", "b"]}, RESPONSE),
        ("/v1/responses", {"input": "a", "text": [{}], "rid": "no id there"}, RESPONSE),
        ("/v1/responses", {"input": "a", "request_id": "theirs"}, OWNER_ALONE),
        ("/v1/embeddings", {"input": "a"}, {"rid": "r1"}),
        ("/v1/embeddings", {"input": [1, 2]}, {"rid": "r1"}),
        ("/v1/embeddings", {"input": ["a", "b"]}, {}),
        ("/v1/embeddings", {"input": [[1], [2]]}, {}),
        ("/v1/embeddings", {"input": "a", "rid": "theirs"}, {}),
        ("/v1/models", {}, {}),
    ],
)
def test_a_generation_is_given_its_owner_and_an_id_to_abort_it_by(
    path: str, body: dict[str, object], added: dict[str, str]
) -> None:
    assert always(200, {}).adapter().additions(path, body, ANN, "r1") == added


def test_without_an_owner_only_the_id_is_added() -> None:
    assert always(200, {}).adapter().additions(CHAT, {}, None, "r1") == {"rid": "r1"}


def test_a_name_longer_than_the_protocol_takes_is_not_told() -> None:
    owner = Owner("s/" + "x" * wire.MAX_OWNER_CHARS)
    assert always(200, {}).adapter().additions(CHAT, {}, owner, "r1") == {"rid": "r1"}


def test_a_request_with_a_session_of_its_own_is_not_given_another() -> None:
    body = {"session_params": {"id": "theirs"}}
    assert always(200, {}).adapter().additions("/generate", body, ANN, "r1") == {"rid": "r1"}


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/responses", "/generate"])
def test_a_salt_is_told_where_the_engine_takes_one(path: str) -> None:
    assert salting(path, "salt") == {"cache_salt": "salt"}
    assert salting(path, None) == {}


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/models"])
def test_a_salt_is_not_told_where_the_engine_takes_none(path: str) -> None:
    assert salting(path, "salt") == {}


# --- the adapter of a request --------------------------------------------------------------------------------------------

PIRATE = AdapterName("pirate")
EMBEDDINGS = "/v1/embeddings"


def _with_pirate(path: str, body: dict[str, object]) -> str | None:
    return always(200, {}).adapter().additions(path, body, None, "r1", PIRATE).get("lora_path")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {}),
        (CHAT, {"model": "base"}),
        (CHAT, {"model": "base", "lora_path": None}),
        (CHAT, {"model": "base:"}),
        ("/v1/completions", {"prompt": ["a", "b"]}),
        (EMBEDDINGS, {"input": "a"}),
        ("/generate", {"text": "a"}),
        ("/generate", {"text": "a", "model": "base:theirs"}),  # no field of that route
    ],
)
def test_an_assigned_adapter_is_added_where_a_request_names_none(path: str, body: dict[str, object]) -> None:
    assert _with_pirate(path, body) == "pirate"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"lora_path": "theirs"}),
        (CHAT, {"model": "base:theirs"}),
        ("/generate", {"text": ["a", "b"], "lora_path": ["theirs", None]}),
        ("/v1/responses", {"input": "a"}),
        ("/v1/models", {}),
    ],
)
def test_a_request_that_names_an_adapter_keeps_its_own(path: str, body: dict[str, object]) -> None:
    assert _with_pirate(path, body) is None


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (CHAT, {"model": "base"}, None),
        (CHAT, {"model": "base:pirate"}, "pirate"),
        (CHAT, {"model": "base: pirate "}, "pirate"),
        (CHAT, {"model": "base:"}, None),
        (CHAT, {"model": 7, "lora_path": "pirate"}, "pirate"),
        (CHAT, {"model": "base:pirate", "lora_path": "parrot"}, "pirate"),
        (CHAT, {"model": "s3://models/base"}, None),
        (CHAT, {"model": "s3://models/base:pirate"}, "pirate"),
        (EMBEDDINGS, {"model": "base:pirate"}, "pirate"),
        ("/generate", {"model": "base:pirate"}, None),
        ("/generate", {"lora_path": "pirate"}, "pirate"),
        ("/generate", {"lora_path": ["pirate", "pirate"]}, None),
        ("/generate", {"lora_path": ""}, None),
        ("/v1/responses", {"model": "base:pirate"}, None),
        ("/v1/models", {"lora_path": "pirate"}, None),
    ],
)
@pytest.mark.anyio
async def test_the_adapter_of_a_request_is_read_as_the_engine_reads_it(
    path: str, body: dict[str, object], named: str | None
) -> None:
    info = {"/server_info": STOCK_LORA, "/model_info": {"served_model_name": "s3://models/base"}}
    adapter = by_path(info).adapter()
    assert adapter.adapter_of(path, body) is None  # not known yet to have any
    await adapter.probe()
    assert adapter.adapter_of(path, body) == named


@pytest.mark.anyio
async def test_an_engine_without_adapters_has_none_to_name() -> None:
    adapter = by_path({"/server_info": {"version": "0.5.23"}}).adapter()
    await adapter.probe()
    assert adapter.adapter_of(CHAT, {"model": "base:pirate"}) is None


@pytest.mark.anyio
async def test_a_model_whose_own_name_has_colons_names_no_adapter() -> None:
    info = {"/server_info": STOCK_LORA, "/model_info": {"served_model_name": "s3://models/base"}}
    adapter = by_path(info).adapter()
    await adapter.probe()
    added = adapter.additions(CHAT, {"model": "s3://models/base"}, None, "r1", PIRATE)
    assert added == {"rid": "r1", "lora_path": "pirate"}

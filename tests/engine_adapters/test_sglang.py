"""The adapter alone: what it sends, and what it makes of answers no good engine gives. The rest is the contract's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from scalesim.engine_adapters.base import (
    EngineAdapter,
    EngineError,
    EngineRefused,
    EngineUnreachable,
    Fence,
    FenceLost,
)
from scalesim.engine_adapters.sglang import SGLangAdapter
from scalesim.engine_adapters.sglang_plugin import wire
from scalesim.proxy.core.actions import Evict, Order, Pin, Renew
from scalesim.proxy.core.model import FAR, EngineId, Owner

ENGINE = EngineId("e1")
CAPABILITIES = {
    "protocol": 1,
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
        return SGLangAdapter(ENGINE, "http://engine:30000/", client, **options)


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
        ({"protocol": 2}, "speaks protocol 2"),
    ],
)
async def test_an_engine_whose_plugin_stays_out_is_as_a_stock_one(
    changed: dict[str, Any], reason: str
) -> None:
    known = await always(200, {**CAPABILITIES, **changed}).adapter().probe()
    assert not known.extended
    assert reason in known.reason
    assert known.features == {"abort"}


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
    assert known.features == {"abort"}
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

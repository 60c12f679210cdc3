"""What answers is recognised by how it answers, also when it becomes something else."""

from __future__ import annotations

import httpx
import pytest

from scalesim.engine_adapters.any_engine import AnyEngine
from scalesim.engine_adapters.base import EngineRefused, EngineUnreachable, Fence
from scalesim.engine_adapters.control_calls import ControlCalls
from scalesim.proxy.core.actions import Order
from scalesim.proxy.core.model import EngineId, Owner
from tests.engine_adapters.test_llama_cpp import LlamaCpp
from tests.engine_adapters.test_vllm import VLLM

ENGINE = EngineId("e1")
CHAT = "/v1/chat/completions"
ANN = Owner("town/ann")

pytestmark = pytest.mark.anyio


class SGLang:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if request.url.path == "/server_info":
            return httpx.Response(200, json={"version": "0.5.23", "random_seed": 1})
        return httpx.Response(404, json={})


class Address:
    """At which now this answers, now that."""

    def __init__(self, there: SGLang | LlamaCpp | VLLM | None) -> None:
        self.there = there

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.there is None:
            raise httpx.ConnectError("nobody is there")
        return self.there(request)

    def engine(self) -> AnyEngine:
        return AnyEngine(
            ControlCalls(ENGINE, "http://engine/", httpx.AsyncClient(transport=httpx.MockTransport(self)))
        )


@pytest.mark.parametrize(
    ("there", "kind"), [(SGLang(), "sglang"), (LlamaCpp(), "llama.cpp"), (VLLM(), "vllm")]
)
async def test_each_kind_is_found(there: SGLang | LlamaCpp | VLLM, kind: str) -> None:
    engine = Address(there).engine()
    assert (await engine.probe()).kind == kind
    assert (await engine.probe()).kind == kind


async def test_an_sglang_is_asked_nothing_of_other_kinds() -> None:
    there = SGLang()
    await Address(there).engine().probe()
    assert not {"/props", "/version", "/slots"} & set(there.asked)


async def test_what_follows_is_said_in_the_words_of_the_kind() -> None:
    address = Address(LlamaCpp())
    engine = address.engine()
    assert "rid" in engine.additions(CHAT, {}, ANN, "r")  # until somebody answers
    await engine.probe()
    assert engine.additions(CHAT, {}, ANN, "r") == {"id_slot": 0}
    await engine.carry_out(Order(ENGINE, ((ANN, 1.0),)), Fence(1, 1))
    assert (await engine.report()).plan_in_force
    address.there = VLLM()
    assert (await engine.probe()).kind == "vllm"
    assert engine.additions(CHAT, {"model": "small"}, ANN, "r") == {}
    assert [card["id"] for card in await engine.models() if isinstance(card, dict)] == ["small"]
    with pytest.raises(EngineRefused):
        await engine.report()


async def test_what_nobody_knows_is_of_no_use_and_what_does_not_answer_is_out_of_reach() -> None:
    class Stranger(SGLang):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(404, json={})

    address = Address(Stranger())
    engine = address.engine()
    known = await engine.probe()
    assert (known.kind, known.extended, known.features) == ("unknown", False, frozenset())
    address.there = None
    with pytest.raises(EngineUnreachable):
        await engine.probe()


async def test_a_vllm_that_tells_developers_of_itself_is_no_sglang() -> None:
    class Telling(VLLM):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            if request.url.path == "/server_info":
                return httpx.Response(200, json={"vllm_config": "..."})
            return super().__call__(request)

    assert (await Address(Telling()).engine().probe()).kind == "vllm"

"""What the relay makes of adapters, and what it tells of calls to those who bring prefixes back."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from scalesim.engine_adapters import sglang_requests
from scalesim.proxy.core.model import AdapterName, Mode, Outcome, Owner
from scalesim.proxy.data_plane.asgi import Receive, Scope, Send
from tests.support.fake_adapter import FakeAdapter

from .rig import Recorder, Stuck, client, raw_client, raw_post, rig

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
PIRATES = {("default", "Ann"): "pirate"}
USAGE = b'{"usage": {"prompt_tokens": 9, "completion_tokens": 2}}'


async def test_the_adapter_that_a_request_names_is_told() -> None:
    async with rig(Recorder()) as r, client() as c:
        await c.post(r.url + CHAT, json={"lora_path": "parrot"}, headers={"X-Agent-ID": "Ann"})
        await c.post(r.url + CHAT, json={}, headers={"X-Agent-ID": "Ann"})
        await c.post(r.url + CHAT, content=b"no json", headers={"X-Agent-ID": "Ann"})
        await r.log.until_ended(3)
    assert [event.adapter for event in r.log.started] == ["parrot", None, None]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("by", ["header", "URL"])
async def test_an_assigned_adapter_is_added_in_every_mode(mode: Mode, by: str) -> None:
    engine = Recorder()
    async with rig(engine, mode=mode, assigned=PIRATES) as r, client() as c:
        if by == "header":
            await c.post(r.url + CHAT, json={}, headers={"X-Agent-ID": "Ann"})
        else:
            await c.post(f"{r.url}/sim/default/agent/Ann{CHAT}", json={})
        await r.log.until_ended()
    assert json.loads(engine.bodies[0])["lora_path"] == "pirate"
    assert r.log.started[0].adapter == "pirate"


async def test_an_engine_of_which_nothing_is_known_is_given_the_assigned_adapter_too() -> None:
    engine = Recorder()
    async with rig(engine, assigned=PIRATES) as r, client() as c:
        r.adapter.capabilities = type(r.adapter.capabilities)("fake", "1", False)
        await c.post(r.url + CHAT, json={"a": 1.0}, headers={"X-Agent-ID": "Ann"})
        await r.log.until_ended()
    assert json.loads(engine.bodies[0]) == {"a": 1.0, "lora_path": "pirate"}


async def test_others_are_given_none() -> None:
    engine = Recorder()
    async with rig(engine, assigned=PIRATES) as r, client() as c:
        await c.post(r.url + CHAT, json={}, headers={"X-Agent-ID": "Bob"})
        await c.post(r.url + CHAT, json={}, headers={"X-Agent-ID": "Ann", "X-Simulation-ID": "town"})
        await r.log.until_ended(2)
    assert all("lora_path" not in json.loads(body) for body in engine.bodies)


@pytest.mark.parametrize("field", ["agent_id", "user", "session_id"])
async def test_a_name_that_is_only_believed_never_chooses_an_adapter(field: str) -> None:
    engine = Recorder()
    async with rig(engine, assigned=PIRATES) as r, client() as c:
        for name in ("Bob", "Ann", "Bob", "Ann"):  # the field tells callers apart, so it is believed
            await c.post(r.url + CHAT, json={field: name})
        await r.log.until_ended(4)
    assert r.log.started[-1].agent == "Ann"
    assert all("lora_path" not in json.loads(body) for body in engine.bodies)
    assert r.log.started[-1].adapter is None


async def test_a_request_keeps_the_adapter_it_names() -> None:
    engine = Recorder()
    async with rig(engine, assigned=PIRATES) as r, client() as c:
        await c.post(r.url + CHAT, json={"lora_path": "parrot"}, headers={"X-Agent-ID": "Ann"})
        await r.log.until_ended()
    assert json.loads(engine.bodies[0])["lora_path"] == "parrot"
    assert r.log.started[0].adapter == "parrot"


class AsSGLang(FakeAdapter):
    """It reads and adds adapters as SGLang's does."""

    def additions(
        self,
        path: str,
        body: Mapping[str, object],
        owner: Owner | None,
        request_id: str,
        adapter: AdapterName | None = None,
    ) -> Mapping[str, str]:
        return sglang_requests.additions(path, body, owner, request_id, adapter, "base")

    def adapter_of(self, path: str, body: Mapping[str, object]) -> AdapterName | None:
        return sglang_requests.adapter_of(path, body, "base")


@pytest.mark.parametrize(
    ("body", "runs_on"),
    [
        ({"model": "base:parrot", "lora_path": "poet"}, "parrot"),
        ({"model": "base:parrot"}, "parrot"),
        ({"model": "base", "lora_path": "poet"}, "poet"),
        ({"model": "base"}, "pirate"),
    ],
)
async def test_the_model_s_name_comes_before_lora_path_and_that_before_what_is_assigned(
    body: dict[str, str], runs_on: str
) -> None:
    engine = Recorder()
    async with rig(engine, assigned=PIRATES, adapter_type=AsSGLang) as r, client() as c:
        await c.post(r.url + CHAT, json=body, headers={"X-Agent-ID": "Ann"})
        await r.log.until_ended()
    sent = json.loads(engine.bodies[0])
    assert r.log.started[0].adapter == runs_on
    assert {**body, "lora_path": sent.get("lora_path")} == {
        key: sent.get(key) for key in {*body, "lora_path"}
    }
    assert (sent.get("lora_path") == "pirate") == (runs_on == "pirate")


@pytest.mark.parametrize("mode", list(Mode))
async def test_responses_of_an_agent_with_an_assigned_adapter_are_refused(mode: Mode) -> None:
    """The engine would answer with the base model."""
    engine = Recorder()
    async with rig(engine, mode=mode, assigned=PIRATES, adapter_type=AsSGLang) as r, client() as c:
        body = {"model": "base", "input": "Who are you?"}
        for refused in (
            await c.post(r.url + "/v1/responses", json=body, headers={"X-Agent-ID": "Ann"}),
            await c.post(
                f"{r.url}/sim/default/agent/Ann/v1/responses", json={**body, "model": "base:pirate"}
            ),
        ):
            assert refused.status_code == 400
            said = refused.json()["error"]
            assert said["type"] == "invalid_request_error"
            assert all(word in said["message"] for word in ("pirate", "/v1/responses", "Ann"))
        assert r.log.events == []
        assert engine.bodies == []
        served = await c.post(r.url + "/v1/responses", json=body, headers={"X-Agent-ID": "Bob"})
        assert served.status_code == 200
        await r.log.until_ended()


async def test_what_engines_bring_back_by_themselves_is_not_remembered() -> None:
    async with rig(Recorder(USAGE), recomputed=False) as r, client() as c:
        await c.post(r.url + CHAT, json={"messages": []}, headers={"X-Agent-ID": "Ann"})
        await r.log.until_ended()
    assert r.remembered == []


async def test_a_call_that_began_on_another_adapter_is_not_remembered() -> None:
    assigned = {("default", "Ann"): "pirate"}

    class Reassigning(Recorder):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            assigned["default", "Ann"] = "poet"
            await super().__call__(scope, receive, send)

    async with rig(Reassigning(USAGE), assigned=assigned) as r, client() as c:
        for ended in (1, 2):
            await c.post(r.url + CHAT, json={"messages": []}, headers={"X-Agent-ID": "Ann"})
            await r.log.until_ended(ended)
    assert [adapter for *_, adapter in r.remembered] == ["poet"]


async def test_an_answered_call_is_remembered_as_the_engine_saw_it() -> None:
    async with rig(Recorder(USAGE), assigned=PIRATES) as r, client() as c:
        await c.post(r.url + CHAT, json={"messages": []}, headers={"X-Agent-ID": "Ann"})
        await r.log.until_ended()
    ((owner, path, body, prompt_tokens, adapter),) = r.remembered
    assert (owner, path, prompt_tokens, adapter) == ("default/Ann", CHAT, 9, "pirate")
    assert (body["messages"], body["lora_path"]) == ([], "pirate")


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.SHADOW])
async def test_only_calls_of_a_simulation_that_is_on_are_remembered(mode: Mode) -> None:
    async with rig(Recorder(USAGE), mode=mode) as r, client() as c:
        await c.post(r.url + CHAT, json={}, headers={"X-Agent-ID": "Ann"})
        await r.log.until_ended()
    assert r.remembered == []


async def test_calls_of_nobody_and_without_usage_are_not_remembered() -> None:
    async with rig(Recorder(USAGE)) as r, client() as c:
        await c.post(r.url + CHAT, json={})
        await c.post(r.url + CHAT, content=b"no json", headers={"X-Agent-ID": "Ann"})
        await r.log.until_ended(2)
    assert r.remembered == []
    async with rig(Recorder(b"{}")) as r, client() as c:
        await c.post(r.url + CHAT, json={}, headers={"X-Agent-ID": "Ann"})
        await r.log.until_ended()
    assert r.remembered == []


async def test_demand_counts_the_calls_at_an_engine_until_they_end() -> None:
    engine = Stuck()
    async with rig(engine) as r:
        assert r.running("fake") == 0
        async with raw_client(r.port, raw_post(CHAT, b"{}", "X-Agent-ID: Ann")):
            await engine.arrived.wait()
            assert r.running("fake") == 1
        ended = await r.log.until_ended()
        assert ended.outcome is Outcome.CLIENT_GONE
        assert r.remembered == []


async def test_what_is_no_call_is_no_demand() -> None:
    engine = Stuck()
    async with rig(engine) as r:
        async with raw_client(r.port, b"GET /v1/models HTTP/1.1\r\nHost: proxy\r\n\r\n"):
            await engine.arrived.wait()
            assert r.running("fake") == 0
        await engine.left.wait()

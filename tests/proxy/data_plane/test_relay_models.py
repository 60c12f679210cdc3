"""Which engine a model's calls go to, and what is said of models that nobody serves."""

from __future__ import annotations

import json

import pytest

from .rig import Recorder, client, rig

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
SERVES = {"a": ["small"], "b": ["large"]}


async def test_each_model_is_answered_by_the_engine_that_serves_it() -> None:
    engines = {"a": Recorder(b'{"by": "a"}'), "b": Recorder(b'{"by": "b"}')}
    async with rig(engines, serves=SERVES) as r, client() as c:
        for model, engine in (("small", "a"), ("large", "b"), ("small", "a")):
            response = await c.post(r.url + CHAT, json={"model": model})
            assert response.json() == {"by": engine}
        await r.log.until_ended(3)
    assert [event.engine for event in r.log.started] == ["a", "b", "a"]


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/rerank"])
async def test_a_model_that_nobody_serves_is_a_404_in_openais_form(path: str) -> None:
    engines = {"a": Recorder(), "b": Recorder()}
    async with rig(engines, serves=SERVES) as r, client() as c:
        response = await c.post(r.url + path, json={"model": "huge"})
    error = response.json()["error"]
    assert response.status_code == 404
    assert (error["code"], error["param"], error["type"]) == (
        "model_not_found",
        "model",
        "invalid_request_error",
    )
    assert "'small'" in error["message"]
    assert engines["a"].bodies == engines["b"].bodies == []
    assert r.log.events == []


async def test_a_request_without_a_model_is_refused_where_there_are_several() -> None:
    async with rig({"a": Recorder(), "b": Recorder()}, serves=SERVES) as r, client() as c:
        response = await c.post(r.url + CHAT, json={})
    assert response.status_code == 400
    assert "names no `model`" in response.json()["error"]["message"]


async def test_the_only_model_of_all_engines_is_never_replaced() -> None:
    engine = Recorder()
    async with rig(engine) as r, client() as c:
        r.adapter.capabilities = type(r.adapter.capabilities)("fake", "1", extended=False)
        raw = b'{"model": "whatever"}'
        await c.post(r.url + CHAT, content=raw, headers={"content-type": "application/json"})
        await r.log.until_ended()
    assert engine.bodies == [raw]


@pytest.mark.parametrize("path", [CHAT, "/v1/rerank"])
async def test_an_alias_is_replaced_in_the_request_and_the_answer_is_left_as_it_is(path: str) -> None:
    engines = {"a": Recorder(b'{"model": "small"}'), "b": Recorder()}
    async with rig(engines, serves=SERVES, aliases={"gpt-4o": "small"}) as r, client() as c:
        response = await c.post(r.url + path, json={"model": "gpt-4o", "temperature": 0})
    sent = json.loads(engines["a"].bodies[0])
    assert (sent["model"], sent["temperature"]) == ("small", 0)
    assert response.content == b'{"model": "small"}'


async def test_agents_have_a_home_for_each_model() -> None:
    engines = {name: Recorder() for name in ("a", "b", "c")}
    serves = {"a": ["small", "large"], "b": ["small"], "c": ["large"]}
    async with rig(engines, serves=serves) as r, client() as c:
        for model in ("small", "large") * 3:
            await c.post(r.url + CHAT, json={"model": model}, headers={"X-Agent-ID": "Ann"})
        await r.log.until_ended(6)
    homes = [event.engine for event in r.log.started]
    assert homes == homes[:2] * 3
    assert homes[0] in "ab"
    assert homes[1] in "ac"


async def test_an_id_of_the_request_reaches_the_engine_and_none_is_made() -> None:
    engine = Recorder(headers=((b"x-request-id", b"the engine's"),))
    async with rig(engine) as r, client() as c:
        response = await c.post(r.url + CHAT, json={}, headers={"X-Request-ID": "mine"})
        await c.post(r.url + CHAT, json={})
        await r.log.until_ended(2)
    assert engine.header(b"x-request-id", 0) == [b"mine"]
    assert engine.header(b"x-request-id", 1) == []
    assert response.headers["x-request-id"] == "the engine's"

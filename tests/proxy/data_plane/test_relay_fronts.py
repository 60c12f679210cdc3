"""What the relay says to a front end, and hears of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest

from scalesim.engine_adapters.base import Behind
from scalesim.proxy.core.model import Mode, Owner
from tests.support.fake_adapter import FakeAdapter

from .rig import Recorder, client, rig

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
KEY = "x-key"


class Heard:
    """A `Front` that keeps what it hears."""

    def __init__(self) -> None:
        self.answers: list[tuple[Owner, dict[bytes, bytes]]] = []

    def headers(self, owner: Owner) -> Sequence[tuple[bytes, bytes]]:
        return ((KEY.encode(), f"key of {owner}".encode()),)

    def request_id(self, owner: Owner, unique: str) -> str:
        assert len(unique) == 32
        int(unique, 16)
        return f"{owner}_t1"

    def keeps_adapter(self, path: str) -> bool:
        return path == CHAT

    def heard(self, owner: Owner, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.answers.append((owner, dict(headers)))

    def forget(self, owner: Owner) -> None:
        raise AssertionError("nobody left")

    def behind(self) -> Sequence[Behind]:
        return []

    def sizes(self) -> Mapping[str, int]:
        return {}


class InFront(FakeAdapter):
    def __init__(self, base_url: str = "", *, engine: str = "fake") -> None:
        super().__init__(base_url, engine=engine)
        self.front = Heard()


def heard(adapter: FakeAdapter) -> Heard:
    assert isinstance(adapter.front, Heard)
    return adapter.front


def keys(engine: Recorder) -> list[list[bytes]]:
    """With which each call came."""
    return [[value for name, value in scope["headers"] if name == KEY.encode()] for scope in engine.scopes]


@pytest.mark.parametrize("body", [b"{}", b"no json"])
async def test_a_call_says_whose_it_is_and_its_answer_where_it_went(body: bytes) -> None:
    engine = Recorder()
    async with rig(engine, adapter_type=InFront) as r, client() as c:
        headers = {"X-Agent-ID": "Ann", "content-type": "application/json"}
        await c.post(r.url + CHAT, content=body, headers=headers)
        await r.log.until_ended()
        ((owner, told),) = heard(r.adapter).answers
    assert keys(engine) == [[b"key of default/Ann"]]
    assert owner == "default/Ann"
    assert {name.lower() for name in told} >= {b"content-type"}


async def test_ids_are_what_the_front_end_makes_of_them() -> None:
    engine = Recorder()
    async with rig(engine, adapter_type=InFront) as r, client() as c:
        await c.post(r.url + CHAT, json={}, headers={"X-Agent-ID": "Ann"})
        await c.post(r.url + CHAT, json={"rid": "mine"}, headers={"X-Agent-ID": "Ann"})
        await c.post(r.url + CHAT, json={})
        await r.log.until_ended(3)
    ids = [json.loads(body)["rid"] for body in engine.bodies]
    assert ids[:2] == ["default/Ann_t1", "mine"]
    assert len(ids[2]) == 32, "nobody's"


async def test_a_key_of_the_client_s_own_stays() -> None:
    engine = Recorder()
    async with rig(engine, adapter_type=InFront) as r, client() as c:
        await c.post(r.url + CHAT, json={}, headers={"X-Agent-ID": "Ann", KEY: "mine"})
        await r.log.until_ended()
    assert keys(engine) == [[b"mine"]]


@pytest.mark.parametrize("agent", ["Ann", None])
async def test_of_nobody_and_in_a_simulation_that_is_off_nothing_is_said(agent: str | None) -> None:
    engine = Recorder()
    mode = Mode.OFF if agent else Mode.ON
    async with rig(engine, mode=mode, adapter_type=InFront) as r, client() as c:
        await c.post(r.url + CHAT, json={}, headers={"X-Agent-ID": agent} if agent else {})
        await r.log.until_ended()
        assert heard(r.adapter).answers == []
    assert keys(engine) == [[]]


async def test_an_assigned_adapter_that_would_be_dropped_refuses_the_call_and_leaves_no_place() -> None:
    """The base model would answer in its place, and say nothing."""
    engine = Recorder()
    assigned = {("default", "Ann"): "pirate"}
    async with rig(engine, assigned=assigned, adapter_type=InFront) as r, client() as c:
        refused = await c.post(r.url + "/v1/embeddings", json={}, headers={"X-Agent-ID": "Ann"})
        assert refused.status_code == 400
        told = refused.json()["error"]["message"]
        assert "drops adapters here" in told
        assert told.endswith("are to run on 'pirate': use /v1/chat/completions")
        assert r.running("fake") == 0
        assert (await c.post(r.url + CHAT, json={}, headers={"X-Agent-ID": "Ann"})).status_code == 200
        await c.post(r.url + "/v1/embeddings", json={}, headers={"X-Agent-ID": "Bob"})
        await r.log.until_ended(2)
    assert len(engine.bodies) == 2
    assert json.loads(engine.bodies[0])["lora_path"] == "pirate"

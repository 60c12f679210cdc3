"""The configuration over the admin API of a whole proxy: shown, tried and read again, also amid calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from scalesim.engine_adapters.emulated import EmulatedEngine
from scalesim.proxy.access.keys import digest_of, hash_of
from scalesim.proxy.settings import LIVE, listed
from tests.support.patience import PATIENCE_S
from tests.support.serve import serve as served

from .offices import CHAT, Town, town

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # every server takes a quarter of a second to stop

SSE = [(b"content-type", b"text/event-stream")]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def one(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    async with town(
        tmp_path_factory.mktemp("one"),
        'queue_limit = 5\nmode = "shadow"\n[client_keys]\nann = "sk-ann"\n',
        engine_api_key="sk-engine",
    ) as made:
        yield made


def named(told: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [setting for setting in told["settings"] if setting["name"] == name]
    return dict(found)


async def test_every_setting_is_shown_with_its_source_and_no_secret_is(one: Town) -> None:
    answer = await one.admin.get("/configuration")
    told = answer.json()
    assert told["file"] == str(one.folder / "scalesim.toml")
    assert told["restart_needed_for"] == []
    assert [setting["name"] for setting in told["settings"]] == [setting.name for setting in listed()]
    assert named(told, "queue_limit") == {
        "name": "queue_limit",
        "value": "5",
        "is_set": True,
        "source": "file",
        "default": "1024",
        "about": "most calls that wait for one engine",
        "secret": False,
        "reloadable": True,
    }
    sources = {name: named(told, name)["source"] for name in ("mode", "port", "queue_wait_s", "client_keys")}
    assert sources == {
        "mode": "file",
        "port": "environment",
        "queue_wait_s": "default",
        "client_keys": "file",
    }
    for name in ("client_keys", "engine_api_key"):
        secret = named(told, name)
        assert (secret["value"], secret["is_set"], secret["secret"]) == (None, True, True)
    assert (named(told, "admin_keys")["value"], named(told, "admin_keys")["is_set"]) == (None, False)
    for hidden in ("sk-ann", "sk-engine", digest_of("sk-ann").hex(), hash_of("sk-ann")):
        assert hidden not in answer.text


async def test_a_text_is_validated_and_nothing_is_changed(one: Town) -> None:
    text = 'queue_limit = 6\nplan_limit = 100\n[client_keys]\nann = "sk-ann"\n'
    answer = await one.admin.post("/configuration/validate", json={"text": text})
    assert (answer.status_code, answer.json()) == (
        200,
        {"applied": ["queue_limit", "mode"], "restart": ["plan_limit"]},
    )
    assert named((await one.admin.get("/configuration")).json(), "queue_limit")["value"] == "5"


async def test_a_wrong_text_is_refused_with_all_that_is_wrong(one: Town) -> None:
    file = one.folder / "scalesim.toml"
    text = 'queue_limit = 0\nquue_wait_s = 1\nsalts_file = "x"\n'
    answer = await one.admin.post("/configuration/validate", json={"text": text})
    assert answer.status_code == 422
    assert answer.json()["problems"] == [
        f"queue_limit in {file}: 0 is not a number of calls (a whole one, 1 to 1000000)",
        f"quue_wait_s in {file}: unknown; the nearest known name is queue_wait_s in {file}",
        "salts_file: of no use while `salts` is off",
    ]
    broken = await one.admin.post("/configuration/validate", json={"text": "queue_limit = = 2"})
    assert broken.json()["detail"] == (
        f"config: '{file}' is not TOML: Invalid value (at line 1, column 15); nothing was changed"
    )
    secret = await one.admin.post("/configuration/validate", json={"text": 'engine_api_key = "sk-sécret"'})
    assert secret.status_code == 422
    assert "cret" not in secret.json()["detail"].replace("secret", "")


async def test_a_reload_changes_what_can_change_and_names_what_needs_a_restart(tmp_path: Path) -> None:
    async with town(tmp_path, "queue_limit = 5\n") as one:
        one.write('queue_limit = 6\nmode = "off"\nplan_limit = 100\nsalts = true\n')
        answer = await one.admin.post("/configuration/reload")
        assert (answer.status_code, answer.json()) == (
            200,
            {"applied": ["queue_limit", "mode"], "restart": ["plan_limit", "salts"]},
        )
        told = (await one.admin.get("/configuration")).json()
        assert told["restart_needed_for"] == ["plan_limit", "salts"]
        assert [named(told, name)["value"] for name in ("queue_limit", "mode", "plan_limit", "salts")] == [
            "6",
            "off",
            "4096",
            "off",
        ]
        assert named(told, "mode")["source"] == "file"
        assert (await one.admin.put("/simulations/new")).json()["mode"] == "off"
        again = await one.admin.post("/configuration/reload")
        assert again.json() == {"applied": [], "restart": ["plan_limit", "salts"]}
        one.write("")
        back = await one.admin.post("/configuration/reload")
        assert back.json() == {"applied": ["queue_limit", "mode"], "restart": []}
        told = (await one.admin.get("/configuration")).json()
        assert (named(told, "mode")["value"], named(told, "mode")["source"]) == ("on", "default")


async def test_a_file_that_is_wrong_changes_nothing(tmp_path: Path) -> None:
    async with town(tmp_path, "queue_limit = 5\n") as one:
        one.write("queue_limit = 6\nmode = 3\n")
        answer = await one.admin.post("/configuration/reload")
        assert answer.status_code == 422
        assert answer.json()["problems"] == [
            f"mode in {tmp_path / 'scalesim.toml'}: 3 is not one of off, shadow, on"
        ]
        told = (await one.admin.get("/configuration")).json()
        assert named(told, "queue_limit")["value"] == "5"


async def test_without_a_file_there_is_nothing_to_read_again(tmp_path: Path) -> None:
    async with town(tmp_path) as one:
        answer = await one.admin.post("/configuration/reload")
        assert (answer.status_code, answer.json()["detail"]) == (
            409,
            "there is no config file to read again: start the proxy with --config FILE, or change it and start anew; nothing was changed",
        )


async def test_what_contradicts_a_value_that_needs_a_restart_is_refused(tmp_path: Path) -> None:
    async with town(tmp_path, 'admin_host = "0.0.0.0"\nadmin_keys = ["sk-operator"]\n') as one:
        one.write("")
        answer = await one.admin.post("/configuration/reload")
        assert answer.status_code == 422
        assert "together with what stays as it is until a restart (admin_host)" in answer.json()["detail"]
        assert (await one.admin.get("/keys", headers={"x-admin-key": "none"})).status_code == 401


async def test_keys_of_clients_and_operators_change_with_the_file(tmp_path: Path) -> None:
    async with town(tmp_path, 'admin_keys = ["sk-operator"]\n[client_keys]\nann = "sk-ann"\n') as one:
        assert [(await one.call(key=key)).status_code for key in ("sk-ann", "sk-bob")] == [200, 401]
        one.write('admin_keys = ["sk-other"]\n[client_keys]\nbob = "sk-bob"\n')
        assert (await one.admin.post("/configuration/reload")).json()["applied"] == [
            "admin_keys",
            "client_keys",
        ]
        assert [(await one.call(key=key)).status_code for key in ("sk-ann", "sk-bob")] == [401, 200]
        statuses = [
            (await one.admin.get("/keys", headers={"x-admin-key": key})).status_code
            for key in ("sk-operator", "sk-other")
        ]
        assert statuses == [401, 200]


async def test_a_keys_file_that_was_changed_by_hand_counts_after_a_reload(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    async with town(tmp_path, "", keys_file=str(keys)) as one:
        assert (await one.call()).status_code == 200
        keys.write_text(f'[client.ann]\nhash = "{hash_of("sk-ann")}"\n')
        keys.chmod(0o600)
        assert (await one.admin.post("/configuration/reload")).json() == {"applied": [], "restart": []}
        assert [(await one.call(key=key)).status_code for key in ("sk-ann", "")] == [200, 401]
        keys.write_text("[other]\n")
        wrong = await one.admin.post("/configuration/reload")
        assert wrong.status_code == 422
        assert wrong.json()["detail"].startswith(f"keys_file: {keys}: it may hold tables")
        assert (await one.call(key="sk-ann")).status_code == 200


async def test_a_keys_file_is_read_again_without_a_config_file_too(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    async with town(tmp_path, keys_file=str(keys)) as one:
        keys.write_text(f'[client.ann]\nhash = "{hash_of("sk-ann")}"\n')
        keys.chmod(0o600)
        assert (await one.admin.post("/configuration/reload")).json() == {"applied": [], "restart": []}
        assert [(await one.call(key=key)).status_code for key in ("sk-ann", "")] == [200, 401]


async def test_rates_bodies_and_recognition_change_with_the_file(tmp_path: Path) -> None:
    async with town(tmp_path, "") as one:
        assert (await one.call("x" * 2000)).status_code == 200
        one.write("max_body_mb = 0.001\naddress_rate = 0.001\nburst_s = 1000\n")
        await one.admin.post("/configuration/reload")
        assert (await one.call("x" * 2000)).status_code == 413
        assert (await one.call()).status_code == 429
        one.write("")
        await one.admin.post("/configuration/reload")
        assert (await one.call("x" * 2000)).status_code == 200


async def test_engines_come_and_go_with_the_file(tmp_path: Path) -> None:
    async with (
        served(EmulatedEngine().app) as first,
        served(EmulatedEngine().app) as second,
        town(tmp_path, f'engines = ["a={first}"]\n', names_engines=True) as one,
    ):
        one.write(f'engines = ["b={second}"]\n')
        assert (await one.admin.post("/configuration/reload")).json()["applied"] == ["engines"]
        async with asyncio.timeout(PATIENCE_S):
            while True:
                (engine,) = (await one.admin.get("/engines")).json()["engines"]
                if engine["state"] == "up":
                    break
        assert (engine["engine"], engine["url"], engine["configured"]) == ("b", second, True)
        assert (await one.call()).status_code == 200
        one.write(f'engines = ["b={first}"]\n')
        moved = await one.admin.post("/configuration/reload")
        assert moved.status_code == 422
        assert moved.json()["detail"].startswith(
            f"engines: 'b' is at {second}: give the one at {first} a name"
        )


class Slow:
    """An engine whose streams go on until they are let go."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.begun = asyncio.Semaphore(0)
        self._ordinary = EmulatedEngine().app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != CHAT:
            await self._ordinary(scope, receive, send)
            return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": SSE})
        await send({"type": "http.response.body", "body": b"data: one\n\n", "more_body": True})
        self.begun.release()
        await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def test_a_reload_amid_streaming_calls_loses_none_of_them(tmp_path: Path) -> None:
    engine, calls = Slow(), 40
    everything = (
        'mode = "off"\nqueue_limit = 9\nengine_concurrency = 1\nmax_body_mb = 1\nclient_connections = 100\nkey_rate = 50\n'
        "address_rate = 1000\nburst_s = 5\nretry_attempts = 1\nbreaker_failures = 2\njoin_grace_s = 0\nconnect_timeout_s = 1\n"
        'max_connections = 50\nthreshold = 0.5\nrecognise = "none"\nengine_drain_s = 5\ndrain_s = 5\nidle_after_s = 1\n'
        'total_timeout_s = 600\nlog_level = "warning"\naliases = "x=y"\n[client_keys]\nann = "sk-ann"\n'
    )
    async with town(tmp_path, "", engine=engine) as one:

        async def stream(number: int) -> bytes:
            body = {
                "model": "emulated",
                "stream": True,
                "messages": [{"role": "user", "content": str(number)}],
            }
            async with one.data.stream("POST", CHAT, json=body) as answer:
                assert answer.status_code == 200
                return b"".join([piece async for piece in answer.aiter_raw()])

        streams = [asyncio.create_task(stream(number)) for number in range(calls)]
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(calls):
                await engine.begun.acquire()
        level = logging.getLogger().level
        try:
            for text in (everything, "", everything):
                one.write(text)
                answer = await one.admin.post("/configuration/reload")
                assert answer.status_code == 200, answer.text
                assert len(answer.json()["applied"]) == 22
        finally:
            logging.getLogger().setLevel(level)
        # From now on others are let in; who was in already goes on.
        assert (await one.call()).status_code == 401
        engine.go_on.set()
        answers = await asyncio.gather(*streams)
    assert answers == [b"data: one\n\ndata: [DONE]\n\n"] * calls


async def test_a_lower_concurrency_holds_for_calls_that_come_and_a_higher_one_lets_those_that_wait_go(
    tmp_path: Path,
) -> None:
    engine = Slow()
    async with town(tmp_path, "engine_concurrency = 1\n", engine=engine) as one:
        running = [asyncio.create_task(one.call(str(number))) for number in range(3)]
        async with asyncio.timeout(PATIENCE_S):
            while (await one.admin.get("/status")).json()["sizes"]["queue_waiting"] < 2:
                pass
        await engine.begun.acquire()
        assert engine.begun.locked()
        one.write("engine_concurrency = 2\n")
        await one.admin.post("/configuration/reload")
        async with asyncio.timeout(PATIENCE_S):
            await engine.begun.acquire()
        assert engine.begun.locked()
        one.write("")
        await one.admin.post("/configuration/reload")
        async with asyncio.timeout(PATIENCE_S):
            await engine.begun.acquire()
        engine.go_on.set()
        answers = await asyncio.gather(*running)
    assert [answer.status_code for answer in answers] == [200] * 3


async def test_who_had_it_read_again_stands_in_the_log_and_no_secret_does(
    one: Town, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await one.admin.post("/configuration/reload")
    audited = [record.getMessage() for record in caplog.records if record.name == "scalesim.audit"]
    assert audited == [
        "an operator without a key has the configuration read again",
        "an operator without a key: the configuration was read again, and changed nothing",
    ]
    assert "sk-" not in caplog.text


async def test_a_body_may_be_as_long_as_a_config_file(one: Town) -> None:
    fits: httpx.Response = await one.admin.post("/configuration/validate", json={"text": "#" * 64_000})
    assert fits.status_code == 200
    longer = await one.admin.post("/configuration/validate", json={"text": "#" * 64_001})
    assert longer.status_code == 422


def test_what_can_change_while_it_runs_is_a_setting() -> None:
    assert {setting.name for setting in listed()} >= LIVE

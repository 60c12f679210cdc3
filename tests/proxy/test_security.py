"""Keys, certificates and salts as they are put together, over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from scalesim.proxy.access.keys import Key, digest_of, hash_of
from scalesim.proxy.access.tls import BadCertificate
from scalesim.proxy.app import ServerAddresses, running, serve
from scalesim.proxy.core.model import SimulationId
from scalesim.proxy.settings import Settings
from tests.proxy.data_plane.rig import Recorder
from tests.support.serve import serve as served

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # every server takes a quarter of a second to stop

FILES = Path(__file__).parents[1] / "support" / "tls"
CHAT = "/v1/chat/completions"
ANN = Key("ann", digest_of("sk-ann"), SimulationId("town"), confined=True)
BOB = Key("bob", digest_of("sk-bob"))


def settings_for(engine: str, **options: Any) -> Settings:
    return Settings(engine=engine, **({"port": 0, "admin_port": 0, "probe_every_s": 30.0} | options))


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=10, verify=False)


@asynccontextmanager
async def proxied(
    engine: Recorder, **options: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, ServerAddresses]]:
    async with (
        served(engine) as url,
        running(settings_for(url, **options)) as addresses,
        client() as http,
    ):
        yield http, addresses


def bodies(engine: Recorder) -> list[dict[str, Any]]:
    return [
        json.loads(body)
        for body, scope in zip(engine.bodies, engine.scopes, strict=True)
        if scope["path"] == CHAT
    ]


async def test_with_keys_of_clients_only_they_are_served_and_the_engine_gets_its_own() -> None:
    engine = Recorder()
    async with proxied(engine, client_keys=(ANN, BOB), engine_api_key="sk-engine") as (http, addresses):
        for key, path, status in (
            ("sk-ann", CHAT, 200),
            ("sk-ann", "/sim/city" + CHAT, 403),
            ("sk-bob", "/sim/city" + CHAT, 200),
            ("sk-eve", CHAT, 401),
        ):
            answer = await http.post(
                addresses.data + path, json={}, headers={"authorization": f"Bearer {key}"}
            )
            assert answer.status_code == status
        assert (await http.get(addresses.data + "/v1/models")).status_code == 401
    calls = [scope for scope in engine.scopes if scope["path"] == CHAT]
    assert [dict(scope["headers"])[b"authorization"] for scope in calls] == [b"Bearer sk-engine"] * 2


async def test_a_rate_and_its_end_are_told() -> None:
    async with proxied(Recorder(), address_rate=0.001, burst_s=1000) as (http, addresses):
        answers = [await http.get(addresses.data + "/v1/models") for _ in range(2)]
        assert [one.status_code for one in answers] == [200, 429]
        assert 900 < int(answers[1].headers["retry-after"]) <= 1000


async def test_an_engines_leave_to_pages_is_not_passed_on() -> None:
    engine = Recorder(headers=((b"access-control-allow-origin", b"*"), (b"x-a", b"1")))
    async with proxied(engine) as (http, addresses):
        answer = await http.get(addresses.data + "/v1/models")
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["x-a"] == "1"
        asked = await http.get(addresses.data + "/v1/models", headers={"origin": "https://evil.example"})
        assert asked.status_code == 403


async def test_simulations_that_were_said_outright_have_salts_of_their_own(tmp_path: Path) -> None:
    engine, file = Recorder(), str(tmp_path / "secret")
    keys = (Key("town", digest_of("sk-town"), SimulationId("town")),)
    for _ in range(2):  # after a restart they are the same
        async with proxied(engine, salts=True, salts_file=file, simulation_keys=keys) as (http, addresses):
            for path, headers in (
                (CHAT, {"authorization": "Bearer sk-town"}),
                ("/sim/town" + CHAT, {}),
                (CHAT, {"x-simulation-id": "city"}),
                (CHAT, {}),
            ):
                body = {"messages": [], "cache_salt": "of-the-client"}
                await http.post(addresses.data + path, json=body, headers=headers)
    salts = [body["cache_salt"] for body in bodies(engine)]
    assert salts[:4] == salts[4:]
    by_key, by_url, other, unsaid = salts[:4]
    assert len({by_key, by_url, other}) == 3
    assert all(len(salt) == 64 for salt in (by_key, by_url, other))
    assert unsaid == "of-the-client"


async def test_a_simulation_that_was_only_found_has_no_salt() -> None:
    """An agent of a recipe has a simulation too, but nobody said so."""
    engine = Recorder()
    persona = "You are a twitter user, and I will present you with some posts. Your name is Ann."
    async with proxied(engine, salts=True) as (http, addresses):
        body = {"model": "m", "messages": [{"role": "system", "content": persona}], "user": "Ann"}
        for _ in range(2):
            await http.post(addresses.data + CHAT, json=body)
    assert all("cache_salt" not in body for body in bodies(engine))


async def test_both_listeners_speak_tls_each_with_its_certificate() -> None:
    files = {
        "tls_cert": str(FILES / "first.pem"),
        "tls_key": str(FILES / "first.key"),
        "admin_tls_cert": str(FILES / "second.pem"),
        "admin_tls_key": str(FILES / "second.key"),
    }
    async with proxied(Recorder(), **files) as (http, addresses):
        assert addresses.data.startswith("https://")
        assert addresses.admin.startswith("https://")
        assert (await http.get(addresses.data + "/v1/models")).status_code == 200
        assert (await http.get(addresses.admin + "/health")).status_code == 200
        assert await shown(addresses.data) == certificate("first")
        assert await shown(addresses.admin) == certificate("second")
        with pytest.raises(httpx.HTTPError):
            await http.get(addresses.data.replace("https", "http") + "/v1/models")


async def test_a_bad_certificate_stops_the_start() -> None:
    files = {"tls_cert": str(FILES / "first.pem"), "tls_key": str(FILES / "second.key")}
    with pytest.raises(BadCertificate, match="tls_cert, tls_key"):
        async with running(settings_for("http://127.0.0.1:1", **files)):
            pass


async def test_a_renewed_certificate_is_read_at_a_signal(tmp_path: Path) -> None:
    def put(name: str) -> None:
        for kind in ("pem", "key"):
            shutil.copy(FILES / f"{name}.{kind}", tmp_path / f"a.{kind}")

    put("first")
    files = {"tls_cert": str(tmp_path / "a.pem"), "tls_key": str(tmp_path / "a.key")}
    ready: asyncio.Future[ServerAddresses] = asyncio.get_running_loop().create_future()
    async with served(Recorder()) as url:
        serving = asyncio.create_task(serve(settings_for(url, **files), ready=ready.set_result))
        addresses = await asyncio.wait_for(ready, 10)
        assert await shown(addresses.data) == certificate("first")
        put("second")
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(10):
            while await shown(addresses.data) != certificate("second"):
                pass
        (tmp_path / "a.key").write_text("gone")
        os.kill(os.getpid(), signal.SIGHUP)
        assert await shown(addresses.data) == certificate("second")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving, 10)


async def test_the_admin_listener_takes_a_hash_in_place_of_its_key() -> None:
    async with proxied(Recorder(), admin_keys=(hash_of("sk-admin"),)) as (http, addresses):
        url = f"{addresses.admin}/admin/v1/status"
        for key, status in (("sk-admin", 200), (hash_of("sk-admin"), 401), ("sk-ann", 401)):
            assert (await http.get(url, headers={"x-admin-key": key})).status_code == status
        sizes = (await http.get(f"{addresses.admin}/metrics", headers={"x-admin-key": "sk-admin"})).text
        assert "client_connections" in sizes


def certificate(name: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert((FILES / f"{name}.pem").read_text())


async def shown(url: str) -> bytes:
    """The certificate that a listener shows."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 0)
    return ssl.PEM_cert_to_DER_cert(await asyncio.to_thread(ssl.get_server_certificate, address))

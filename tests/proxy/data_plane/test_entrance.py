from __future__ import annotations

import json
from typing import Any

import pytest

from scalesim.proxy.access.keys import Key, Keys, digest_of
from scalesim.proxy.access.rates import Rate
from scalesim.proxy.core.model import SimulationId
from scalesim.proxy.data_plane.asgi import Message, Receive, Scope, Send
from scalesim.proxy.data_plane.entrance import KEY, Entrance
from scalesim.proxy.data_plane.headers import Headers

pytestmark = pytest.mark.anyio

ANN = Key("ann", digest_of("sk-ann"), SimulationId("town"), confined=True)
BOB = Key("bob", digest_of("sk-bob"))
CHAT = "/v1/chat/completions"


class House:
    """An entrance, what came through it, and a clock."""

    def __init__(self, **options: Any) -> None:
        self.at = 0.0
        self.scopes: list[Scope] = []
        self.entrance = Entrance(
            self._app, **({"keys": Keys([ANN, BOB]), "closed": True, "clock": lambda: self.at} | options)
        )

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def ask(
        self, *headers: tuple[bytes, bytes], path: str = CHAT, method: str = "POST", client: str = "10.0.0.7"
    ) -> tuple[int, dict[bytes, bytes], Any]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            raise AssertionError("the body was read")

        scope: Scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(b"host", b"proxy:8000"), *headers],
            "client": (client, 1),
        }
        await self.entrance(scope, receive, send)
        told = json.loads(sent[1]["body"]) if len(sent) > 1 else None
        return sent[0]["status"], dict(sent[0]["headers"]), told

    def headers(self) -> Headers:
        headers: Headers = self.scopes[-1]["headers"]
        return headers


def bearer(key: str) -> tuple[bytes, bytes]:
    return (b"authorization", f"Bearer {key}".encode())


@pytest.mark.parametrize(
    "header", [bearer("sk-ann"), (b"authorization", b"bearer  sk-ann "), (b"x-api-key", b"sk-ann")]
)
async def test_who_has_a_key_is_let_in_and_known(header: tuple[bytes, bytes]) -> None:
    house = House()
    assert (await house.ask(header))[0] == 200
    assert house.scopes[-1][KEY] == ANN


@pytest.mark.parametrize(
    "header",
    [
        (b"accept", b"*/*"),
        bearer("sk-anna"),
        bearer("sha256:" + ANN.digest.hex()),
        (b"authorization", b"Basic sk-ann"),
        (b"x-api-key", b"\xff"),
        (b"x-admin-key", b"sk-ann"),
    ],
)
async def test_nobody_else_comes_in_and_the_body_is_not_read(header: tuple[bytes, bytes]) -> None:
    house = House()
    status, headers, told = await house.ask(header)
    assert (status, headers[b"www-authenticate"], headers[b"connection"]) == (401, b"Bearer", b"close")
    assert told["error"]["type"] == "authentication_error"
    assert house.scopes == []


@pytest.mark.parametrize(("engine_key", "seen"), [(None, []), ("sk-engine", [b"Bearer sk-engine"])])
async def test_the_engine_never_sees_a_clients_key(engine_key: str | None, seen: list[bytes]) -> None:
    house = House(engine_key=engine_key)
    await house.ask(bearer("sk-ann"), (b"x-api-key", b"sk-ann"))
    assert [value for name, value in house.headers() if name == b"authorization"] == seen
    assert b"sk-ann" not in b"".join(value for _, value in house.headers())


async def test_orchestrators_ask_for_health_without_a_key_and_for_nothing_else() -> None:
    house = House()
    assert (await house.ask(path="/health", method="GET"))[0] == 200
    assert (await house.ask(path="/health", method="POST"))[0] == 401
    assert (await house.ask(path="/health/../v1/models", method="GET"))[0] == 401


async def test_where_none_is_needed_all_keys_pass_and_ours_are_known() -> None:
    house = House(closed=False)
    for key, known in (("sk-ann", ANN), ("sk-other", None)):
        assert (await house.ask(bearer(key)))[0] == 200
        assert house.scopes[-1].get(KEY) == known
        assert bearer(key) in house.headers()
    assert (await house.ask())[0] == 200


@pytest.mark.parametrize("name", [b"authorization", b"x-api-key", b"origin", b"host"])
async def test_what_is_there_twice_and_differs_is_refused(name: bytes) -> None:
    house = House(closed=False)
    assert (await house.ask((name, b"Bearer a"), (name, b"Bearer b")))[0] == 400
    assert house.scopes == []


async def test_a_page_of_another_origin_may_not_use_the_proxy() -> None:
    house = House(closed=False)
    for origin in (b"https://evil.example", b"null", b"http://proxy:8000.evil.example", b""):
        status, _, told = await house.ask((b"origin", origin))
        assert (status, told["error"]["code"]) == (403, 403)
    assert (await house.ask((b"origin", b"http://proxy:8000")))[0] == 200


async def test_a_key_that_is_used_too_often_is_told_when_to_come_again() -> None:
    house = House(key_rate=Rate(per_s=0.5, burst=2))
    assert [(await house.ask(bearer("sk-ann")))[0] for _ in range(3)] == [200, 200, 429]
    status, headers, told = await house.ask(bearer("sk-ann"))
    assert (status, headers[b"retry-after"]) == (429, b"2")
    assert "the key 'ann'" in told["error"]["message"]
    assert (await house.ask(bearer("sk-bob")))[0] == 200
    house.at += 2
    assert (await house.ask(bearer("sk-ann")))[0] == 200


async def test_an_address_cannot_try_keys_for_ever() -> None:
    house = House(address_rate=Rate(per_s=1, burst=3))
    assert [(await house.ask(bearer(f"sk-{n}")))[0] for n in range(5)] == [401, 401, 401, 429, 429]
    assert (await house.ask(bearer("sk-ann")))[0] == 429
    assert (await house.ask(bearer("sk-ann"), client="10.0.0.8"))[0] == 200


async def test_sizes_are_told() -> None:
    house = House(key_rate=Rate(1, 1), address_rate=Rate(1, 1))
    await house.ask(bearer("sk-ann"))
    assert house.entrance.sizes() == {"client_keys": 2, "rates_of_keys": 1, "rates_of_addresses": 1}


async def test_a_proxy_that_is_about_to_end_sends_new_requests_elsewhere() -> None:
    house = House()
    assert (await house.ask(bearer("sk-ann")))[0] == 200
    assert not house.entrance.is_closed
    house.entrance.close()
    for headers in ([bearer("sk-ann")], []):
        status, told, body = await house.ask(*headers)
        assert status == 503, "whoever it is"
        assert (told[b"retry-after"], told[b"connection"]) == (b"2", b"close")
        assert body["error"]["type"] == "draining"
    assert (await house.ask(path="/health", method="GET"))[0] == 503, "who looks after us is told too"
    assert len(house.scopes) == 1


async def test_other_keys_and_rates_hold_from_the_next_request_on() -> None:
    house = House()
    house.entrance.let_in(Keys([BOB]), closed=True)
    assert [(await house.ask(bearer(key)))[0] for key in ("sk-ann", "sk-bob")] == [401, 200]
    house.entrance.let_in(Keys([]), closed=False)
    assert (await house.ask())[0] == 200
    house.entrance.limit(key_rate=None, address_rate=Rate(1.0, 1.0))
    assert [(await house.ask())[0] for _ in range(2)] == [200, 429]
    house.entrance.limit(key_rate=None, address_rate=None)
    assert (await house.ask())[0] == 200

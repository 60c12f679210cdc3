from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from scalesim.proxy.data_plane.asgi import Message, Receive, Scope, Send
from scalesim.proxy.data_plane.headers import Headers
from scalesim.proxy.data_plane.request_ids import OF_THE_ENGINE, REQUEST_ID, RequestIds, carried
from scalesim.proxy.logs import request_id

pytestmark = pytest.mark.anyio
MADE = re.compile(rb"[0-9a-f]{32}")


class Seen:
    """What the app behind was given, and what its client got."""

    def __init__(self) -> None:
        self.headers: Headers = []
        self.engines: Headers = []
        self.logged = ""
        self.answer: Headers = []

    def given(self) -> list[bytes]:
        return [value for name, value in self.engines if name == REQUEST_ID]

    def got(self, name: bytes = REQUEST_ID) -> list[bytes]:
        return [value for key, value in self.answer if key == name]


async def asked(*headers: bytes, answer: Headers | None = None, counts: Counter[int] | None = None) -> Seen:
    seen = Seen()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.headers, seen.logged = scope["headers"], request_id.get()
        seen.engines = carried(seen.headers)
        await send({"type": "http.response.start", "status": 201, "headers": answer or []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            seen.answer = message["headers"]

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope: dict[str, Any] = {"type": "http", "headers": [(REQUEST_ID, value) for value in headers]}
    await RequestIds(app, counts)(scope, receive, send)
    return seen


async def test_the_clients_id_is_taken_for_engine_log_and_answer() -> None:
    seen = await asked(b"mine-1")
    assert (seen.given(), seen.logged, seen.got()) == ([b"mine-1"], "mine-1", [b"mine-1"])


async def test_without_one_it_is_made() -> None:
    seen = await asked()
    (made,) = seen.given()
    assert MADE.fullmatch(made)
    assert (seen.logged.encode(), seen.got()) == (made, [made])


@pytest.mark.parametrize("bad", [b"", b"a b", b"a\x1b[31m", b"a\xff", b"x" * 129, b'a"b'])
async def test_one_that_is_not_fit_for_a_log_is_replaced(bad: bytes) -> None:
    seen = await asked(bad)
    (made,) = seen.given()
    assert MADE.fullmatch(made)


async def test_of_two_none_is_taken() -> None:
    seen = await asked(b"one", b"two")
    (made,) = seen.given()
    assert MADE.fullmatch(made)


async def test_an_id_of_the_engines_own_is_kept_under_another_name() -> None:
    given: Headers = [(REQUEST_ID, b"theirs")]
    seen = await asked(b"mine", answer=given)
    assert (seen.got(), seen.got(OF_THE_ENGINE)) == ([b"mine"], [b"theirs"])
    assert given == [(REQUEST_ID, b"theirs")], "it may be kept for others"


async def test_an_engine_that_sends_the_id_back_does_not_double_it() -> None:
    seen = await asked(b"mine", answer=[(REQUEST_ID, b"mine")])
    assert seen.answer == [(REQUEST_ID, b"mine")]


async def test_answers_are_counted_by_their_status() -> None:
    counts: Counter[int] = Counter()
    await asked(counts=counts)
    assert counts == {201: 1}


@pytest.mark.parametrize("given", [(), (b"mine",), (b"a b",), (b"one", b"two")])
async def test_what_the_client_sent_stays_as_it_is_for_whoever_looks_for_retries(
    given: tuple[bytes, ...],
) -> None:
    assert (await asked(*given)).headers == [(REQUEST_ID, value) for value in given]


def test_outside_of_a_request_nothing_is_added() -> None:
    assert carried([(REQUEST_ID, b"mine")]) == [(REQUEST_ID, b"mine")]

"""What is taken in of a request; the rest of this module is seen through the relay."""

from __future__ import annotations

import pytest

from scalesim.proxy.data_plane.asgi import ClientGone, Message, Scope
from scalesim.proxy.data_plane.request import Request, accepted
from scalesim.proxy.errors import BodyTooLarge, CallRefused

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


async def taken(
    path: str, body: bytes = b'{"model": "m"}', *, method: str = "POST", query: bytes = b""
) -> Request:
    messages: list[Message] = [{"type": "http.request", "body": body}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    headers = [(b"content-type", b"application/json")]
    scope: Scope = {"method": method, "path": path, "query_string": query, "headers": headers}
    return await accepted(scope, receive, 100, lambda: 7.0)


async def test_the_prefix_of_the_url_is_ours_and_the_rest_the_engines() -> None:
    request = await taken(f"/sim/town/agent/Ann{CHAT}", query=b"a=1")
    assert (request.path, request.target) == (CHAT, f"{CHAT}?a=1")
    assert request.raw_path == f"/sim/town/agent/Ann{CHAT}"


@pytest.mark.parametrize(
    ("method", "path", "is_call"),
    [("POST", CHAT, True), ("GET", CHAT, False), ("POST", "/v1/rerank", False), ("POST", "/generate", True)],
)
async def test_a_post_to_a_route_that_generates_is_a_call(method: str, path: str, is_call: bool) -> None:
    assert (await taken(path, method=method)).is_call == is_call


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b'"m"'])
async def test_what_is_no_json_object_is_taken_as_it_is(body: bytes) -> None:
    request = await taken(CHAT, body)
    assert (request.parsed, request.body) == (None, body)


@pytest.mark.parametrize(
    "path", ["/scalesim/v1/pin", "/x/../scalesim/v1/pin", "/%73calesim/v1/pin", "//scalesim"]
)
async def test_routes_that_command_engines_are_refused(path: str) -> None:
    with pytest.raises(CallRefused, match="control routes"):
        await taken(path)


async def test_a_body_that_is_too_large_is_refused() -> None:
    with pytest.raises(BodyTooLarge):
        await taken(CHAT, bytes(101))


async def test_a_client_that_leaves_before_its_body_is_there_is_gone() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientGone):
        await accepted(
            {"method": "POST", "path": CHAT, "query_string": b"", "headers": []}, receive, 100, lambda: 7.0
        )

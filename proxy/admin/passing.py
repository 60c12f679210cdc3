"""Of several proxies that serve together one leads, and knows what is told and asked of simulations: the others pass it on."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

import httpx
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from scalesim.proxy.group_status import MemberStatus

from .problems import problem

AGAIN_S = 2
"""Somebody leads by then."""
ANSWER_S = 70.0
"""A body may come in for a minute."""
_PASSED = b"x-scalesim-passed-on"
_OWN = re.compile(r"/admin/v1/(?:status|placement|(?:configuration|recipes|traces|keys|problems)(?:/.*)?)")
"""Of each process: how it is, and what it has of its own settings and files."""
_OF_THE_GROUP = re.compile(r"/v1/update|/admin/v1/.*")
_LEFT_OUT = frozenset(
    {
        b"host",
        b"connection",
        b"keep-alive",
        b"transfer-encoding",
        b"upgrade",
        b"te",
        b"origin",
        b"expect",
        _PASSED,
    }
)
_ONE_HOP = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"server", b"date"})


class Passing:
    """ASGI in front of the app, behind the gate: whoever comes here may change things. The key that opened it goes on to the leader."""

    def __init__(self, app: ASGIApp, status: Callable[[], MemberStatus], client: httpx.AsyncClient) -> None:
        self._app = app
        self._status = status
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_of_the_group(scope["path"]):
            await self._app(scope, receive, send)
            return
        status = self._status()
        if status.leads:
            await self._app(scope, receive, send)
            return
        if status.leader_url is None or any(name == _PASSED for name, _ in scope["headers"]):
            why = f" ({status.problem})" if status.problem else ""
            await _later(f"no proxy of the group leads just now{why}; nothing was changed")(
                scope, receive, send
            )
            return
        try:
            await self._pass_on(status.leader_url, scope, receive, send)
        except ClientDisconnect:
            return

    async def _pass_on(self, leader: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises `ClientDisconnect`."""
        query = scope["query_string"]
        path = scope.get("raw_path") or scope["path"].encode()
        url = httpx.URL(leader).copy_with(raw_path=path + (b"?" + query if query else b""))
        headers = [(name, value) for name, value in scope["headers"] if name not in _LEFT_OUT]
        has_body = any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in scope["headers"]
        )
        request = self._client.build_request(
            scope["method"],
            url,
            headers=[*headers, (_PASSED, b"1")],
            content=_body(receive) if has_body else None,
            timeout=ANSWER_S,
        )
        begun = False
        try:
            answer = await self._client.send(request, stream=True)
            try:
                told = [(name.lower(), value) for name, value in answer.headers.raw]
                kept = [(name, value) for name, value in told if name not in _ONE_HOP]
                start = {"type": "http.response.start", "status": answer.status_code, "headers": kept}
                begun = True
                await send(start)
                async for piece in answer.aiter_raw():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            finally:
                await answer.aclose()
        except httpx.HTTPError as exc:
            if begun:
                raise  # half of it is there: the connection has to break
            reached = not isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout)
            says = f"the leading proxy at {leader} does not answer ({type(exc).__name__})"
            changed = "whether it took this is not known" if reached else "nothing was changed"
            await _later(f"{says}; {changed}")(scope, receive, send)


def is_of_the_group(path: str) -> bool:
    return _OF_THE_GROUP.fullmatch(path) is not None and _OWN.fullmatch(path) is None


def _later(says: str) -> ASGIApp:
    refusal = problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{says}; come again")
    refusal.headers["retry-after"] = str(AGAIN_S)
    return refusal


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return

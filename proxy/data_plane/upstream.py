"""The way to the engine: httpx's interface on aiohttp's connections, for bytes that must arrive as they were sent.

httpx's own pool looks at every connection for every request; at 64 calls at once that alone costs 12 ms of CPU per call.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from multidict import CIMultiDict
from yarl import URL

from ..errors import UpstreamBroke, UpstreamTimedOut, UpstreamUnreachable
from .headers import Headers, shown, text_of

_KEEP_ALIVE_S = 2.0
"""Less than the 5 s after which engines on uvicorn close idle connections: a POST on a connection that is just being
closed fails, and cannot be sent again without knowing whether it was received."""

_MAX_HEADER_BYTES = 64 * 1024

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Answer:
    """An engine's answer, begun. Iterate over its raw chunks once, and close it whatever happens."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks = response.aiter_raw()
        self.status = response.status_code
        self.headers: Headers = response.headers.raw

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Raises `UpstreamBroke`."""
        try:
            return await self._chunks.__anext__()
        except httpx.TransportError as exc:
            raise UpstreamBroke(str(exc)) from exc

    async def aclose(self) -> None:
        """Does not wait for anybody: what has not been read by now closes the connection to the engine."""
        await self._response.aclose()


class Upstream:
    """Owns the connections to engines. Calls beyond `max_connections` wait for one; no call ever times out once sent."""

    def __init__(self, *, connect_timeout_s: float, max_connections: int) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._max_connections = max_connections
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        tls = httpx.create_ssl_context(trust_env=False)
        connector = aiohttp.TCPConnector(
            limit=self._max_connections, keepalive_timeout=_KEEP_ALIVE_S, ssl=tls
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),  # one client's cookies are nothing to the next
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(),
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
        )
        self._client = httpx.AsyncClient(
            transport=_RawTransport(verify=tls, trust_env=False, client=session),
            trust_env=False,
            follow_redirects=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.aclose()  # closes the transport, which closes aiohttp's session
            self._client = None

    async def send(self, method: str, base_url: str, target: str, headers: Headers, body: bytes) -> Answer:
        """Sends one request, and waits for the head of the answer, of whatever status.

        `target` is the path with its query, percent-encoded; it follows `base_url` byte for byte. Cancelling closes the
        connection. Raises `UpstreamUnreachable` and `UpstreamTimedOut` if nothing was sent, else `UpstreamBroke`.
        """
        if self._client is None:
            raise RuntimeError("Upstream is not open: use it with `async with`")
        base = httpx.URL(base_url)
        request = httpx.Request(
            method,
            base,
            headers=headers,
            content=body,
            extensions={
                "target": base.raw_path.rstrip(b"/") + target.encode("ascii"),
                "timeout": httpx.Timeout(None, connect=self._connect_timeout_s).as_dict(),
            },
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx.ConnectTimeout as exc:
            raise UpstreamTimedOut(f"no connection within {self._connect_timeout_s:g} s") from exc
        except httpx.ConnectError as exc:
            raise UpstreamUnreachable(str(exc)) from exc
        except httpx.TransportError as exc:
            raise UpstreamBroke(str(exc)) from exc
        if (fault := _fault_of(response)) is not None:
            await response.aclose()
            raise UpstreamBroke(f"what came is no HTTP: {fault}")
        return Answer(response)


class _RawTransport(AiohttpTransport):
    """httpx-aiohttp's transport where it is too free for a relay.

    Its own request method quotes the URL anew (`%7E` becomes `~`), reports a refused connection and an engine that broke
    off alike as a connect time-out, and closing its stream waits for a request body that is still being written.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        session = self.get_client()
        url = request.url
        target: bytes = request.extensions.get("target", url.raw_path)
        origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
        try:
            response = await session.request(
                request.method,
                URL(origin + target.decode("ascii"), encoded=True),
                headers=CIMultiDict((text_of(name), text_of(value)) for name, value in request.headers.raw),
                data=request.content or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(sock_connect=request.extensions["timeout"]["connect"]),
            )
        except aiohttp.ConnectionTimeoutError as exc:
            raise httpx.ConnectTimeout(_reason(exc)) from exc
        except aiohttp.ClientConnectorError as exc:
            raise httpx.ConnectError(_reason(exc)) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise httpx.RemoteProtocolError(_reason(exc)) from exc
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_RawStream(response),
            request=request,
        )


class _RawStream(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as exc:
            raise httpx.ReadError(_reason(exc)) from exc

    async def aclose(self) -> None:
        # Gives the connection back to the pool if all was read, and closes it at once if not.
        self._response.close()


def _fault_of(response: httpx.Response) -> str | None:
    """What no server would pass on: the client's connection would be torn, and nobody told why."""
    # Of the 1xx only a 101 ever arrives here, and nobody asked for one.
    if not 200 <= response.status_code <= 599:
        return f"the status {response.status_code}"
    for name, value in response.headers.raw:
        if _CONTROL.search(value):
            return f"control characters in the header {shown(text_of(name))}"
    return None


def _reason(exc: Exception) -> str:
    return str(exc) or type(exc).__name__

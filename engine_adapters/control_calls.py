"""Control calls over HTTP, as all adapters make them: each has a deadline, and what comes back is an answer or an error of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from scalesim.proxy.core.model import Capabilities, EngineId

from .base import EngineRefused, EngineUnreachable

CONNECT_S = 5.0
"""For the connection of a control call alone: even a busy engine accepts it at once."""

_RESET_AT_ONCE = AttributeError
"""What comes out of httpx, by way of anyio on uvloop, when a connection is reset before anybody has looked at it."""
_NOT_IMPLEMENTED = 501
"""An engine that answers so is up: it was not started with that."""


class ControlCalls:
    """To one engine. `client` belongs to the caller, as do its connections; `deadline_s` bounds each call."""

    def __init__(
        self,
        engine: EngineId,
        base_url: str,
        client: httpx.AsyncClient,
        *,
        api_key: str | None = None,
        deadline_s: float = 5.0,
    ) -> None:
        self.engine = engine
        self.base_url = base_url.rstrip("/")
        self._client = client
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self.deadline_s = deadline_s

    async def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        deadline_s: float | None = None,
        *,
        fails: bool = True,
    ) -> httpx.Response:
        """Any answer below 500, and 501; all else is `EngineUnreachable`. `deadline_s` takes the place of the usual one.
        `fails`: False where the engine answers 500 for what it will not do, so that it says nothing of the engine itself."""
        deadline_s = deadline_s or self.deadline_s
        timeout = httpx.Timeout(deadline_s, connect=min(CONNECT_S, deadline_s))
        try:
            response = await self._client.request(
                method, self.base_url + path, json=body, headers=self._headers, timeout=timeout
            )
        except (httpx.HTTPError, httpx.InvalidURL, _RESET_AT_ONCE) as exc:
            raise EngineUnreachable(self.engine, f"{method} {path}: {_named(exc)}") from exc
        # httpx's own stream holds the answer, and the answer it: both would stay until the collector comes round to them.
        response.stream = httpx.ByteStream(b"")
        if fails and response.status_code >= 500 and response.status_code != _NOT_IMPLEMENTED:
            raise EngineUnreachable(self.engine, f"{method} {path}: {told(response)}")
        return response

    async def models(self) -> list[Any]:
        """The cards of its OpenAI model list. Raises `EngineRefused` where it has none."""
        response = await self.send("GET", "/v1/models")
        if response.status_code >= 400:
            raise EngineRefused(self.engine, f"/v1/models: {told(response)}")
        cards = json_object(response).get("data")
        if not isinstance(cards, list):
            raise EngineRefused(self.engine, "its answer to /v1/models is no list of models")
        return cards


def unknown(reason: str) -> Capabilities:
    """Of what answers, and cannot be spoken to."""
    return Capabilities(kind="unknown", version="unknown", extended=False, reason=reason)


def locked_out(response: httpx.Response) -> Capabilities | None:
    """None if that is no answer to a key that is not the engine's."""
    if response.status_code in (401, 403):
        return unknown(f"the engine refuses our API key (HTTP {response.status_code})")
    return None


def json_object(response: httpx.Response) -> dict[str, Any]:
    """Empty where the body is something else: what needs a field then misses it."""
    value = json_value(response)
    return value if isinstance(value, dict) else {}


def json_value(response: httpx.Response) -> object:
    """None where the body is no JSON."""
    try:
        return response.json()
    except ValueError:
        return None


def told(response: httpx.Response) -> str:
    """An answer for people, with the engine's own words if it has some."""
    error = json_object(response).get("error")
    message = error.get("message") if isinstance(error, Mapping) else None
    return f"HTTP {response.status_code}: {message or response.text:.300}"


def _named(exc: Exception) -> str:
    """Many of httpx's errors carry no text."""
    return f"{type(exc).__name__} {exc}".strip()

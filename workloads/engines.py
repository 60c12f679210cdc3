"""What a measurement asks of an engine besides answers: to forget, how it tokenizes, what it is, how its time went."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import httpx

from .program import Message

STEP_SECONDS = re.compile(r'^scalesim:step_seconds_total\{[^}]*kind="(\w+)"[^}]*\}\s+(\S+)', re.MULTILINE)


def http_client(base_url: str, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    """For control and questions. It ignores web proxies of the environment, and loads certificates only if it needs them."""
    return httpx.AsyncClient(
        base_url=base_url, headers=headers, trust_env=False, timeout=60, verify=base_url.startswith("https:")
    )


class EngineUnfit(Exception):
    """The engine cannot be measured like this; the message says what it does not do."""


class Engine:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.url = str(http.base_url).rstrip("/")
        self._http = http

    async def forget_everything(self) -> None:
        """Empties the prefix cache. Calls that have just ended may still be on their way out: waits for them."""
        await self._ask("POST", "/flush_cache", params={"timeout": 30})

    async def model(self) -> str:
        response = await self._ask("GET", "/v1/models")
        try:
            return str(response.json()["data"][0]["id"])
        except (ValueError, KeyError, IndexError, TypeError) as exc:
            raise EngineUnfit(f"{self.url}/v1/models names no model") from exc

    async def capacity_tokens(self) -> int:
        response = await self._ask("GET", "/server_info")
        try:
            return int(response.json()["max_total_num_tokens"])
        except (ValueError, KeyError, TypeError) as exc:
            raise EngineUnfit(f"{self.url}/server_info does not say how many tokens fit") from exc

    async def must_take_plans(self) -> None:
        """Raises `EngineUnfit` for an engine whose plugin stayed out: it would be measured as if it were extended."""
        capabilities = (await self._ask("GET", "/scalesim/v1/capabilities")).json()
        if not capabilities["cache"]["active"]:
            raise EngineUnfit(f"{self.url} takes no plans: {capabilities['cache']['reason']}")

    async def must_report_its_cache(self) -> None:
        """Raises `EngineUnfit` where cached tokens would be missing from answers, which looks like a cache that never hits."""
        told = (await self._ask("GET", "/server_info")).json()
        if told.get("enable_cache_report") is False:
            raise EngineUnfit(f"{self.url} was started without --enable-cache-report")

    async def count_tokens(self, text: str) -> int:
        return len(await self._tokens({"prompt": text}))

    async def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """A chat as the model sees it."""
        return await self._tokens({"messages": list(messages)})

    async def step_seconds(self) -> dict[str, float] | None:
        """Since the engine started, by kind of step. None where it does not count."""
        try:
            text = (await self._ask("GET", "/metrics")).text
        except EngineUnfit:
            return None
        seconds: dict[str, float] = {}
        for kind, value in STEP_SECONDS.findall(text):
            seconds[kind] = seconds.get(kind, 0.0) + float(value)
        return seconds or None

    async def _tokens(self, body: dict[str, object]) -> list[int]:
        response = await self._ask("POST", "/v1/tokenize", json=body)
        try:
            return [int(token) for token in response.json()["tokens"]]
        except (ValueError, KeyError, TypeError) as exc:
            raise EngineUnfit(f"{self.url}/v1/tokenize gives no tokens") from exc

    async def _ask(
        self, method: str, path: str, *, params: dict[str, int] | None = None, json: object = None
    ) -> httpx.Response:
        try:
            response = await self._http.request(method, path, params=params, json=json)
        except httpx.HTTPError as exc:
            raise EngineUnfit(f"{method} {self.url}{path}: {exc!r}") from exc
        if response.is_error:
            raise EngineUnfit(f"{method} {self.url}{path}: {response.status_code} {response.text[:500]}")
        return response

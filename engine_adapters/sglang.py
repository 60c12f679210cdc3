"""SGLang, with our plugin or without: actions become control calls of the plugin, a stock engine can only abort."""

from __future__ import annotations

import hashlib
import heapq
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx

from scalesim.proxy.core.actions import Action, Evict, Order, Pin, Renew, Unpin
from scalesim.proxy.core.model import Capabilities, EngineId, EngineReport, Owner

from .base import EngineRefused, EngineUnreachable, Fence, FenceLost
from .sglang_plugin import wire

REQUEST_ID_FIELDS = {
    "/v1/chat/completions": "rid",
    "/v1/completions": "rid",
    "/v1/responses": "request_id",
    "/v1/embeddings": "rid",
    "/generate": "rid",
}
SESSION_PATHS = REQUEST_ID_FIELDS.keys() - {"/v1/embeddings"}
CONNECT_S = 5.0
"""For the connection of a control call alone: even a busy engine accepts it at once."""
STOCK_FEATURES = frozenset({"abort"})


class SGLangAdapter:
    """One engine. `client` belongs to the caller, as do its connections; `deadline_s` bounds each control call.

    What the engine can do is learned by `probe`; before the first one nothing is refused unasked.
    """

    def __init__(
        self,
        engine: EngineId,
        base_url: str,
        client: httpx.AsyncClient,
        *,
        api_key: str | None = None,
        deadline_s: float = 5.0,
    ) -> None:
        self._engine = engine
        self._base_url = base_url.rstrip("/")
        self._client = client
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._deadline_s = deadline_s
        self._known: Capabilities | None = None

    @property
    def engine(self) -> EngineId:
        return self._engine

    @property
    def base_url(self) -> str:
        return self._base_url

    # --- what it is ------------------------------------------------------------------------------------------------

    async def probe(self) -> Capabilities:
        """An engine that answers is never unreachable: what it lacks is in the capabilities, with the reason."""
        response = await self._send("GET", f"{wire.PREFIX}/capabilities")
        answer = _json_object(response) if response.status_code == 200 else {}
        if response.status_code in (401, 403):
            self._known = _useless(f"the engine refuses our API key (HTTP {response.status_code})")
        elif "protocol" in answer:
            self._known = _of_plugin(answer)
        else:
            self._known = await self._probe_stock()
        return self._known

    async def _probe_stock(self) -> Capabilities:
        info = await self._read_first("/server_info", "/get_server_info")
        model = await self._read_first("/model_info", "/get_model_info")
        if not info and not model:
            return _useless("it answers HTTP, but neither as SGLang nor as an engine with ScaleSim's plugin")
        return Capabilities(
            kind="sglang",
            version=str(info.get("version") or "unknown"),
            extended=False,
            features=STOCK_FEATURES,
            boot_id=_stock_boot_id(info),
            capacity_tokens=_whole(info.get("max_total_num_tokens")),
            reason="it is an SGLang without ScaleSim's plugin, so its cache evicts by recency alone",
        )

    async def _read_first(self, *paths: str) -> dict[str, Any]:
        """The answer of the first path that has one: names change between releases."""
        for path in paths:
            response = await self._send("GET", path)
            if response.status_code == 200 and (answer := _json_object(response)):
                return answer
        return {}

    # --- what it does ----------------------------------------------------------------------------------------------

    async def carry_out(self, action: Action, fence: Fence) -> None:
        match action:
            case Order(distances=distances):
                self._needs("order")
                await self._command("plan", fence, {"owners": _nearest(distances)})
            case Renew():
                self._needs("order", "pin")
                await self._command("renew", fence, {})
            case Pin(owners=owners):
                self._needs("pin")
                await self._command_in_parts("pin", fence, owners)
            case Unpin(owners=owners):
                self._needs("pin")
                await self._command_in_parts("unpin", fence, owners)
            case Evict(owners=owners):
                self._needs("evict")
                await self._command_in_parts("evict", fence, owners)

    async def report(self) -> EngineReport:
        self._needs("residency")
        answer = await self._call("GET", f"{wire.PREFIX}/stats")
        try:
            return EngineReport(
                boot_id=str(answer["boot_id"]),
                plan_in_force=bool(answer["plan_in_force"]),
                pinned_owners=frozenset(Owner(str(name)) for name in answer["pins"]),
                pinned_tokens=_tokens(answer["pinned_tokens"]),
                capacity_tokens=_tokens(answer["capacity_tokens"]),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise EngineRefused(
                self._engine, f"its stats are not of protocol {wire.PROTOCOL}: {exc!r}"
            ) from exc

    async def abort(self, request_id: str) -> None:
        self._needs("abort")
        self._check(await self._send("POST", "/abort_request", {"rid": request_id}))

    def additions(
        self, path: str, body: Mapping[str, object], owner: Owner | None, request_id: str
    ) -> Mapping[str, str]:
        field = REQUEST_ID_FIELDS.get(path)
        if field is None:
            return {}
        added = {}
        # With several answers the engine would make other ids out of ours, and an abort would not find them.
        if not isinstance(body.get(field), str) and not _has_many_answers(path, body):
            added[field] = request_id
        # The engine refuses a request that names both kinds of session: advice must never cost an answer.
        has_session = body.get("session_params") is not None
        if path in SESSION_PATHS and owner is not None and _can_be_told(owner) and not has_session:
            added["session_id"] = owner
        return added

    # --- calls -----------------------------------------------------------------------------------------------------

    def _needs(self, *any_of: str) -> None:
        if self._known is not None and self._known.features.isdisjoint(any_of):
            lacking = " or ".join(any_of)
            raise EngineRefused(
                self._engine, f"it cannot {lacking}: {self._known.reason or 'not in its features'}"
            )

    async def _command_in_parts(self, name: str, fence: Fence, owners: Sequence[Owner]) -> None:
        for part in _parts([owner for owner in owners if _can_be_told(owner)]):
            await self._command(name, fence, {"owners": part})

    async def _command(self, name: str, fence: Fence, payload: Mapping[str, object]) -> None:
        body = {"fence": [fence.token, fence.sequence], **payload}
        await self._call("POST", f"{wire.PREFIX}/{name}", body)

    async def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        response = await self._send(method, path, body)
        self._check(response)
        return _json_object(response)

    async def _send(self, method: str, path: str, body: Mapping[str, object] | None = None) -> httpx.Response:
        """Any answer below 500; all else is `EngineUnreachable`."""
        timeout = httpx.Timeout(self._deadline_s, connect=min(CONNECT_S, self._deadline_s))
        try:
            response = await self._client.request(
                method, self._base_url + path, json=body, headers=self._headers, timeout=timeout
            )
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise EngineUnreachable(self._engine, f"{method} {path}: {_named(exc)}") from exc
        if response.status_code >= 500:
            raise EngineUnreachable(self._engine, f"{method} {path}: {_told(response)}")
        return response

    def _check(self, response: httpx.Response) -> None:
        if response.status_code == 409:
            raise FenceLost(self._engine, _told(response))
        if response.status_code >= 400:
            raise EngineRefused(self._engine, f"{response.request.url.path}: {_told(response)}")


def _of_plugin(answer: Mapping[str, Any]) -> Capabilities:
    cache, engine = _mapping(answer.get("cache")), _mapping(answer.get("engine"))
    protocol = answer["protocol"]
    reason = ""
    if protocol != wire.PROTOCOL:
        reason = f"its plugin speaks protocol {protocol!r:.32}, this proxy {wire.PROTOCOL}"
    elif cache.get("active") is not True:
        reason = str(cache.get("reason") or "its plugin is not active, and does not say why")
    features = answer.get("features")
    told = frozenset(map(str, features)) if isinstance(features, list) else frozenset()
    return Capabilities(
        kind=str(engine.get("name") or "sglang"),
        version=str(engine.get("version") or "unknown"),
        extended=not reason,
        features=told if not reason else STOCK_FEATURES,
        boot_id=str(answer["boot_id"]) if answer.get("boot_id") else None,
        capacity_tokens=_whole(answer.get("capacity_tokens")),
        reason=reason,
    )


def _useless(reason: str) -> Capabilities:
    return Capabilities(kind="unknown", version="unknown", extended=False, reason=reason)


def _stock_boot_id(info: Mapping[str, Any]) -> str | None:
    """A stock SGLang has no id of its start, but a seed drawn at each start (unless given as a flag) and the seconds
    that its start-up phases took; together they do not come twice. None if it tells neither."""
    told = [info.get("random_seed"), info.get("startup_time")]
    if told == [None, None]:
        return None
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _nearest(distances: Sequence[tuple[Owner, float]]) -> dict[str, float]:
    """What a plan may hold: owners that are not in it count as farther than all that are."""
    expected = [(owner, far) for owner, far in distances if far < math.inf and _can_be_told(owner)]
    return dict(heapq.nsmallest(wire.MAX_OWNERS, expected, key=lambda pair: pair[1]))


def _parts(owners: Sequence[Owner]) -> Iterator[Sequence[Owner]]:
    """Pins and evictions add up, so a long list may go in several calls of the same fence."""
    return (owners[at : at + wire.MAX_OWNERS] for at in range(0, len(owners), wire.MAX_OWNERS))


def _can_be_told(owner: Owner) -> bool:
    """An owner whose name the protocol has no room for is served, but nothing is remembered for it."""
    return 0 < len(owner) <= wire.MAX_OWNER_CHARS


def _has_many_answers(path: str, body: Mapping[str, object]) -> bool:
    if path == "/v1/responses":  # always one; its `input` and `text` mean something else
        return False
    sampling = body.get("sampling_params")
    return (
        _above_one(body.get("n"))
        or isinstance(sampling, list)
        or _above_one(_mapping(sampling).get("n"))
        or any(_is_list_of_prompts(body.get(name)) for name in ("prompt", "text", "input_ids", "input"))
    )


def _above_one(n: object) -> bool:
    return isinstance(n, (int, float)) and n > 1


def _is_list_of_prompts(prompt: object) -> bool:
    """A list of numbers is one prompt in token ids."""
    return isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _whole(value: object) -> int | None:
    """None as well for what no engine can have so many of, which would not fit into a float further on."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= wire.MAX_INTEGER:
        return None
    return value


def _tokens(value: object) -> int:
    if (number := _whole(value)) is None:
        raise ValueError(f"{value!r:.64} is no number of tokens")
    return number


def _json_object(response: httpx.Response) -> dict[str, Any]:
    """Empty where the body is something else: what needs a field then misses it."""
    try:
        value = response.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _told(response: httpx.Response) -> str:
    error = _mapping(_json_object(response).get("error"))
    return f"HTTP {response.status_code}: {error.get('message') or response.text:.300}"


def _named(exc: Exception) -> str:
    """Many of httpx's errors carry no text."""
    return f"{type(exc).__name__} {exc}".strip()

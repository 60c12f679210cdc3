"""The list of models, where no single engine can give it: what all engines serve together, each name once.

ASGI in front of the relay. With one engine and no aliases the engine answers for itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote

from ..engines.models import ModelNotFound
from ..errors import CallRefused
from .asgi import Receive, Scope, Send, answer_json, answer_refusal
from .identity import address_of

_ROUTE = "/v1/models"


class ModelList:
    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        merged: Callable[[], Mapping[str, Any] | None],
    ) -> None:
        """`merged`: as engines answer it; None where the only engine is to be asked."""
        self._app = app
        self._merged = merged

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A look that costs other requests nothing comes first.
        if scope["type"] == "http" and _ROUTE in scope["path"] and scope["method"] in ("GET", "HEAD"):
            name = _asked_for(scope)
            merged = None if name is None else self._merged()
            if name is not None and merged is not None:
                await _answer(send, name, merged)
                return
        await self._app(scope, receive, send)


def _asked_for(scope: Scope) -> str | None:
    """The model; empty: all of them. None: something else is asked for."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    try:
        path = address_of(raw.decode("ascii")).path
    except (CallRefused, UnicodeDecodeError):
        return None  # for the relay to refuse
    if path.rstrip("/") == _ROUTE:
        return ""
    # Names may hold slashes.
    return unquote(path.removeprefix(f"{_ROUTE}/")) if path.startswith(f"{_ROUTE}/") else None


async def _answer(send: Send, name: str, merged: Mapping[str, Any]) -> None:
    if not name:
        await answer_json(send, 200, merged)
        return
    card = next((one for one in merged["data"] if one["id"] == name), None)
    if card is None:
        await answer_refusal(send, ModelNotFound(f"the model {name[:100]!r} does not exist; see {_ROUTE}"))
        return
    await answer_json(send, 200, card)

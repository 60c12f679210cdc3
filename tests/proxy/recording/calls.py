"""Calls as the relay tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from scalesim.proxy.core.model import AdapterName, AgentName, CallId, Outcome, SimulationId, Usage
from scalesim.proxy.served_call import ServedCall

KEY = bytes(range(32))
CHAT = "/v1/chat/completions"


@dataclass
class Said:
    """An answer."""

    words: str

    @property
    def held_bytes(self) -> int:
        return len(self.words)

    def text(self) -> str:
        return self.words


def call(
    number: int = 1,
    content: object = "What do you do next?",
    *,
    agent: str | None = "Ann",
    simulation: str = "town",
    adapter: str | None = None,
    route: str = CHAT,
    said: str | None = None,
    **options: Any,
) -> ServedCall:
    body = {"model": "base", "messages": [{"role": "user", "content": content}]} | options.pop("fields", {})
    given: dict[str, Any] = {
        "source": "X-Agent-ID" if agent else "",
        "confidence": 1.0 if agent else 0.0,
        "body": body,
        "raw": orjson.dumps(body),
        "arrived_at": 100.0 + number,
        "first_byte_at": 100.25 + number,
        "ended_at": 101.5 + number,
        "outcome": Outcome.DONE,
        "status": 200,
        "usage": Usage(prompt=40, cached=32, output=7),
        "answer": None if said is None else Said(said),
    }
    return ServedCall(
        call=CallId(number),
        route=route,
        simulation=SimulationId(simulation),
        agent=None if agent is None else AgentName(agent),
        adapter=None if adapter is None else AdapterName(adapter),
        **(given | options),
    )

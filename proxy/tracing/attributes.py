"""What a span says of a call, in the words of OpenTelemetry's conventions for generative AI. Never of a prompt or an answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from urllib.parse import urlsplit

from scalesim.proxy.core.model import AgentName, SimulationId, Usage
from scalesim.proxy.span import Agents

Value = str | int | float | bool
MOST_CHARS = 128
"""Of what a client wrote."""

_OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "text_completion",
    "/generate": "text_completion",
    "/v1/embeddings": "embeddings",
}
_NUMBERS = {
    "gen_ai.request.max_tokens": ("max_completion_tokens", "max_tokens", "max_output_tokens"),
    "gen_ai.request.temperature": ("temperature",),
    "gen_ai.request.top_p": ("top_p",),
}
"""By the fields of a request's body that say it, the strongest first."""


def of_request(route: str, body: Mapping[str, object] | None) -> tuple[str, dict[str, Value]]:
    """A span's name, and what is known of it when it begins."""
    operation = _OPERATIONS.get(route, "text_completion")
    told: dict[str, Value] = {"gen_ai.operation.name": operation}
    model = None if body is None else body.get("model")
    if isinstance(model, str) and model:
        told["gen_ai.request.model"] = model[:MOST_CHARS]
    if body is not None:
        for name, fields in _NUMBERS.items():
            for field in fields:
                number = body.get(field)
                if isinstance(number, int | float) and not isinstance(number, bool):
                    told[name] = number
                    break
        if body.get("stream") is True:
            told["gen_ai.request.stream"] = True
    name = f"{operation} {told['gen_ai.request.model']}" if "gen_ai.request.model" in told else operation
    return name, told


def of_caller(
    simulation: SimulationId, agent: AgentName | None, agents: Agents, key: bytes
) -> dict[str, Value]:
    told: dict[str, Value] = {"scalesim.simulation": simulation[:MOST_CHARS]}
    if agent is not None and agents is Agents.NAMED:
        told["gen_ai.agent.name"] = agent[:MOST_CHARS]
    elif agent is not None and agents is Agents.HASHED:
        text = f"{simulation}\0{agent}".encode()
        told["scalesim.agent"] = hashlib.blake2b(text, key=key, digest_size=8).hexdigest()
    return told


def of_engine(base_url: str) -> dict[str, Value]:
    parts = urlsplit(base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname or "", "server.port": port}


def of_usage(usage: Usage) -> dict[str, Value]:
    told: dict[str, Value] = {
        "gen_ai.usage.input_tokens": usage.prompt,
        "gen_ai.usage.output_tokens": usage.output,
    }
    if usage.cached is not None:
        told["gen_ai.usage.cache_read.input_tokens"] = usage.cached
    return told

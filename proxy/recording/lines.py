"""A call as a line of the trace. Pure: what is redacted is decided here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from scalesim.proxy.served_call import ServedCall

from .hashing import BYTES_PER_TOKEN, Hasher
from .pieces import namespace_of, pieces_of
from .trace import SCHEMA, VERSION

_HASHED = "names (of simulations, callers, models and adapters) and prompts are keyed hashes"
_IN_FULL = "nothing: prompts, names and answers are in it in full"


class Lines:
    """Of one run: `started_at` on the proxy's clock and `start_unix_s` are the same moment."""

    def __init__(self, hasher: Hasher, *, full_text: bool, started_at: float, start_unix_s: float) -> None:
        self._hasher = hasher
        self._full_text = full_text
        self._started_at = started_at
        self._start_unix_s = start_unix_s

    def header(self, part: int) -> bytes:
        return _line(
            {
                "schema": SCHEMA,
                "version": VERSION,
                "text": self._full_text,
                "redacted": _IN_FULL if self._full_text else _HASHED,
                "start_unix_s": round(self._start_unix_s, 3),
                "part": part,
                "block_size": self._hasher.block_tokens,
                "bytes_per_token": BYTES_PER_TOKEN,
                "salt_id": self._hasher.key_id,
            }
        )

    def lost(self, calls: int) -> bytes:
        return _line({"lost": calls})

    def call(self, one: ServedCall, breathe: Callable[[], None] = lambda: None) -> bytes:
        """`breathe` is called every tenth of a millisecond or so. Never raises for whatever a client sent."""
        body = one.body or {}
        name = self._hasher.name
        blocks = self._hasher.blocks(
            (*namespace_of(body), one.adapter or ""), pieces_of(one.route, body), breathe
        )
        usage, agent, model = one.usage, one.agent, body.get("model")
        line: dict[str, object] = {
            "timestamp": _ms(one.arrived_at - self._started_at),
            "request_id": str(one.call),
            "session_id": None if agent is None else name("caller", one.simulation, agent),
            "input_length": blocks.input_length,
            "output_length": None if usage is None else usage.output,
            "hash_ids": blocks.hash_ids,
            "cut": blocks.cut,
            "simulation": name("simulation", one.simulation),
            "kind": one.kind,
            "source": one.source,
            "confidence": round(one.confidence, 4),
            "step": one.step,
            "route": one.route,
            "model": name("model", model) if isinstance(model, str) else None,
            "adapter": None if one.adapter is None else name("adapter", one.adapter),
            "stream": body.get("stream") is True,
            "first_byte_ms": None if one.first_byte_at is None else _ms(one.first_byte_at - one.arrived_at),
            "end_ms": _ms(one.ended_at - one.arrived_at),
            "outcome": str(one.outcome),
            "status": one.status,
            "prompt_tokens": None if usage is None else usage.prompt,
            "cached_tokens": None if usage is None else usage.cached,
        }
        if self._full_text:
            line["text"] = _in_full(one)
        return _line(line)


def _in_full(one: ServedCall) -> dict[str, object]:
    # The body's own bytes. Line breaks in them can only be space between its parts: in strings JSON has them escaped.
    body = (
        orjson.Fragment(one.raw.replace(b"\n", b" ").replace(b"\r", b" ")) if one.body is not None else None
    )
    return {
        "simulation": _sayable(one.simulation),
        "agent": None if one.agent is None else _sayable(one.agent),
        "adapter": None if one.adapter is None else _sayable(one.adapter),
        "body": body,
        "answer": "" if one.answer is None else _sayable(one.answer.text()),
    }


def _sayable(text: str) -> str:
    """JSON has no half characters, and an answer that was cut may end in one."""
    return text.encode("utf-8", "replace").decode()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _line(fields: Mapping[str, object]) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)

"""A recorded trace of calls (docs/traces.md), read for a replay: what can be played, and what of it was left out, and why."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from scalesim.workloads.program import Impossible

SCHEMA = "scalesim.trace"
VERSION = 1
NOBODY = "nobody"
"""Who called where the trace does not know."""


@dataclass(frozen=True, slots=True)
class TracedCall:
    arrived_s: float
    agent: str
    blocks: tuple[int, ...]
    input_tokens: int
    output_tokens: int
    adapter: str | None = None
    took_s: float | None = None
    """In the recorded run; None: not known."""


@dataclass(frozen=True, slots=True)
class Trace:
    calls: tuple[TracedCall, ...]
    """In the order in which they came."""
    block_tokens: int
    skipped: Counter[str] = field(default_factory=Counter)
    """Lines that are no calls to be played, by the reason."""


def read(lines: Iterable[str], whose: str = "trace") -> Trace:
    """Raises `Impossible` with the line's number for a line that cannot be what it should be. The last may be half of one."""
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise Impossible(f"{whose} is empty")
    first, text = numbered[0]
    header = _object(text, whose, first)
    if header.get("schema") != SCHEMA or header.get("version") != VERSION:
        raise Impossible(f"{whose}, line {first}: no header of {SCHEMA} {VERSION}")
    block_tokens = header.get("block_size")
    if not isinstance(block_tokens, int) or isinstance(block_tokens, bool) or block_tokens < 1:
        raise Impossible(f"{whose}, line {first}: block_size is {block_tokens!r}, and has to be at least 1")
    calls: list[TracedCall] = []
    skipped: Counter[str] = Counter()
    for number, line in numbered[1:]:
        try:
            found = _object(line, whose, number)
        except Impossible:
            if number == numbered[-1][0] and not line.endswith("\n"):
                skipped["the last line is half of one"] += 1
                break
            raise
        reason = _reason(found)
        if reason:
            skipped[reason] += 1
        else:
            calls.append(_call(found, whose, number, block_tokens))
    if not calls:
        raise Impossible(f"{whose} has no call that can be played; left out: {dict(skipped)}")
    # Lines stand in the order in which calls ended. Of equal times, in that order.
    calls.sort(key=lambda call: call.arrived_s)
    return Trace(tuple(calls), block_tokens, skipped)


def _reason(found: dict[str, Any]) -> str | None:
    """Why it is not played; None if it is."""
    if "lost" in found:
        return "a note of lost calls"
    if "schema" in found:
        return "a further header"
    if found.get("outcome", "done") != "done":
        return "it did not end well"
    if not found.get("output_length"):
        return "nobody knows the length of its answer"
    if found.get("cut"):
        return "its prompt was cut"
    return None


def _call(found: dict[str, Any], whose: str, number: int, block_tokens: int) -> TracedCall:
    def at_least(name: str, least: float) -> float:
        value = found.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or value is None or value < least:
            raise Impossible(
                f"{whose}, line {number}: {name} is {value!r}, and has to be a number from {least:g} on"
            )
        return float(value)

    tokens = int(at_least("input_length", 1))
    blocks = found.get("hash_ids")
    if not isinstance(blocks, list) or not all(isinstance(block, int) for block in blocks):
        raise Impossible(f"{whose}, line {number}: hash_ids are no list of whole numbers")
    if len(blocks) != math.ceil(tokens / block_tokens):
        raise Impossible(
            f"{whose}, line {number}: {len(blocks)} hash_ids for {tokens} tokens in blocks of {block_tokens}"
        )
    adapter = found.get("adapter")
    ended = at_least("end_ms", 0.0) / 1e3 if found.get("end_ms") is not None else None
    return TracedCall(
        at_least("timestamp", 0.0) / 1e3,
        str(found.get("session_id") or NOBODY),
        tuple(blocks),
        tokens,
        int(at_least("output_length", 1)),
        None if adapter is None else str(adapter),
        ended,
    )


def _object(line: str, whose: str, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as exc:
        raise Impossible(f"{whose}, line {number} is not JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise Impossible(f"{whose}, line {number} is no JSON object")
    return found

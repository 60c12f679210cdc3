"""A recorded trace of calls (docs/traces.md), read for a replay: what can be played, and what of it was left out, and why."""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalesim.workloads.program import Impossible

SCHEMA = "scalesim.trace"
VERSION = 1
OF_CALLS = frozenset({"input_length", "output_length", "hash_ids"})
"""A line without any of them is something else, a hint perhaps."""
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
    first_at: Mapping[str, str] = field(default_factory=dict)
    """By reason: the first of these lines."""
    silent_agents: int = 0
    """Named in lines that are not played, and by no call that is."""
    bytes_per_token: int = 4

    def left_out(self) -> list[str]:
        """What is not played, or not as it was, in words."""
        told = [
            f"{count} {'line' if count == 1 else 'lines'}: {reason} (the first: {self.first_at[reason]})"
            for reason, count in sorted(self.skipped.items())
        ]
        if self.silent_agents:
            told.append(f"{self.silent_agents} agents are named, and no call of theirs is played")
        if nameless := sum(call.agent == NOBODY for call in self.calls):
            told.append(f"{nameless} calls are played as one agent's: the trace does not say whose they are")
        return told


@dataclass(slots=True)
class _Reading:
    """What was read so far, of all files."""

    calls: list[TracedCall] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    first_at: dict[str, str] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)
    block_tokens: int = 0
    bytes_per_token: int = 0
    salt: object = None
    start_s: float = 0.0

    def skip(self, reason: str, where: str) -> None:
        self.skipped[reason] += 1
        self.first_at.setdefault(reason, where)


def read(lines: Iterable[str], whose: str = "trace") -> Trace:
    """Raises `Impossible` with the line's number for a line that cannot be what it should be. The last may be half of one."""
    return read_all([(whose, lines)])


def read_files(paths: Iterable[Path]) -> Trace:
    """The files of one trace, the oldest first. Raises `Impossible` for one that cannot be read, too."""
    return read_all((str(path), _lines(path)) for path in paths)


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            yield from lines
    except OSError as exc:
        raise Impossible(f"{path}: {exc.strerror or exc}") from exc


def read_all(files: Iterable[tuple[str, Iterable[str]]]) -> Trace:
    """The files of one trace, each with its name and the oldest first. Raises as `read`."""
    reading, names = _Reading(), []
    for whose, lines in files:
        _read_file(lines, whose, reading)
        names.append(whose)
    if not reading.calls:
        raise Impossible(
            f"{', '.join(names)} has no call that can be played; left out: {dict(reading.skipped)}"
        )
    # Lines stand in the order in which calls ended. Of equal times, in that order.
    reading.calls.sort(key=lambda call: call.arrived_s)
    silent = reading.named - {call.agent for call in reading.calls}
    return Trace(tuple(reading.calls), reading.block_tokens, reading.skipped, reading.first_at, len(silent))


def _read_file(lines: Iterable[str], whose: str, reading: _Reading) -> None:
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise Impossible(f"{whose} is empty")
    first, text = numbered[0]
    later_s = _begin(_object(text, whose, first), f"{whose}, line {first}", reading)
    for number, line in numbered[1:]:
        where = f"{whose}, line {number}"
        try:
            found = _object(line, whose, number)
        except Impossible:
            if number == numbered[-1][0] and not line.endswith("\n"):
                reading.skip("the last line is half of one", where)
                break
            raise
        if found.get("session_id") is not None:
            reading.named.add(str(found["session_id"]))
        reason = _reason(found) or _seen(found, reading)
        if reason:
            reading.skip(reason, where)
        else:
            reading.calls.append(_call(found, whose, number, reading.block_tokens, later_s))


def _begin(header: Mapping[str, Any], where: str, reading: _Reading) -> float:
    """Seconds by which this file's run began later than the first one's."""
    if header.get("schema") != SCHEMA or header.get("version") != VERSION:
        raise Impossible(f"{where}: no header of {SCHEMA} {VERSION}")

    def whole(name: str, default: int | None) -> int:
        value = header.get(name, default)
        if type(value) is not int or value < 1:
            raise Impossible(f"{where}: {name} is {value!r}, and has to be at least 1")
        return value

    block_tokens, bytes_per_token = whole("block_size", None), whole("bytes_per_token", 4)
    start_s = header.get("start_unix_s", 0.0)
    if not isinstance(start_s, int | float) or isinstance(start_s, bool) or not math.isfinite(start_s):
        raise Impossible(f"{where}: start_unix_s is {start_s!r}, and has to be a number")
    if not reading.block_tokens:
        reading.block_tokens, reading.bytes_per_token = block_tokens, bytes_per_token
        reading.salt, reading.start_s = header.get("salt_id"), start_s
    of_first = reading.block_tokens, reading.bytes_per_token, reading.salt
    if (block_tokens, bytes_per_token, header.get("salt_id")) != of_first:
        raise Impossible(
            f"{where}: its hashes cannot be compared with those of the file before it"
            " (block_size, bytes_per_token, salt_id)"
        )
    if start_s < reading.start_s:
        raise Impossible(f"{where}: it began before the file that was named before it; name the oldest first")
    return start_s - reading.start_s


def _seen(found: Mapping[str, Any], reading: _Reading) -> str | None:
    """Ids of requests are those of one run: another one's begin anew, and are kept apart by when they came."""
    request = found.get("request_id")
    if request is None:
        return None
    key = f"{request} {found.get('timestamp')}"
    if key in reading.requests:
        return "it is there already"
    reading.requests.add(key)
    return None


def by_caller(calls: Iterable[TracedCall]) -> list[deque[TracedCall]]:
    """Each caller's calls in their order. Those of nobody knows whom wait for none of each other."""
    found: dict[str | int, deque[TracedCall]] = {}
    for number, call in enumerate(calls):
        found.setdefault(number if call.agent == NOBODY else call.agent, deque()).append(call)
    return list(found.values())


def _reason(found: Mapping[str, Any]) -> str | None:
    """Why it is not played; None if it is."""
    if "lost" in found:
        return "a note of lost calls"
    if "schema" in found:
        return "a further header"
    if found.keys().isdisjoint(OF_CALLS):
        return "it is no call"
    if found.get("outcome", "done") != "done":
        return "it did not end well"
    if not found.get("output_length"):
        return "nobody knows the length of its answer"
    if found.get("cut"):
        return "its prompt was cut"
    return None


def _call(found: Mapping[str, Any], whose: str, number: int, block_tokens: int, later_s: float) -> TracedCall:
    def at_least(name: str, least: float) -> float:
        value = found.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or value is None or value < least:
            raise Impossible(
                f"{whose}, line {number}: {name} is {value!r}, and has to be a number from {least:g} on"
            )
        return float(value)

    def whole(name: str) -> int:
        value = at_least(name, 1)
        if value != int(value):
            raise Impossible(f"{whose}, line {number}: {name} is {value:g}, and has to be a whole number")
        return int(value)

    tokens = whole("input_length")
    blocks = found.get("hash_ids")
    if not isinstance(blocks, list) or not all(type(block) is int for block in blocks):
        raise Impossible(f"{whose}, line {number}: hash_ids are no list of whole numbers")
    if len(blocks) != math.ceil(tokens / block_tokens):
        raise Impossible(
            f"{whose}, line {number}: {len(blocks)} hash_ids for {tokens} tokens in blocks of {block_tokens}"
        )
    adapter = found.get("adapter")
    ended = at_least("end_ms", 0.0) / 1e3 if found.get("end_ms") is not None else None
    return TracedCall(
        later_s + at_least("timestamp", 0.0) / 1e3,
        str(found.get("session_id") or NOBODY),
        tuple(blocks),
        tokens,
        whole("output_length"),
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

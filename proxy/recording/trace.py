"""The trace's form, and its reader. Pure: lines in, calls out.

A file of a trace begins with a header; then comes a line for each call, in the order in which calls ended, and now and then one
that says how many calls are missing. docs/traces.md says what the fields mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

SCHEMA = "scalesim.trace"
VERSION = 1
MAX_LINE_BYTES = 64 * 1024 * 1024
KEPT_SKIPS = 100
"""Of the lines that were skipped so many are named, all are counted."""


@dataclass(frozen=True, slots=True)
class Header:
    version: int
    part: int
    """Which file of its run it begins, from 0 on."""
    start_unix_s: float
    """When the run began: what `timestamp` counts from."""
    block_size: int
    """In tokens."""
    bytes_per_token: int
    salt_id: str
    """Hashes of two traces can be compared if this is equal."""
    text: bool
    """Prompts, names and answers are in it in full."""


@dataclass(frozen=True, slots=True)
class Text:
    """What only a full-text trace has."""

    simulation: str
    agent: str | None
    adapter: str | None
    body: Mapping[str, Any] | None
    answer: str


@dataclass(frozen=True, slots=True)
class Call:
    """Lengths in tokens, times in milliseconds. None: not known."""

    timestamp: float
    """Arrival, since the run began."""
    request_id: str
    session_id: str | None
    """The caller."""
    input_length: int
    output_length: int | None
    hash_ids: tuple[int, ...]
    cut: bool
    simulation: str
    kind: str
    source: str
    confidence: float
    step: float | None
    route: str
    model: str | None
    adapter: str | None
    stream: bool
    first_byte_ms: float | None
    end_ms: float
    outcome: str
    status: int | None
    prompt_tokens: int | None
    cached_tokens: int | None
    text: Text | None = None


class Skipped(NamedTuple):
    line: int
    """From 1 on."""
    why: str


@dataclass
class Reading:
    """Iterate it once: it yields calls, and knows the rest when it has ended, or up to where it is."""

    lines: Iterable[bytes]
    headers: list[Header] = field(default_factory=list)
    """One for each file, if `lines` are those of several."""
    lost: int = 0
    """Calls that the trace says it has no line of."""
    skips: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    """The first `KEPT_SKIPS` of them."""

    def __iter__(self) -> Iterator[Call]:
        for number, line in enumerate(self.lines, start=1):
            if not line.strip():
                continue
            try:
                found = _read(line)
            except _NotOurs as exc:
                cut_off = "" if line.endswith(b"\n") else ", and cut off: its writer was stopped in it"
                self._skip(number, f"{exc}{cut_off}")
                continue
            match found:
                case Header():
                    self.headers.append(found)
                case Call() if not self.headers:
                    self._skip(number, "before any header")
                case Call():
                    yield found
                case int():
                    self.lost += found

    def _skip(self, number: int, why: str) -> None:
        self.skips += 1
        if len(self.skipped) < KEPT_SKIPS:
            self.skipped.append(Skipped(number, why))


class _NotOurs(Exception):
    pass


def _read(line: bytes) -> Header | Call | int:
    if len(line) > MAX_LINE_BYTES:
        raise _NotOurs(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        one = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise _NotOurs("not JSON") from None
    if not isinstance(one, dict):
        raise _NotOurs("not an object")
    try:
        if "schema" in one:
            return _header(one)
        if "lost" in one:
            return _int(one, "lost")
        return _call(one)
    except KeyError as exc:
        raise _NotOurs(f"without {exc.args[0]}") from None


def _header(one: Mapping[str, Any]) -> Header:
    if one["schema"] != SCHEMA:
        raise _NotOurs(f"a header, but not of {SCHEMA}")
    if one["version"] != VERSION:
        raise _NotOurs(f"version {one['version']!r}; {VERSION} is read here")
    return Header(
        version=VERSION,
        part=_int(one, "part"),
        start_unix_s=_number(one, "start_unix_s"),
        block_size=_int(one, "block_size"),
        bytes_per_token=_int(one, "bytes_per_token"),
        salt_id=_str(one, "salt_id"),
        text=_bool(one, "text"),
    )


def _call(one: Mapping[str, Any]) -> Call:
    ids = one["hash_ids"]
    if not isinstance(ids, list) or not all(type(each) is int for each in ids):
        raise _NotOurs("hash_ids is not a list of integers")
    return Call(
        timestamp=_number(one, "timestamp"),
        request_id=_str(one, "request_id"),
        session_id=_or_none(one, "session_id", _str),
        input_length=_int(one, "input_length"),
        output_length=_or_none(one, "output_length", _int),
        hash_ids=tuple(ids),
        cut=_bool(one, "cut"),
        simulation=_str(one, "simulation"),
        kind=_str(one, "kind"),
        source=_str(one, "source"),
        confidence=_number(one, "confidence"),
        step=_or_none(one, "step", _number),
        route=_str(one, "route"),
        model=_or_none(one, "model", _str),
        adapter=_or_none(one, "adapter", _str),
        stream=_bool(one, "stream"),
        first_byte_ms=_or_none(one, "first_byte_ms", _number),
        end_ms=_number(one, "end_ms"),
        outcome=_str(one, "outcome"),
        status=_or_none(one, "status", _int),
        prompt_tokens=_or_none(one, "prompt_tokens", _int),
        cached_tokens=_or_none(one, "cached_tokens", _int),
        text=_text(one["text"]) if "text" in one else None,
    )


def _text(one: object) -> Text:
    if not isinstance(one, dict):
        raise _NotOurs("text is not an object")
    body = one["body"]
    if body is not None and not isinstance(body, dict):
        raise _NotOurs("body is not an object")
    return Text(
        simulation=_str(one, "simulation"),
        agent=_or_none(one, "agent", _str),
        adapter=_or_none(one, "adapter", _str),
        body=body,
        answer=_str(one, "answer"),
    )


def _or_none(one: Mapping[str, Any], name: str, read: Any) -> Any:
    return None if one[name] is None else read(one, name)


def _str(one: Mapping[str, Any], name: str) -> str:
    value = one[name]
    if not isinstance(value, str):
        raise _NotOurs(f"{name} is not a string")
    return value


def _bool(one: Mapping[str, Any], name: str) -> bool:
    value = one[name]
    if not isinstance(value, bool):
        raise _NotOurs(f"{name} is not true or false")
    return value


def _int(one: Mapping[str, Any], name: str) -> int:
    value = one[name]
    if type(value) is not int or value < 0:
        raise _NotOurs(f"{name} is not a whole number from 0 on")
    return value


def _number(one: Mapping[str, Any], name: str) -> float:
    value = one[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NotOurs(f"{name} is not a number")
    return float(value)

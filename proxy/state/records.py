"""Events as bytes, for other processes of the group: compact, of a known version, and checked when they are read.

A record says nothing of its sender or its place; the entry of the stream that it travels in does. Times are on the group's
clock (`clocks.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast, get_args

import orjson

from scalesim.proxy.core.events import (
    EngineFound,
    EngineLost,
    EngineRemoved,
    Event,
    Idled,
    Reported,
    Settled,
    Ticked,
)
from scalesim.proxy.core.model import CallId
from scalesim.proxy.core.plain import Form, Forms, Garbled

from .senders import Running

VERSION = 2
"""Of all records. Raised whenever an event changes; a process leaves alone what it cannot read, and counts it."""

KINDS: tuple[type[Event], ...] = get_args(Event)
OWN = (EngineFound, EngineLost, EngineRemoved, Reported, Settled, Idled, Ticked)
"""What a process says of its own engines and its own time: it concerns nobody else."""

_FORMS = Forms()
_BY_KIND: dict[type[Event], tuple[str, Form]] = {kind: (kind.__name__, _FORMS.of(kind)) for kind in KINDS}
_BY_NAME: dict[str, Form] = dict(_BY_KIND.values())
_RUNNING = Running.__name__
_CALLS = _FORMS.of(tuple[CallId, ...])
_PREFIX = bytes([VERSION])


def written(event: Event, shift: float) -> bytes:
    """`shift`: from the sender's clock to the group's."""
    name, form = _BY_KIND[type(event)]
    return orjson.dumps([name, form.write(event, shift)])


def running(calls: Iterable[CallId]) -> bytes:
    """That these calls of the sender run, and no others."""
    return orjson.dumps([_RUNNING, list(calls)])


def batch(records: Sequence[bytes]) -> bytes:
    """Several as one."""
    return _PREFIX + b"[" + b",".join(records) + b"]"


def read(batched: bytes, shift: float) -> list[Event | Running | None]:
    """`shift`: from the reader's clock to the group's. None in place of what cannot be read. Raises `Garbled` where nothing
    can: it is of another version, or damaged."""
    if batched[:1] != _PREFIX:
        raise Garbled(f"records of version {batched[0] if batched else None}, and this one reads {VERSION}")
    try:
        plain = orjson.loads(batched[1:])
    except orjson.JSONDecodeError as exc:
        raise Garbled(f"no records: {exc}") from exc
    return [_item(one, shift) for one in plain]


def _item(plain: object, shift: float) -> Event | Running | None:
    try:
        name, value = cast("list[object]", plain)
        if name == _RUNNING:
            return Running(_CALLS.read(value, 0.0))
        event = cast("Event", _BY_NAME[cast("str", name)].read(value, shift))
    except (Garbled, KeyError, TypeError, ValueError):
        return None
    return event if math.isfinite(event.at) else None

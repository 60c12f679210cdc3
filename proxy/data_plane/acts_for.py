"""How long the agent acts after a call, as the header X-Agent-Acts-For tells it: `7 steps`, `12.5 s`, `90 minutes`."""

from __future__ import annotations

import math
import re

from scalesim.proxy.core.model import Clock

from ..errors import CallRefused
from .headers import ACTS_FOR, Headers, shown, single, title

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-z]+)", re.IGNORECASE)

_UNITS: dict[str, tuple[float, Clock]] = {
    unit: (factor, clock)
    for units, factor, clock in (
        ("step steps", 1.0, Clock.STEPS),
        ("s sec second seconds", 1.0, Clock.SECONDS),
        ("min minute minutes", 60.0, Clock.SECONDS),
        ("h hour hours", 3600.0, Clock.SECONDS),
    )
    for unit in units.split()
}


def acts_for_of(headers: Headers) -> tuple[float, Clock] | None:
    """None without the header. Raises `CallRefused`, naming the header and the value, for what is no duration >= 0."""
    value = single(headers, ACTS_FOR)
    if value is None:
        return None
    match = _DURATION.fullmatch(value)
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise _refusal(value)
    factor, clock = unit
    duration = float(match[1]) * factor
    if not math.isfinite(duration):
        raise _refusal(value)
    return duration, clock


def _refusal(value: str) -> CallRefused:
    return CallRefused(
        f"{title(ACTS_FOR)}: {shown(value)} is no duration: a number >= 0 and a unit, like '7 steps', '12.5 s', '90 minutes'"
    )

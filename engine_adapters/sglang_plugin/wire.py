"""The control protocol between the proxy and an engine: routes, and what a body may say. Pure.

Every body of a POST carries `"fence": [token, sequence]`. Answers are JSON objects; a refused call answers
`{"error": {"type", "message", ...}}` with 400 (`bad_request`), 409 (`fence_lost`), 503 (`inactive`) or 504 (`busy`).

    GET  /scalesim/v1/capabilities
    GET  /scalesim/v1/residency          all owners, or ?owner=NAME
    GET  /scalesim/v1/stats
    POST /scalesim/v1/plan     {"fence", "owners": {NAME: DISTANCE}}   full state; replaces the plan before it
    POST /scalesim/v1/renew    {"fence"}                               keeps plan and pins for another PLAN_BEATS
    POST /scalesim/v1/pin      {"fence", "owners": [NAME, ...]}
    POST /scalesim/v1/unpin    {"fence", "owners": [NAME, ...]}
    POST /scalesim/v1/evict    {"fence", "owners": [NAME, ...]} or {"fence", "tokens": N}
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PROTOCOL = 1
PREFIX = "/scalesim/v1"
BACKEND = "scalesim"
"""The name for `--radix-cache-backend`."""
FEATURES = ("order", "pin", "evict", "residency", "owners", "abort")

MAX_OWNERS = 16_384
"""In one message. A plan lists what is on or near one engine, which its capacity bounds."""
MAX_OWNER_CHARS = 512
MAX_INTEGER = 2**63 - 1

READS = frozenset({"capabilities", "residency", "stats"})
COMMANDS = frozenset({"plan", "renew", "pin", "unpin", "evict"})


class Malformed(ValueError):
    """A body that cannot be meant; the text names the field and what it held."""


class FenceLost(Exception):
    """A call with a fence below the highest one seen."""

    def __init__(self, highest: tuple[int, int]) -> None:
        super().__init__(
            f"a call with the fence {list(highest)} came before: somebody newer commands this engine"
        )
        self.highest = highest


@dataclass(frozen=True, slots=True)
class Command:
    """One checked control call. Which fields mean something depends on `name`."""

    name: str
    fence: tuple[int, int]
    distances: dict[str, float] = field(default_factory=dict)
    owners: tuple[str, ...] = ()
    tokens: int = 0

    def payload(self) -> dict[str, Any]:
        """As it travels to the scheduler, which need not check it again."""
        return {
            "fence": list(self.fence),
            "distances": self.distances,
            "owners": list(self.owners),
            "tokens": self.tokens,
        }

    @classmethod
    def from_payload(cls, name: str, payload: Mapping[str, Any]) -> Command:
        token, sequence = payload["fence"]
        return cls(name, (token, sequence), payload["distances"], tuple(payload["owners"]), payload["tokens"])


def parse_command(name: str, body: object) -> Command:
    """Checks a control body. Raises `Malformed`."""
    if name not in COMMANDS:
        raise Malformed(f"unknown command {name[:64]!r}; known are {', '.join(sorted(COMMANDS))}")
    if not isinstance(body, Mapping):
        raise Malformed("the body is not a JSON object")
    unknown = set(body) - {"fence", "owners", "tokens"}
    if unknown:
        raise Malformed(f"unknown field {min(map(str, unknown))[:64]!r}")
    fence = _fence(body.get("fence"))
    if name == "plan":
        return Command(name, fence, distances=_distances(body.get("owners")))
    if name == "renew":
        return Command(name, fence)
    if name == "evict" and "tokens" in body:
        if "owners" in body:
            raise Malformed("evict takes owners or tokens, not both")
        return Command(name, fence, tokens=_count(body["tokens"], "tokens"))
    return Command(name, fence, owners=_owners(body.get("owners")))


def _count(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_INTEGER:
        raise Malformed(f"{name}: {value!r:.64} is not a whole number from 0 on")
    return value


def _fence(value: object) -> tuple[int, int]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise Malformed(f"fence: {value!r:.64} is not [token, sequence]")
    return _count(value[0], "fence token"), _count(value[1], "fence sequence")


def _owner(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_OWNER_CHARS:
        raise Malformed(f"owners: {value!r:.64} is not a name of 1 to {MAX_OWNER_CHARS} characters")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise Malformed(f"owners: {value!r:.64} is not Unicode text") from exc
    return value


def _owners(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Malformed(f"owners: {value!r:.64} is not a list of names")
    if len(value) > MAX_OWNERS:
        raise Malformed(f"owners: {len(value)} names, at most {MAX_OWNERS}")
    return tuple(_owner(one) for one in value)


def _distances(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise Malformed(f"owners: {value!r:.64} is not an object of name: distance")
    if len(value) > MAX_OWNERS:
        raise Malformed(f"owners: {len(value)} names, at most {MAX_OWNERS}")
    distances = {}
    for name, distance in value.items():
        if isinstance(distance, bool) or not isinstance(distance, (int, float)):
            raise Malformed(f"owners: the distance of {name[:64]!r} is {distance!r:.64}, not a number")
        if not 0 <= distance <= sys.float_info.max:  # refuses NaN and integers beyond any float as well
            raise Malformed(
                f"owners: the distance of {name[:64]!r} is {distance!r:.64}, not finite and from 0 on"
            )
        distances[_owner(name)] = float(distance)
    return distances

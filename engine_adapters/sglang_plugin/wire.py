"""The control protocol between the proxy and an engine: routes, and what a body may say. Pure.

Every body of a POST carries `"fence": [token, sequence]`. Answers are JSON objects; a refused call answers
`{"error": {"type", "message", ...}}` with 400 (`bad_request`), 409 (`fence_lost`), 503 (`inactive`) or 504 (`busy`).

    GET  /scalesim/v1/capabilities
    GET  /scalesim/v1/residency          all owners, or ?owner=NAME
    GET  /scalesim/v1/stats
    POST /scalesim/v1/plan     {"fence", "owners": {NAME: DISTANCE}}   full state; replaces the plan before it. Optional:
                               "adapters": {NAME: DISTANCE}, "pinned_adapters": [NAME, ...],
                               "no_host_copy": [OWNER, ...], "ready_first": BOOL, "by_recency": BOOL
    POST /scalesim/v1/renew    {"fence"}                               keeps plan and pins for another PLAN_BEATS
    POST /scalesim/v1/pin      {"fence", "owners": [NAME, ...]}
    POST /scalesim/v1/unpin    {"fence", "owners": [NAME, ...]}
    POST /scalesim/v1/evict    {"fence", "owners": [NAME, ...]} or {"fence", "tokens": N}
    POST /scalesim/v1/load     {"fence", "kind": KIND, "key": NAME, "distance": D, "within_s": S}
                               answers when the memory is usable, or will not be: {"ok", "state", "moved_bytes"}, where
                               state is loaded, resident, stopped, absent or no_room
    POST /scalesim/v1/stop     {"fence", "kind": KIND, "key": NAME}    ends that load at its next safe place

A generation call says by `session_id` whose it is. If it says nothing, the header `x-smg-routing-key` does (`routing_keys`),
which is the one thing that some routers pass on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import unquote

PROTOCOL = 2
PREFIX = "/scalesim/v1"
BACKEND = "scalesim"
"""The name for `--radix-cache-backend`."""
FEATURES = (
    *("order", "pin", "evict", "residency", "owners", "routing_keys"),
    *("abort", "warm_up", "ready_first", "by_recency"),
)
"""Of every active plugin."""
HOST_TIER_FEATURES = ("load_kv_prefix", "host_copy")
"""Besides, with a hierarchical cache."""
ADAPTER_FEATURES = ("adapters", "load_lora", "fetch_adapters")
"""Besides, with LoRA."""

MAX_OWNERS = 16_384
"""In one message. A plan lists what is on or near one engine, which its capacity bounds."""
MAX_OWNER_CHARS = 512
MAX_INTEGER = 2**63 - 1

READS = frozenset({"capabilities", "residency", "stats"})
COMMANDS = frozenset({"plan", "renew", "pin", "unpin", "evict", "load", "stop"})
_FIELDS = {
    "plan": {"owners", "adapters", "pinned_adapters", "no_host_copy", "ready_first", "by_recency"},
    "load": {"kind", "key", "distance", "within_s"},
    "stop": {"kind", "key"},
    "evict": {"owners", "tokens"},
    "pin": {"owners"},
    "unpin": {"owners"},
    "renew": set[str](),
}
UNORDERED = frozenset({"load", "stop"})
"""Sent side by side with others: of their fence only the token counts."""
MAX_WITHIN_S = 3600.0


def owner_of_key(key: str) -> str:
    """Whom a routing key names: in it, `%` and two digits stand for what a header cannot hold."""
    return unquote(key)


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
    adapters: dict[str, float] = field(default_factory=dict)
    pinned_adapters: tuple[str, ...] = ()
    no_host_copy: tuple[str, ...] = ()
    ready_first: bool = False
    by_recency: bool = False
    kind: str = ""
    key: str = ""
    distance: float = 0.0
    within_s: float = 0.0

    def payload(self) -> dict[str, Any]:
        """As it travels to the scheduler, which need not check it again."""
        return asdict(self)

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Command:
        names = ("owners", "pinned_adapters", "no_host_copy")
        return cls(**{
            **payload, "fence": tuple(payload["fence"]), **{name: tuple(payload[name]) for name in names}
        })  # fmt: skip


def parse_command(name: str, body: object) -> Command:
    """Checks a control body. Raises `Malformed`."""
    if name not in COMMANDS:
        raise Malformed(f"unknown command {name[:64]!r}; known are {', '.join(sorted(COMMANDS))}")
    if not isinstance(body, Mapping):
        raise Malformed("the body is not a JSON object")
    unknown = set(body) - _FIELDS[name] - {"fence"}
    if unknown:
        raise Malformed(f"unknown field {min(map(str, unknown))[:64]!r}")
    fence = _fence(body.get("fence"))
    match name:
        case "plan":
            return Command(
                name,
                fence,
                distances=_distances(body.get("owners"), "owners"),
                adapters=_distances(body.get("adapters", {}), "adapters"),
                pinned_adapters=_names(body.get("pinned_adapters", []), "pinned_adapters"),
                no_host_copy=_names(body.get("no_host_copy", []), "no_host_copy"),
                ready_first=_flag(body.get("ready_first", False), "ready_first"),
                by_recency=_flag(body.get("by_recency", False), "by_recency"),
            )
        case "renew":
            return Command(name, fence)
        case "load" | "stop":
            kind, key = _name(body.get("kind"), "kind"), _name(body.get("key"), "key")
            if name == "stop":
                return Command(name, fence, kind=kind, key=key)
            distance = _distance(body.get("distance"), "distance")
            within_s = _distance(body.get("within_s"), "within_s")
            if not 0 < within_s <= MAX_WITHIN_S:
                raise Malformed(f"within_s: {within_s:g} is not above 0 and up to {MAX_WITHIN_S:g}")
            return Command(name, fence, kind=kind, key=key, distance=distance, within_s=within_s)
        case "evict" if "tokens" in body:
            if "owners" in body:
                raise Malformed("evict takes owners or tokens, not both")
            return Command(name, fence, tokens=_count(body["tokens"], "tokens"))
    return Command(name, fence, owners=_names(body.get("owners"), "owners"))


def _count(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_INTEGER:
        raise Malformed(f"{name}: {value!r:.64} is not a whole number from 0 on")
    return value


def _fence(value: object) -> tuple[int, int]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise Malformed(f"fence: {value!r:.64} is not [token, sequence]")
    return _count(value[0], "fence token"), _count(value[1], "fence sequence")


def _flag(value: object, field_name: str) -> bool:
    if not isinstance(value, bool):
        raise Malformed(f"{field_name}: {value!r:.64} is not true or false")
    return value


def _name(value: object, field_name: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_OWNER_CHARS:
        raise Malformed(f"{field_name}: {value!r:.64} is not a name of 1 to {MAX_OWNER_CHARS} characters")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise Malformed(f"{field_name}: {value!r:.64} is not Unicode text") from exc
    return value


def _names(value: object, field_name: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Malformed(f"{field_name}: {value!r:.64} is not a list of names")
    if len(value) > MAX_OWNERS:
        raise Malformed(f"{field_name}: {len(value)} names, at most {MAX_OWNERS}")
    return tuple(_name(one, field_name) for one in value)


def _distance(value: object, whose: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Malformed(f"{whose} is {value!r:.64}, not a number")
    if not 0 <= value <= sys.float_info.max:  # refuses NaN and integers beyond any float as well
        raise Malformed(f"{whose} is {value!r:.64}, not finite and from 0 on")
    return float(value)


def _distances(value: object, field_name: str) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise Malformed(f"{field_name}: {value!r:.64} is not an object of name: distance")
    if len(value) > MAX_OWNERS:
        raise Malformed(f"{field_name}: {len(value)} names, at most {MAX_OWNERS}")
    distances = {}
    for name, distance in value.items():
        known = _distance(distance, f"{field_name}: the distance of {name[:64]!r}")
        distances[_name(name, field_name)] = known
    return distances

"""What the operator decides: one frozen `Settings`, the only reader of the environment and of the config file.

A value is taken from the command line, else from the environment (`SCALESIM_PORT`), else from the config file (TOML,
`port = 8000`), else it is the default. Whatever is wrong is refused at the start, all of it at once, by name and
value; values of secrets are never printed.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .access.keys import Key, digest_of
from .core import placement, policies
from .core.durations import Scale
from .core.model import Clock, EngineId, Mode, Part, SimulationId
from .engines.models import AliasImpossible, Models
from .engines.registry import Address, EngineRejected, Registry
from .errors import ScaleSimError
from .logs import FORMATS
from .recognition.guess import SIMULATION_ID, THRESHOLD, Rung
from .span import Agents

_Word = TypeVar("_Word", bound=StrEnum)

PREFIX = "SCALESIM_"
LOG_LEVELS = ("debug", "info", "warning", "error")
PLAN_LIMIT = 16_384
"""The protocol of our plugin takes no more owners in one call."""
LOADS_LIMIT = 16
"""The loop carries out no more loads of one engine at a time."""
LEAST_RECORD_BYTES = 100_000
MOST_RECORD_BYTES = 1_000_000_000_000
RECORD_FILES_LIMIT = 1000


class SettingsError(ScaleSimError):
    """What must be changed before the proxy can start; one line per problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_wildcard(host: str) -> bool:
    """Whether a listener on `host` takes what comes to any address of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


# A parser takes what a string, a number or a TOML list says and answers the value, or raises ValueError with the end
# of a sentence that begins with the name of the setting.


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or value != value.strip() or not value.isprintable():
        raise ValueError(f"{value!r} is not a name (printable, not empty, no space around it)")
    return value


def _host(value: object) -> str:
    if not isinstance(value, str) or not value or any(mark.isspace() or mark in "/@" for mark in value):
        raise ValueError(f"{value!r} is not a host name or an address")
    return value


def _one_of(*known: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"{value!r} is not one of {', '.join(known)}")
        return value

    return parse


def _mode(value: object) -> Mode:
    return Mode(_one_of(*Mode)(value))


def _some_of(kind: type[_Word]) -> Callable[[object], frozenset[_Word]]:
    """A list in TOML, separated by commas elsewhere. Of the words all and none each stands alone."""

    def parse(value: object) -> frozenset[_Word]:
        given = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        if given == ["all"]:
            return frozenset(kind)
        if given == ["none"]:
            return frozenset()
        if not isinstance(given, list | tuple) or not all(isinstance(part, str) for part in given):
            raise ValueError(f"{value!r} is not a list of {', '.join(kind)}, nor all, nor none")
        unknown = [part for part in given if part not in tuple(kind)]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not one of {', '.join(kind)} (or all, or none)")
        return frozenset(map(kind, given))

    return parse


def _switch(value: object) -> bool:
    known = {True: True, False: False, "on": True, "off": False, "true": True, "false": False}
    if not isinstance(value, bool | str) or value not in known:
        raise ValueError(f"{value!r} is not on or off")
    return known[value]


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _above_zero(most: float, unit: str) -> Callable[[object], float]:
    def parse(value: object) -> float:
        number = _number(value)
        if not 0 < number <= most:
            raise ValueError(f"{value} is not a number of {unit} above 0 and up to {most:g}")
        return number

    return parse


def _from_zero(most: float, unit: str) -> Callable[[object], float]:
    def parse(value: object) -> float:
        number = _number(value)
        if not 0 <= number <= most:
            raise ValueError(f"{value} is not a number of {unit} from 0 to {most:g}")
        return number

    return parse


def _count(most: int, noun: str) -> Callable[[object], int]:
    def parse(value: object) -> int:
        number = _number(value)
        if not (1 <= number <= most and number.is_integer()):
            raise ValueError(f"{value} is not a number of {noun} (a whole one, 1 to {most})")
        return int(number)

    return parse


def _from_zero_count(most: int, noun: str) -> Callable[[object], int]:
    def parse(value: object) -> int:
        number = _number(value)
        if not (0 <= number <= most and number.is_integer()):
            raise ValueError(f"{value} is not a number of {noun} (a whole one, 0 to {most})")
        return int(number)

    return parse


def _bytes(least: int, most: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        number = _number(value)
        if not (least <= number <= most and number.is_integer()):
            raise ValueError(f"{value} is not a number of bytes (a whole one, {least} to {most})")
        return int(number)

    return parse


def _file(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value or value.endswith("/"):
        raise ValueError(f"{value!r} is not the path of a file")
    return value


def _port(value: object) -> int:
    number = _number(value)
    if not (0 <= number <= 65535 and number.is_integer()):
        raise ValueError(f"{value} is not a port (1 to 65535); 0 takes a free one")
    return int(number)


def _share(value: object) -> float:
    number = _number(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{value} is not a share (0 to 1)")
    return number


def _scale(value: object) -> Scale | None:
    if value == "off":
        return None
    number, _, unit = value.partition(" ") if isinstance(value, str) else ("", "", "")
    try:
        clock = Clock(unit)
        if clock not in (Clock.STEPS, Clock.SECONDS):
            raise ValueError("nobody tells on that clock")
        return Scale(clock, _number(number))
    except ValueError:
        raise ValueError(
            f"{value!r} is not the length of a simulated minute, like '0.2 steps' or '1.5 seconds', nor off"
        ) from None


def _url(value: object) -> str:
    wrong = f"{value!r} is not the URL of an engine, like http://127.0.0.1:30000"
    if not isinstance(value, str) or any(mark.isspace() for mark in value):
        raise ValueError(wrong)
    try:
        parts = urlsplit(value)
        has_password, _ = "@" in parts.netloc, parts.port  # reading the port checks it
    except ValueError:
        raise ValueError(wrong if "@" not in value else "the URL is malformed") from None
    if has_password:  # not shown: it would print the password
        raise ValueError("a URL with a user or a password is not taken; the key belongs into engine_api_key")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(wrong)
    if parts.path.rstrip("/").endswith("/v1"):
        raise ValueError(f"{value!r} ends with /v1; give the engine's own address without it")
    return value.rstrip("/")


def _collector(value: object) -> str:
    """With the path for traces, where it has none."""
    wrong = f"{value!r} is not the URL of a collector, like http://127.0.0.1:4318"
    if not isinstance(value, str) or any(mark.isspace() for mark in value) or "@" in value:
        raise ValueError(wrong if "@" not in str(value) else "a URL with a user or a password is not taken")
    try:
        parts = urlsplit(value)
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise ValueError(wrong) from None
    if not is_url or parts.query or parts.fragment:
        raise ValueError(wrong)
    return value.rstrip("/") + "/v1/traces" if parts.path in ("", "/") else value


def _agents_in_traces(value: object) -> Agents:
    return Agents(_one_of(*Agents)(value))


def _engine_name(value: object) -> str:
    _registered([Address(EngineId(_text(value)), "http://engine")])
    return _text(value)


def _registered(addresses: Sequence[Address]) -> tuple[Address, ...]:
    """As engines are known by then. Raises `ValueError` for what cannot be registered together."""
    registry = Registry()
    try:
        for address in addresses:
            if registry.get(address.name) is not None:
                raise ValueError(f"two engines are called {address.name!r}")
            registry.register(address, 0.0)
    except EngineRejected as exc:
        raise ValueError(str(exc)) from None
    return tuple(entry.address for entry in registry)


def _engines(value: object) -> tuple[Address, ...]:
    """A list of URLs or NAME=URL (separated by commas, but in TOML), or in TOML a table: a URL, or a table of `url` and
    `weight`, for each name. What has no name is called engine-0, engine-1 and so on."""
    if value in ("none", ["none"]):
        return ()
    given = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    told: list[tuple[str, object, object]] = []
    if isinstance(given, dict):
        for name, one in given.items():
            entry = one if isinstance(one, dict) else {"url": one}
            if not entry.keys() <= {"url", "weight"}:
                raise ValueError(f"{name!r} may have a url and a weight, and nothing else")
            told.append((name, entry.get("url"), entry.get("weight")))
    elif isinstance(given, list | tuple) and all(isinstance(part, str) for part in given):
        for number, part in enumerate(given):
            named, equals, url = part.partition("=")
            is_named = bool(equals) and "/" not in named
            told.append((named, url, None) if is_named else (f"engine-{number}", part, None))
    if not told:
        raise ValueError(f"{value!r} is not a list of engines, like NAME=http://HOST:PORT, nor none")
    addresses = []
    for name, url, weight in told:
        try:
            size = None if weight is None else _number(weight)
            addresses.append(Address(EngineId(name), _url(url), size))
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from None
    return _registered(addresses)


def _aliases(value: object) -> tuple[tuple[str, str], ...]:
    """A table in TOML, `ALIAS=MODEL` separated by commas elsewhere."""
    pairs: object = value
    if isinstance(value, str):
        parted = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        pairs = {alias: model for alias, _, model in parted} if all(one[1] for one in parted) else None
        if isinstance(pairs, dict) and len(pairs) < len(parted):
            raise ValueError(f"{value!r} names an alias twice")
    if not isinstance(pairs, dict) or not all(isinstance(name, str) for name in pairs.values()):
        raise ValueError(f"{value!r} is not a table of names and models, like ALIAS=MODEL")
    try:
        Models(pairs)
    except AliasImpossible as exc:
        raise ValueError(str(exc)) from None
    return tuple(pairs.items())


def _secret(value: object) -> str:
    if (
        not isinstance(value, str)
        or not value.isascii()
        or not value.isprintable()
        or not value.strip() == value != ""
    ):
        raise ValueError("it must be printable ASCII, not empty, without space around it (value not shown)")
    return value


def _secrets(value: object) -> tuple[str, ...]:
    """A list in TOML, separated by commas elsewhere."""
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise ValueError("it must be a list of keys (value not shown)")
    return tuple(_secret(part) for part in parts)


def _admin_keys(value: object) -> tuple[str, ...]:
    """Each plain or hashed."""
    keys = _secrets(value)
    for key in keys:
        digest_of(key)
    return keys


def _client_keys(value: object) -> tuple[Key, ...]:
    """A table in TOML: a name for each key, and the key, or a table of `key` and `simulation`. `NAME=KEY` or
    `NAME@SIMULATION=KEY`, separated by commas, elsewhere."""
    wrong = "it must be a table of names and keys, like NAME=KEY or NAME@SIMULATION=KEY (values not shown)"
    told: list[tuple[str, object, object]] = []
    if isinstance(value, str):
        for part in filter(None, map(str.strip, value.split(","))):
            named, _, key = part.partition("=")
            name, at, simulation = named.partition("@")
            told.append((name, key, simulation if at else None))
    elif isinstance(value, dict):
        for name, one in value.items():
            entry = one if isinstance(one, dict) else {"key": one}
            if not entry.keys() <= {"key", "simulation"}:
                raise ValueError(f"{name!r} may have a key and a simulation, and nothing else")
            told.append((name, entry.get("key"), entry.get("simulation")))
    if not told:
        raise ValueError(wrong)
    keys = []
    for name, secret, of in told:
        if not SIMULATION_ID.fullmatch(name):  # not shown: it may be a key without a name
            raise ValueError(f"{wrong}; a name has 1 to 64 of A-Z a-z 0-9 . _ -")
        if of is not None and not (isinstance(of, str) and SIMULATION_ID.fullmatch(of)):
            raise ValueError(f"{wrong}; a simulation's id has 1 to 64 of A-Z a-z 0-9 . _ -")
        bound = None if of is None else SimulationId(of)
        keys.append(Key(name, digest_of(_secret(secret)), bound, confined=bound is not None))
    for what, those in (("names", [key.name for key in keys]), ("keys", [key.digest for key in keys])):
        if len(set(those)) < len(those):
            raise ValueError(f"two {what} are the same (values not shown)")
    return tuple(keys)


def _simulations(value: object) -> tuple[Key, ...]:
    """A table in TOML, `KEY=name` separated by commas elsewhere."""
    pairs: object = value
    if isinstance(value, str):
        parted = [part.strip().rpartition("=") for part in value.split(",") if part.strip()]
        pairs = {key: name for key, _, name in parted} if all(key for key, *_ in parted) else None
    if not isinstance(pairs, dict) or not all(isinstance(name, str) for name in pairs.values()):
        raise ValueError("it must be a table of keys and names of simulations (value not shown)")
    wrong = next((name for name in pairs.values() if not SIMULATION_ID.fullmatch(name)), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} is no simulation's id: 1 to 64 of A-Z a-z 0-9 . _ -")
    return tuple(Key(name, digest_of(_secret(key)), SimulationId(name)) for key, name in pairs.items())


def _setting(
    parse: Callable[[object], object], about: str, *, option: str | None = None, **options: Any
) -> Any:
    """`option`: how it is called on the command line, if not like the field."""
    return field(metadata={"parse": parse, "about": about, "option": option}, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`about` of each field is its documentation; secrets are left out of the repr."""

    engine: str = _setting(_url, "URL of the engine, without /v1", default="")
    engine_name: str = _setting(
        _engine_name, "the engine's name in status, metrics and logs", default="engine-0"
    )
    engines: tuple[Address, ...] = _setting(
        _engines,
        "several engines in place of that one, like 'a=http://HOST:PORT,b=http://HOST:PORT'; none: they are registered later",
        option="--engine",
        default=(),
    )
    engine_api_key: str | None = _setting(
        _secret, "key for control calls to the engines", default=None, repr=False
    )
    aliases: tuple[tuple[str, str], ...] = _setting(
        _aliases,
        "other names of models, like 'gpt-4o=llama'; * stands for every name that nobody serves",
        default=(),
    )
    placement: str = _setting(
        _one_of(*placement.names()), "what decides which engine gets a call", default=placement.DEFAULT
    )
    placement_spare_calls: float = _setting(
        _from_zero(100, "shares"),
        "so much more than its fair share of the calls an engine may run, as a share of that",
        default=0.25,
    )
    placement_unhurried_calls: int = _setting(
        _from_zero_count(1_000_000, "calls"), "an engine may run so many calls in any case", default=16
    )
    placement_spare_memory: float = _setting(
        _from_zero(100, "shares"),
        "so much more than its fair share of agents' memory an engine may hold, and still get new agents",
        default=0.1,
    )
    placement_spare_together: float = _setting(
        _from_zero(100, "shares"),
        "the same for agents that share an adapter or the beginning of their prompts with those it has",
        default=0.25,
    )
    placement_ramp_s: float = _setting(
        _from_zero(3600, "seconds"),
        "an engine that comes up while others have work has its whole share after so long",
        default=30.0,
    )
    engine_drain_s: float = _setting(
        _above_zero(86_400, "seconds"),
        "an engine that is removed leaves after so long, whatever still runs there",
        default=600.0,
    )
    engine_concurrency: int = _setting(
        _from_zero_count(1_000_000, "calls"),
        "calls that an engine is sent at a time, the others wait in the proxy; 0: any number",
        default=0,
    )
    queue_limit: int = _setting(
        _count(1_000_000, "calls"), "most calls that wait for one engine", default=1024
    )
    queue_wait_s: float = _setting(
        _from_zero(86_400, "seconds"),
        "most that a call waits for its place; 0: as long as its client",
        default=0.0,
    )
    retry_attempts: int = _setting(
        _count(10, "attempts"), "how often a call is sent at most, with the first time", default=3
    )
    retry_wait_s: float = _setting(
        _from_zero(600, "seconds"), "most that a call waits between its attempts, all together", default=10.0
    )
    breaker_failures: int = _setting(
        _count(10_000, "calls"), "so many in a row that got no answer open an engine's breaker", default=5
    )
    breaker_rest_s: float = _setting(
        _above_zero(3600, "seconds"), "an engine is left alone for so long then, the first time", default=2.0
    )
    breaker_longest_rest_s: float = _setting(
        _above_zero(86_400, "seconds"), "and at most for so long, when it fails again and again", default=60.0
    )
    join_grace_s: float = _setting(
        _from_zero(3600, "seconds"),
        "a call with an idempotency key goes on for so long when its client leaves; 0: it is stopped",
        default=10.0,
    )
    answers_kept_s: float = _setting(
        _from_zero(86_400, "seconds"), "answers of such calls are kept for so long", default=60.0
    )
    answers_kept_mb: float = _setting(
        _above_zero(1_000_000, "megabytes"), "for all such answers together", default=64.0
    )
    host: str = _setting(_host, "where clients reach the proxy", default="127.0.0.1")
    port: int = _setting(_port, "port for clients", default=8000)
    admin_host: str = _setting(_host, "where operators and simulations' hints reach it", default="127.0.0.1")
    admin_port: int = _setting(_port, "port of the admin listener", default=8001)
    admin_keys: tuple[str, ...] = _setting(
        _admin_keys,
        "keys of the admin listener, or their hashes; needed unless it listens on loopback",
        default=(),
        repr=False,
    )
    mode: Mode = _setting(_mode, "off, shadow or on, for new simulations", default=Mode.ON)  # noqa: RUF009  it makes a field
    policy: str = _setting(
        _one_of(*policies.names()), "what decides the order in the cache", default="nearest_first"
    )
    plan_limit: int = _setting(_count(PLAN_LIMIT, "agents"), "most agents named in one plan", default=4096)
    pin_share: float = _setting(_share, "most of an engine's cache that may be pinned", default=0.5)
    parts: frozenset[Part] = _setting(
        _some_of(Part),
        "what memory control does: all, none, or a list of " + ", ".join(Part),
        default=frozenset(Part),
    )
    guard: bool = _setting(
        _switch, "leave an engine's cache to recency while the order of distances does worse", default=True
    )
    prefetch_steps: float = _setting(
        _above_zero(1e6, "steps"),
        "memory of agents so near is loaded ahead, by the simulation's steps",
        default=3.0,
    )
    prefetch_s: float = _setting(
        _above_zero(86_400, "seconds"), "the same for agents whose distance is known in seconds", default=30.0
    )
    answers: Scale | None = _setting(  # noqa: RUF009  it makes a field
        _scale,
        "length of a simulated minute, like '0.2 steps' or '1.5 seconds': answers are then read for how long agents "
        "act; off: they are not",
        default=None,
    )
    idle_after_s: float = _setting(
        _from_zero(31_536_000, "seconds"),
        "a simulation of which nothing was seen for so long gives back pins, places and what it told; 0: none does",
        default=600.0,
    )
    loads_in_flight: int = _setting(
        _count(LOADS_LIMIT, "loads"), "most loads ahead at a time, per engine", default=4
    )
    load_budget_mb: float = _setting(
        _above_zero(1_000_000, "megabytes"), "most that loads ahead move at a time, per engine", default=512.0
    )
    warm_up_store_mb: float = _setting(
        _above_zero(1_000_000, "megabytes"),
        "for texts of prefixes that engines can only compute again",
        default=64.0,
    )
    max_body_mb: float = _setting(_above_zero(1024, "megabytes"), "largest request body taken", default=16.0)
    connect_timeout_s: float = _setting(_above_zero(300, "seconds"), "to reach an engine", default=5.0)
    first_byte_timeout_s: float = _setting(
        _from_zero(86_400, "seconds"), "until an engine begins to answer; 0: for ever", default=0.0
    )
    chunk_timeout_s: float = _setting(
        _from_zero(86_400, "seconds"), "for a silence in the middle of an answer; 0: for ever", default=0.0
    )
    total_timeout_s: float = _setting(
        _from_zero(604_800, "seconds"), "for a call as a whole; 0: for ever", default=0.0
    )
    drain_s: float = _setting(
        _from_zero(86_400, "seconds"),
        "running calls have so long to finish when the proxy ends",
        default=20.0,
    )
    max_connections: int = _setting(_count(65_535, "connections"), "to an engine at a time", default=1000)
    tick_ms: float = _setting(_above_zero(1000, "milliseconds"), "least time between two plans", default=50.0)
    report_every_s: float = _setting(
        _above_zero(60, "seconds"), "between two looks at a found engine", default=0.5
    )
    probe_every_s: float = _setting(
        _above_zero(60, "seconds"), "between two looks for a lost engine", default=2.0
    )
    recognise: frozenset[Rung] = _setting(
        _some_of(Rung),
        "how callers are found that do not say who they are: all, none, or a list of " + ", ".join(Rung),
        default=frozenset(Rung),
    )
    threshold: float = _setting(
        _share, "a caller found with less confidence than that is nobody", default=THRESHOLD
    )
    recipes_folder: str | None = _setting(
        _file, "folder with recipes of your own, read again when they change", default=None
    )
    simulation_keys: tuple[Key, ...] = _setting(
        _simulations,
        "API keys of clients and their simulations, like 'KEY=town,OTHER=city': whoever sends the key as a bearer is of that one",
        default=(),
        repr=False,
    )
    client_keys: tuple[Key, ...] = _setting(
        _client_keys,
        "API keys without which no client is served, or their hashes, each with a name, like 'ann=KEY,bob@town=KEY' "
        "(bob may be of no other simulation); empty: none is needed",
        default=(),
        repr=False,
    )
    key_rate: float = _setting(
        _from_zero(1e6, "requests"),
        "requests a second of one API key in the long run; 0: any number",
        default=0.0,
    )
    address_rate: float = _setting(
        _from_zero(1e6, "requests"), "the same of one address of a client", default=0.0
    )
    burst_s: float = _setting(
        _from_zero(86_400, "seconds"), "so many seconds' worth of both may come at once", default=10.0
    )
    client_connections: int = _setting(
        _count(1_000_000, "connections"), "most connections of clients at a time", default=8192
    )
    address_connections: int = _setting(
        _count(1_000_000, "connections"), "most of them from one address", default=4096
    )
    tls_cert: str | None = _setting(
        _file, "certificate of the port for clients (PEM, with its chain); empty: no TLS", default=None
    )
    tls_key: str | None = _setting(_file, "its private key (PEM, without a password)", default=None)
    admin_tls_cert: str | None = _setting(_file, "certificate of the admin listener", default=None)
    admin_tls_key: str | None = _setting(_file, "its private key", default=None)
    salts: bool = _setting(
        _switch,
        "give each simulation that is named by an API key, a header or the URL a part of the cache of its own",
        default=False,
    )
    salts_file: str | None = _setting(
        _file, "file of the secret for that, made if missing; empty: a new one at each start", default=None
    )
    record: str | None = _setting(
        _file,
        "file that calls are recorded to, prompts and names as hashes; empty: they are not",
        option="FILE",
        default=None,
    )
    record_full_text: bool = _setting(
        _switch,
        "record prompts, answers and names in full",
        option="--full-text",
        default=False,
    )
    record_max_bytes: int = _setting(
        _bytes(LEAST_RECORD_BYTES, MOST_RECORD_BYTES),
        "most that a trace takes, all its files together; then its oldest file goes",
        option="--max-bytes",
        default=1_000_000_000,
    )
    record_files: int = _setting(
        _count(RECORD_FILES_LIMIT, "files"), "of a trace, at most", option="--files", default=4
    )
    record_salt: str | None = _setting(
        _file,
        "file of the key of a trace's hashes, made if missing; empty: the trace's name and .salt",
        option="--salt-file",
        default=None,
    )
    otlp_endpoint: str | None = _setting(
        _collector,
        "URL of a collector of OpenTelemetry traces (OTLP over HTTP), like http://127.0.0.1:4318; empty: there are none",
        default=None,
    )
    otlp_sample: float = _setting(
        _share, "of the calls that are traced, where their clients have not decided that", default=1.0
    )
    otlp_agents: Agents = _setting(  # noqa: RUF009  it makes a field
        _agents_in_traces, "agents in traces: hashed, named or off", default=Agents.HASHED
    )
    log_level: str = _setting(_one_of(*LOG_LEVELS), "what is logged", default="info")
    log_format: str = _setting(
        _one_of(*FORMATS), "text for people, or json: an object a line", default="text"
    )

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Of all engines that there are from the start."""
        if not self.engine:
            return self.engines
        return _registered([Address(EngineId(self.engine_name), self.engine)])

    def __post_init__(self) -> None:
        if problems := _contradictions({one.name: getattr(self, one.name) for one in fields(self)}):
            raise SettingsError(*problems)

    @classmethod
    def load(
        cls,
        arguments: Mapping[str, object],
        environ: Mapping[str, str],
        *,
        needed: Collection[str] = ("engine",),
    ) -> Settings:
        """Raises `SettingsError`. `arguments` are those of the command line by field name (None: not given), and
        `config`, the path of the file. A field of `needed` must be given; only commands that do without an engine
        leave it out, and find it empty."""
        known = {one.name: one for one in fields(cls)}
        options = {name: one.metadata["option"] for name, one in known.items()}
        values: dict[str, Any] = {}
        problems: list[str] = []

        given = {name: value for name, value in arguments.items() if value is not None}
        from_environment = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environ.items()
            if name.startswith(PREFIX)
        }
        config = given.pop("config", None) or from_environment.pop("config", None)
        from_environment.pop("config", None)
        from_file = _read_file(str(config), problems) if config else {}

        # From the weakest source to the strongest: what is overruled is checked all the same.
        sources: list[tuple[Mapping[str, object], Callable[[str], str]]] = [
            (from_file, lambda name: f"{name} in {config}"),
            (from_environment, lambda name: PREFIX + name.upper()),
            (given, lambda name: options.get(name) or "--" + name.replace("_", "-")),
        ]
        for source, spelled in sources:
            for one, other in (("engine", "engines"), ("engines", "engine")):
                if one in source:  # in place of what a weaker one says
                    values.pop(other, None)
            for name, value in source.items():
                if name not in known:
                    nearest = get_close_matches(name, [*known, "config"], n=1, cutoff=0.0)[0]
                    problems.append(f"{spelled(name)}: unknown; the nearest known name is {spelled(nearest)}")
                    continue
                try:
                    values[name] = known[name].metadata["parse"](value)
                except ValueError as exc:
                    problems.append(f"{spelled(name)}: {exc}")

        one_or_several = [
            name for name in ("engine", "engines") if any(name in source for source, _ in sources)
        ]
        for name in needed:
            if name == "engine" and one_or_several:
                continue
            if name not in values and not any(name in source for source, _ in sources):
                problems.append(
                    f"{name}: missing; give --{name}, {PREFIX}{name.upper()}, or `{name}` in the config file"
                )
        problems += _contradictions({one.name: one.default for one in fields(cls)} | values)
        if problems:
            raise SettingsError(*problems)
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Listed:
    """A setting, for people."""

    name: str
    default: str
    """As it would be written. Empty: there is none, or nothing is set."""
    about: str


def listed() -> list[Listed]:
    return [Listed(one.name, _written(one.default), one.metadata["about"]) for one in fields(Settings)]


def _written(value: object) -> str:
    match value:
        case bool():
            return "on" if value else "off"
        case None | dataclasses.MISSING:
            return ""
        case frozenset() if value == frozenset(Part):
            return "all"
        case tuple() | frozenset():
            return ",".join(sorted(value))
    return str(value)


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    problems = []
    if not values["admin_keys"] and not is_loopback(values["admin_host"]):
        problems.append(
            f"admin_keys: missing, and the admin listener would be open to others on {values['admin_host']!r}; "
            f"set {PREFIX}ADMIN_KEYS, or admin_host to 127.0.0.1"
        )
    hosts = values["host"], values["admin_host"]
    if values["port"] == values["admin_port"] != 0 and (
        hosts[0] == hosts[1] or any(_is_wildcard(host) for host in hosts)
    ):
        problems.append(f"admin_port: {values['admin_port']} is the port for clients already")
    for prefix in ("", "admin_"):
        pair = (f"{prefix}tls_cert", f"{prefix}tls_key")
        if (values[pair[0]] is None) != (values[pair[1]] is None):
            missing, given = pair if values[pair[0]] is None else pair[::-1]
            problems.append(f"{missing}: missing; {given} is of no use without it")
    if values["salts_file"] is not None and not values["salts"]:
        problems.append("salts_file: of no use while `salts` is off")
    digests = [key.digest for key in (*values["client_keys"], *values["simulation_keys"])]
    digests += map(digest_of, values["admin_keys"])
    if len(set(digests)) < len(digests):
        problems.append(
            "client_keys, simulation_keys, admin_keys: a key is in two places; each must be another"
        )
    if values["record_full_text"] and values["record"] is None:
        problems.append("record_full_text: nothing is recorded; give `record`, the file, too")
    if values["record"] is not None and values["record"] == values["record_salt"]:
        problems.append(f"record_salt: {values['record_salt']!r} is the trace itself; give a file of its own")
    if values["engine"] and values["engines"]:
        problems.append("engine, engines: give the one or the other")
    if values["breaker_rest_s"] > values["breaker_longest_rest_s"]:
        problems.append("breaker_rest_s: longer than breaker_longest_rest_s")
    urls = [("engine", values["engine"]), *(("engines", one.base_url) for one in values["engines"])]
    for setting, url in urls:
        problems += _own_listeners(setting, url, values)
    return problems


def leads_to_ourselves(settings: Settings, url: str) -> list[str]:
    """What is wrong with an engine's URL, if it does."""
    return _own_listeners("url", url, {one.name: getattr(settings, one.name) for one in fields(settings)})


def _own_listeners(what: str, url: object, values: Mapping[str, Any]) -> list[str]:
    return [
        f"{what}: {url!r} is where the proxy itself listens for {whose}; "
        f"give the engine's own address, or another {prefix}port"
        for prefix, whose in (("", "clients"), ("admin_", "operators"))
        if _reaches(url, values[prefix + "host"], values[prefix + "port"])
    ]


def _reaches(url: object, host: str, port: int) -> bool:
    """Whether `url` (of an engine, if it is one) leads to our listener there. Other names of this machine than
    those of loopback are not looked up."""
    if not isinstance(url, str):
        return False
    parts = urlsplit(url)
    called = parts.hostname or ""
    if (parts.port or (443 if parts.scheme == "https" else 80)) != port:
        return False
    both = called, host
    return called == host or (
        all(is_loopback(one) or _is_wildcard(one) for one in both)
        and any(one == "localhost" or _is_wildcard(one) for one in both)
    )


def _read_file(path: str, problems: list[str]) -> Mapping[str, object]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        problems.append(f"config: {path!r} cannot be read: {getattr(exc, 'strerror', None) or exc}")
    except tomllib.TOMLDecodeError as exc:
        problems.append(f"config: {path!r} is not TOML: {exc}")
    return {}

"""Parsers of what says where engines are, and by which names their models are called."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from scalesim.proxy.core.model import EngineId
from scalesim.proxy.engines.models import AliasImpossible, Models
from scalesim.proxy.engines.registry import Address, EngineRejected, Registry

from .parsers import as_number, printable_name


def engine_url(value: object) -> str:
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


def engine_name(value: object) -> str:
    registered([Address(EngineId(printable_name(value)), "http://engine")])
    return printable_name(value)


def registered(addresses: Sequence[Address]) -> tuple[Address, ...]:
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


def several_engines(value: object) -> tuple[Address, ...]:
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
            size = None if weight is None else as_number(weight)
            addresses.append(Address(EngineId(name), engine_url(url), size))
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from None
    return registered(addresses)


def aliases(value: object) -> tuple[tuple[str, str], ...]:
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

"""Parsers of secrets: what they refuse is never shown."""

from __future__ import annotations

from scalesim.proxy.access.keys import Key, digest_of
from scalesim.proxy.core.model import SimulationId
from scalesim.proxy.recognition.guess import SIMULATION_ID


def secret_text(value: object) -> str:
    if (
        not isinstance(value, str)
        or not value.isascii()
        or not value.isprintable()
        or not value.strip() == value != ""
    ):
        raise ValueError("it must be printable ASCII, not empty, without space around it (value not shown)")
    return value


def secret_texts(value: object) -> tuple[str, ...]:
    """A list in TOML, separated by commas elsewhere."""
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise ValueError("it must be a list of keys (value not shown)")
    return tuple(secret_text(part) for part in parts)


def admin_keys(value: object) -> tuple[str, ...]:
    """Each plain or hashed."""
    keys = secret_texts(value)
    for key in keys:
        digest_of(key)
    return keys


def client_keys(value: object) -> tuple[Key, ...]:
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
        keys.append(Key(name, digest_of(secret_text(secret)), bound, confined=bound is not None))
    for what, those in (("names", [key.name for key in keys]), ("keys", [key.digest for key in keys])):
        if len(set(those)) < len(those):
            raise ValueError(f"two {what} are the same (values not shown)")
    return tuple(keys)


def keys_of_simulations(value: object) -> tuple[Key, ...]:
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
    return tuple(Key(name, digest_of(secret_text(key)), SimulationId(name)) for key, name in pairs.items())

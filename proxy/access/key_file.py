"""The file of keys that are drawn and revoked while the proxy runs: hashes and names, written anew as a whole with each change."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from scalesim.proxy import whole_file
from scalesim.proxy.core.model import SimulationId

from ..errors import ScaleSimError
from ..toml_text import NotToml, loads
from .keys import HASHED, digest_of

MAX_BYTES = 4_000_000
MAX_KEYS = 4096
"""Of a file."""
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Of a key, and of a simulation."""
_HEAD = (
    "# Keys of ScaleSim, as hashes. The proxy writes this file anew with each change that is made over its admin API;\n"
    "# what is changed here by hand holds once the configuration is reloaded.\n"
)


class BadKeyFile(ScaleSimError):
    """The file of keys cannot be used; the text names it and says what to do, and never what is in it."""


class Kind(StrEnum):
    CLIENT = "client"
    """Lets calls in."""
    ADMIN = "admin"
    """Lets operators in."""
    SIMULATION = "simulation"
    """Says of which simulation its sender is, and lets nobody in by itself."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    kind: Kind
    """Client or admin."""
    name: str
    """No other key of its kind in the file has it."""
    digest: bytes
    simulation: SimulationId | None
    """Its sender may be of no other."""
    created_at: str
    """In UTC, as in `2026-03-01T12:00:00Z`."""


def read(path: Path) -> tuple[StoredKey, ...]:
    """None where the file is not there. Raises `BadKeyFile`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            told = os.fstat(fd)
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as exc:
        raise BadKeyFile(f"keys_file: {path}: it cannot be read: {exc.strerror}") from exc
    if not stat.S_ISREG(told.st_mode):
        raise BadKeyFile(f"keys_file: {path}: it is no plain file")
    if told.st_mode & 0o022:
        raise BadKeyFile(f"keys_file: {path}: others may write it; chmod 600 it, or give another file")
    if len(content) > MAX_BYTES:
        raise BadKeyFile(f"keys_file: {path}: it is larger than {MAX_BYTES} bytes")
    try:
        tables = loads(content.decode())
    except (UnicodeDecodeError, NotToml) as exc:
        raise BadKeyFile(f"keys_file: {path}: it is not TOML: {exc}") from exc
    return tuple(_keys(tables, path))


def write(path: Path, keys: Sequence[StoredKey]) -> None:
    """What was there before stays whole until all of it is on the disk. Raises `BadKeyFile`."""
    try:
        whole_file.replace(path, text_of(keys).encode(), 0o600)
    except OSError as exc:
        raise BadKeyFile(f"keys_file: {path}: it cannot be written: {exc.strerror}") from exc


def text_of(keys: Iterable[StoredKey]) -> str:
    """Names and ids hold nothing that would have to be escaped."""
    parts = [_HEAD]
    for key in keys:
        lines = [f'[{key.kind}."{key.name}"]', f'hash = "{HASHED}{key.digest.hex()}"']
        if key.simulation is not None:
            lines.append(f'simulation = "{key.simulation}"')
        lines.append(f'created = "{key.created_at}"')
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _keys(tables: Mapping[str, object], path: Path) -> Iterable[StoredKey]:
    """Raises `BadKeyFile`."""
    left = MAX_KEYS
    for kind, table in tables.items():
        if kind not in (Kind.CLIENT, Kind.ADMIN) or not isinstance(table, dict):
            raise BadKeyFile(f"keys_file: {path}: it may hold tables [client.NAME] and [admin.NAME] alone")
        for name, entry in table.items():
            left -= 1
            if left < 0:
                raise BadKeyFile(f"keys_file: {path}: it has more than {MAX_KEYS} keys")
            yield _key(Kind(kind), name, entry, path)


def _key(kind: Kind, name: str, entry: object, path: Path) -> StoredKey:
    where = f"keys_file: {path}: {kind}.{name if NAME.fullmatch(name) else '(name not shown)'}"
    if not NAME.fullmatch(name) or not isinstance(entry, dict):
        raise BadKeyFile(f"{where}: it must be a table whose name has 1 to 64 of A-Z a-z 0-9 . _ -")
    if not entry.keys() <= {"hash", "simulation", "created"}:
        raise BadKeyFile(f"{where}: it may have hash, simulation and created, and nothing else")
    told, simulation, created = entry.get("hash"), entry.get("simulation"), entry.get("created", "")
    if not isinstance(told, str) or not told.startswith(HASHED):
        raise BadKeyFile(f"{where}: hash must be like {HASHED}… (value not shown)")
    if simulation is not None and not (
        kind is Kind.CLIENT and isinstance(simulation, str) and NAME.fullmatch(simulation)
    ):
        raise BadKeyFile(
            f"{where}: simulation must be the id of one, 1 to 64 of A-Z a-z 0-9 . _ -, of a client's key"
        )
    try:
        digest = digest_of(told)
        if not isinstance(created, str):
            raise ValueError("created: it must be a time in UTC, like 2026-03-01T12:00:00Z")
        if created:
            datetime.fromisoformat(created)
    except ValueError as exc:
        raise BadKeyFile(f"{where}: {exc}") from exc
    return StoredKey(kind, name, digest, None if simulation is None else SimulationId(simulation), created)

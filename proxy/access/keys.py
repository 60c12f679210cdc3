"""API keys, kept as hashes: what is in a config file or in the memory of the proxy opens nothing.

A key that was drawn by `drawn` has 256 random bits, so one round of SHA-256 hides it as well as a slow hash would: those make
it dear to try the passwords that people think of, and there is nothing to try here. They would cost every call
milliseconds.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from scalesim.proxy.core.model import SimulationId

HASHED = "sha256:"
"""What a key's hash begins with where it stands in place of the key."""
_DRAWN = "sk-scalesim-"
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Key:
    """`name` is for people and logs, and tells nothing of the key."""

    name: str
    digest: bytes
    simulation: SimulationId | None = None
    """Whoever sends the key is of that one, unless it says another."""
    confined: bool = False
    """It may say no other."""

    def __repr__(self) -> str:
        return f"Key({self.name!r}, simulation={self.simulation!r}, confined={self.confined})"


class Keys:
    """Finds a key by what a client sends, in a time that tells nothing of the keys there are, however many."""

    def __init__(self, keys: Iterable[Key]) -> None:
        # Tables compare byte by byte and stop at the first difference. Under a key of this process nobody can choose
        # what is compared, so what the time tells is of no use.
        self._blind = secrets.token_bytes(32)
        self._keys = {self._blinded(key.digest): key for key in keys}

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, offered: str) -> Key | None:
        digest = _digest(offered)
        key = self._keys.get(self._blinded(digest))
        return key if key is not None and hmac.compare_digest(key.digest, digest) else None

    def _blinded(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._blind, digest_size=32).digest()


def digest_of(told: str) -> bytes:
    """Of a key, or of its hash as `hash_of` writes it. Raises ValueError, and never shows what it was given."""
    if not told.startswith(HASHED):
        return _digest(told)
    try:
        digest = bytes.fromhex(told.removeprefix(HASHED))
    except ValueError:
        digest = b""
    if len(digest) != _DIGEST_BYTES:
        raise ValueError(
            f"after {HASHED} there must be {2 * _DIGEST_BYTES} hexadecimal digits (value not shown)"
        )
    return digest


def hash_of(key: str) -> str:
    """What belongs into the config file."""
    return HASHED + _digest(key).hex()


def drawn() -> str:
    """A new key."""
    return _DRAWN + secrets.token_urlsafe(32)


def _digest(key: str) -> bytes:
    # What came over the wire may hold anything.
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()

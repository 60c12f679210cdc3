"""Salts of caches: what one simulation computed is of no use to another, so that none can find out by the time of an answer
what the others' prompts begin with.

A salt follows from a secret and the simulation, so it survives restarts and is the same in all proxies that share the
secret. What a key says and what a request says of itself are kept apart: whoever only claims to be of a simulation never
meets the cache of those whose key says so.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from scalesim.proxy.core.model import SimulationId

from ..errors import ScaleSimError
from .keys import Key

SECRET_BYTES = 32


class BadSecret(ScaleSimError):
    """The file of the secret cannot be used; the text names it and says what to do, and never what is in it."""


class Salts:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, key: Key | None, told: SimulationId | None) -> str | None:
        """`told`: the simulation as the key, a header or the URL said it, None where nobody did; then there is no salt. Who
        calls is never guessed here."""
        if told is None:
            return None
        by_key = key is not None and key.simulation == told
        message = (b"key\0" if by_key else b"told\0") + told.encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()


def secret_in(path: Path) -> bytes:
    """Made if the file is not there. Raises `BadSecret`."""
    try:
        _make(path)
    except FileExistsError:
        pass
    except OSError as exc:
        raise BadSecret(f"salts_file: {path}: it cannot be made: {exc.strerror}") from exc
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            mode, told = os.fstat(fd).st_mode, file.read(2 * SECRET_BYTES + 2)
    except OSError as exc:
        raise BadSecret(f"salts_file: {path}: it cannot be read: {exc.strerror}") from exc
    if mode & 0o077:
        raise BadSecret(f"salts_file: {path}: others may read it; chmod 600 it, or give another file")
    try:
        secret = bytes.fromhex(told.decode("ascii"))
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise BadSecret(
            f"salts_file: {path}: it does not hold {2 * SECRET_BYTES} hexadecimal digits; give another file"
        )
    return secret


def _make(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(secrets.token_hex(SECRET_BYTES).encode() + b"\n")
        file.flush()
        os.fsync(fd)

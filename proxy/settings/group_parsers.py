"""Parsers of what says with whom a proxy shares what it knows."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_GROUP = re.compile(r"[A-Za-z0-9._-]{1,64}")


def redis_url(value: object) -> str:
    """May hold a password, and is never shown."""
    wrong = "it must be a URL like redis://HOST:6379/0, or rediss:// for TLS (value not shown)"
    if not isinstance(value, str) or not value.isprintable() or any(mark.isspace() for mark in value):
        raise ValueError(wrong)
    try:
        parts = urlsplit(value)
        _ = parts.port  # reading it checks it
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError(wrong)
    return value


def group_name(value: object) -> str:
    if not isinstance(value, str) or not _GROUP.fullmatch(value):
        raise ValueError(f"{value!r} is no name of a group: up to 64 letters, digits, '.', '_' and '-'")
    return value

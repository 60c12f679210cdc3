"""Parsers of where traces go, and of what they say."""

from __future__ import annotations

from urllib.parse import urlsplit

from scalesim.proxy.span import Agents

from .parsers import one_of


def collector(value: object) -> str:
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


def agents(value: object) -> Agents:
    return Agents(one_of(*Agents)(value))

"""Which headers go on to the engine, and which come back. Names are in lower case, as ASGI gives them."""

from __future__ import annotations

from ..errors import CallRefused

Headers = list[tuple[bytes, bytes]]

AGENT = b"x-agent-id"
ACTS_FOR = b"x-agent-acts-for"
SIMULATION = b"x-simulation-id"
SESSION = b"x-session-id"

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

_NOT_FOR_THE_ENGINE = _HOP_BY_HOP | {
    AGENT,
    ACTS_FOR,
    SIMULATION,
    b"host",  # the engine's own
    b"content-length",  # counted anew: the body may have grown
    b"expect",  # was answered when the body was read
    b"x-admin-key",  # sent to the wrong door
}
_CROSS_ORIGIN = b"access-control-"
"""Engines allow every page in the world to use them. Through us none may."""


def to_engine(headers: Headers) -> Headers:
    """What remains of the client's headers, in their order."""
    named = _named_in_connection(headers)
    return [(name, value) for name, value in headers if name not in _NOT_FOR_THE_ENGINE and name not in named]


def to_client(headers: Headers) -> Headers:
    """What remains of the engine's headers, in their order; its names may be in any case."""
    lowered = [(name.lower(), value) for name, value in headers]
    named = _named_in_connection(lowered)
    return [
        (name, value)
        for name, value in lowered
        if name not in _HOP_BY_HOP and name not in named and not name.startswith(_CROSS_ORIGIN)
    ]


def bearer_of(value: bytes) -> str:
    """The key in an Authorization header, as clients of OpenAI's API send it. Empty if there is none."""
    scheme, _, key = text_of(value).partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def single(headers: Headers, name: bytes) -> str | None:
    """The stripped value, None if it is missing or empty. Raises `CallRefused` if it is given twice and differs."""
    found: str | None = None
    for key, value in headers:
        if key != name:
            continue
        text = text_of(value).strip()
        if found is not None and text != found:
            raise CallRefused(f"{title(name)} is given twice, as {shown(found)} and as {shown(text)}")
        found = text
    return found or None


def text_of(value: bytes) -> str:
    """UTF-8 where it is, else Latin-1: clients send names in either."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def title(name: bytes) -> str:
    """The header's name as a person writes it."""
    return "-".join("ID" if word == "id" else word.capitalize() for word in name.decode("ascii").split("-"))


def shown(value: str) -> str:
    """A value for a message: quoted, control characters escaped, cut where it is absurdly long."""
    return repr(value if len(value) <= 64 else value[:61] + "...")


def _named_in_connection(headers: Headers) -> frozenset[bytes]:
    values = [value for name, value in headers if name == b"connection"]
    if not values:
        return frozenset()
    return frozenset(token.strip().lower() for value in values for token in value.split(b","))

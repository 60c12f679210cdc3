"""Where an engine is, and the head of a request to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from ..headers import Headers

_DEFAULT_PORTS = {"http": 80, "https": 443}
_WITH_A_BODY = frozenset({"POST", "PUT", "PATCH"})
"""Of these the length is told even where there is none."""


@dataclass(frozen=True, slots=True)
class Origin:
    host: str
    port: int
    is_secure: bool
    name: str
    """As it stands in the header Host."""
    path: str
    """Comes before that of each request."""

    @classmethod
    def of(cls, base_url: str) -> Self:
        """Raises `ValueError` for what is no URL of an engine."""
        parts = urlsplit(base_url)
        default = _DEFAULT_PORTS.get(parts.scheme)
        if default is None or not parts.hostname or "@" in parts.netloc:
            raise ValueError(f"{base_url!r} is not the URL of an engine, like http://127.0.0.1:30000")
        port = parts.port or default
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        name = host if port == default else f"{host}:{port}"
        return cls(parts.hostname, port, parts.scheme == "https", name, parts.path.rstrip("/"))

    def head(self, method: str, target: str, headers: Headers, body_bytes: int) -> bytes:
        """Of a request: the given headers as they are, and none besides the host and the length of the body.

        Raises `ValueError` for a line break within: what follows would be another header, or another request.
        """
        lines = [f"{method} {self.path}{target} HTTP/1.1\r\nHost: {self.name}\r\n".encode("ascii")]
        lines += [b"%b: %b\r\n" % header for header in headers]
        if body_bytes or method in _WITH_A_BODY:
            lines.append(b"Content-Length: %d\r\n\r\n" % body_bytes)
            own = 4
        else:
            lines.append(b"\r\n")
            own = 3
        head = b"".join(lines)
        if head.count(b"\n") != len(headers) + own or head.count(b"\r") != len(headers) + own:
            raise ValueError("a line break in the method, the target or a header of a request")
        return head

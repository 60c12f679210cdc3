"""A listener's certificate: read at the start, and again when it was renewed."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from ..errors import ScaleSimError


class BadCertificate(ScaleSimError):
    """The files cannot be used; the text names the setting and the file, and says what is wrong."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM. `setting` is the beginning of the two settings' names: `tls` or `admin_tls`."""

    setting: str
    cert: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 and later, HTTP/1.1. Raises `BadCertificate`."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        self.load_into(context)
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        """For connections from now on. Raises `BadCertificate`; what was there before then stays."""
        for name, path in (("cert", self.cert), ("key", self.key)):
            try:
                text = path.read_bytes()
            except OSError as exc:
                raise BadCertificate(f"{self.setting}_{name}: {path} cannot be read: {exc.strerror}") from exc
            if b"-----BEGIN " not in text:
                raise BadCertificate(f"{self.setting}_{name}: {path} is not in PEM")
        # Into a context of its own first: a key that does not belong to its certificate would replace half of what is there.
        for into in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
            try:
                # OpenSSL would ask for a key's password at the terminal.
                into.load_cert_chain(self.cert, self.key, password=_no_password)
            except (ssl.SSLError, OSError) as exc:
                reason = getattr(exc, "reason", None) or str(exc)
                raise BadCertificate(
                    f"{self.setting}_cert, {self.setting}_key: {self.cert} and {self.key} do not go together, or one "
                    f"is no certificate, or the key has a password: {reason}"
                ) from exc


class Certificates:
    """Those of both listeners, None for one without TLS. Raises `BadCertificate`."""

    def __init__(self, data: Certificate | None, admin: Certificate | None) -> None:
        self._loaded = [(one, one.context()) for one in (data, admin) if one is not None]
        contexts = dict(self._loaded)
        self.data = None if data is None else contexts[data]
        self.admin = None if admin is None else contexts[admin]

    def __len__(self) -> int:
        return len(self._loaded)

    def renew(self) -> list[str]:
        """For connections from now on. Returns what is wrong with those that stay as they were."""
        problems = []
        for certificate, context in self._loaded:
            try:
                certificate.load_into(context)
            except BadCertificate as exc:
                problems.append(str(exc))
        return problems


def _no_password() -> str:
    return ""

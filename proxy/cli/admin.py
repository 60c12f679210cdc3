"""How commands talk to a running proxy: by its admin REST."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import quote

import httpx
import typer

from ..access.keys import HASHED
from ..settings import PREFIX
from .configured import settings_of
from .ending import PROBLEM, UNREACHABLE, USAGE, CommandFailed, fail

ANSWER_S = 5.0
"""For a proxy to answer: unlike an engine it is never busy."""

Url = Annotated[
    str | None,
    typer.Option(
        "--admin",
        help="URL of the proxy's admin listener [as configured].",
        metavar="URL",
        envvar=PREFIX + "ADMIN",
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        help="File whose first line is an admin key, in place of SCALESIM_ADMIN_KEYS.",
        metavar="FILE",
        envvar=PREFIX + "ADMIN_KEY_FILE",
    ),
]
Answered = Annotated[bool, typer.Option("--json", help="Print what the proxy answered.")]


class Admin:
    """A proxy's admin listener. Every question raises `CommandFailed` where there is no good answer."""

    def __init__(self, url: str, key: str | None, trusted: ssl.SSLContext, *, answers_json: bool) -> None:
        """`answers_json`: a refusal is also printed as it came."""
        self.url = url.rstrip("/")
        self._headers = {} if key is None else {"x-admin-key": key}
        self._trusted = trusted
        self._answers_json = answers_json

    def get(self, *path: str, **query: object) -> dict[str, Any]:
        return self.ask("GET", *path, query=query)

    def ask(
        self,
        method: str,
        *path: str,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        """`path`: what comes after `/admin/v1`, part by part. `query`: what is None is not asked. An answer without a body is empty."""
        target = f"{self.url}/admin/v1/" + "/".join(quote(part, safe="") for part in path)
        asked: dict[str, Any] = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            answer = httpx.request(
                method,
                target,
                params=asked,
                json=body,
                headers=self._headers,
                timeout=ANSWER_S,
                trust_env=False,
                verify=self._trusted,
            )
        except httpx.InvalidURL as exc:
            fail(f"--admin: {self.url!r} is not a URL: {exc}", USAGE)
        except httpx.UnsupportedProtocol:
            fail(f"--admin: {self.url!r} is not a URL like http://127.0.0.1:8001", USAGE)
        except httpx.HTTPError as exc:
            fail(
                f"no proxy answers at {self.url}: {exc or type(exc).__name__}; start one (scalesim serve), or say where it is (--admin)",
                UNREACHABLE,
            )
        return self._read(answer)

    def _read(self, answer: httpx.Response) -> dict[str, Any]:
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            fail(f"the proxy at {self.url} wants another key: give --key-file, or set {PREFIX}ADMIN_KEYS")
        if answer.status_code == httpx.codes.NO_CONTENT:
            return {}
        try:
            told = answer.json()
        except ValueError:
            self._is_no_proxy(answer)
        if not isinstance(told, dict):
            self._is_no_proxy(answer)
        if answer.is_error:
            if not isinstance(told.get("detail"), str):
                self._is_no_proxy(answer)
            raise CommandFailed(
                f"the proxy refused it ({answer.status_code}): {told['detail']}",
                PROBLEM,
                told if self._answers_json else None,
            )
        return told

    def _is_no_proxy(self, answer: httpx.Response) -> NoReturn:
        fail(
            f"what answers at {self.url} is not the admin listener of a proxy (status {answer.status_code}): say where that is (--admin)",
            UNREACHABLE,
        )


def admin_of(url: str | None, key_file: Path | None, config: str | None, *, answers_json: bool) -> Admin:
    """As told on the command line, in the environment and in the config file."""
    settings = settings_of({"config": config}, needed=())
    host = f"[{settings.admin_host}]" if ":" in settings.admin_host else settings.admin_host
    scheme = "http" if settings.admin_tls_cert is None else "https"
    trusted = ssl.create_default_context()
    try:
        if settings.admin_tls_cert is not None:  # it may be its own issuer
            trusted.load_verify_locations(settings.admin_tls_cert)
    except (ssl.SSLError, OSError) as exc:
        fail(f"admin_tls_cert: {settings.admin_tls_cert} cannot be used: {exc}", USAGE)
    return Admin(
        url or f"{scheme}://{host}:{settings.admin_port}",
        _key_in(key_file) if key_file is not None else _plain_key(settings.admin_keys),
        trusted,
        answers_json=answers_json,
    )


def _plain_key(keys: tuple[str, ...]) -> str | None:
    plain = [key for key in keys if not key.startswith(HASHED)]
    if keys and not plain:
        fail(
            f"only the hashes of the admin keys are known: give --key-file, or set {PREFIX}ADMIN_KEYS to a key itself",
            USAGE,
        )
    return plain[0] if plain else None


def _key_in(path: Path) -> str:
    """What is in the file is never shown."""
    try:
        with path.open("rb") as file:
            line = file.readline(4096)
        key = line.decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        fail(
            f"--key-file: {path} cannot be read: {getattr(exc, 'strerror', None) or 'it is not text'}", USAGE
        )
    if not key or not key.isprintable() or key.startswith(HASHED):
        fail(f"--key-file: {path}: its first line is no key (a hash opens nothing)", USAGE)
    return key

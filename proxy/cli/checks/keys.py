"""Keys, certificates, and who may read them."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...access.key_file import BadKeyFile, Kind, StoredKey, read
from ...access.keys import HASHED
from ...access.tls import BadCertificate, Certificate
from ...settings import PREFIX, Settings, is_loopback
from ...toml_text import loads
from .finding import Finding, fault, ok, warning

SHORTEST = 24
"""Of a key, in characters: of a drawn one 43 are random."""
_DRAW = "draw others by `scalesim keys new`"


def findings(settings: Settings, environ: Mapping[str, str], config: str | None) -> list[Finding]:
    kept, listed = _kept(settings)
    clients = sum(key.kind is Kind.CLIENT for key in kept)
    operators = sum(key.kind is Kind.ADMIN for key in kept)
    return [
        *_of_admin(settings, operators),
        *_of_clients(settings, clients, environ, config),
        *_of_network(settings, clients, operators),
        *_of_file(config),
        *listed,
        *_of_certificates(settings),
    ]


def _kept(settings: Settings) -> tuple[tuple[StoredKey, ...], list[Finding]]:
    """In the file of keys."""
    if settings.keys_file is None:
        return (), []
    try:
        return read(Path(settings.keys_file)), []
    except BadKeyFile as exc:
        return (), [fault("keys file", str(exc), "mend it, or give another file")]


def _of_admin(settings: Settings, kept: int) -> list[Finding]:
    about, keys = "admin keys", settings.admin_keys
    if not keys and kept:
        return [ok(about, f"{kept} in the file of keys")]
    if not keys:
        return [ok(about, "none: everybody on this machine may ask, and nobody else")]
    hashed = sum(key.startswith(HASHED) for key in keys)
    listed = [ok(about, f"{len(keys) + kept}, {hashed + kept} of them as hashes")]
    if any(len(key) < SHORTEST for key in keys):
        listed.append(warning(about, f"one has fewer than {SHORTEST} characters, and can be guessed", _DRAW))
    return listed


def _of_clients(
    settings: Settings, kept: int, environ: Mapping[str, str], config: str | None
) -> list[Finding]:
    about = "client keys"
    listed = []
    if settings.client_keys or kept:
        listed.append(ok(about, f"{len(settings.client_keys) + kept}: nobody else is served"))
        plain = [*_plain_in_environment(environ), *_plain_in_file(config)]
        if any(len(key) < SHORTEST for key in plain):
            listed.append(
                warning(about, f"one has fewer than {SHORTEST} characters, and can be guessed", _DRAW)
            )
    elif is_loopback(settings.host):
        listed.append(ok(about, "none: everybody on this machine is served, and nobody else"))
    else:
        listed.append(
            warning(
                about,
                f"none: whoever reaches {settings.host}, port {settings.port}, is served",
                "set client_keys, or let nobody else reach it",
            )
        )
    return listed


def _of_network(settings: Settings, clients: int, operators: int) -> list[Finding]:
    exposed = [
        name
        for name, host, keys, cert in (
            ("tls_cert", settings.host, settings.client_keys or clients, settings.tls_cert),
            (
                "admin_tls_cert",
                settings.admin_host,
                settings.admin_keys or operators,
                settings.admin_tls_cert,
            ),
        )
        if keys and cert is None and not is_loopback(host)
    ]
    if not exposed:
        return []
    todo = f"set {' and '.join(exposed)}, unless something in front of the proxy has TLS"
    return [warning("keys", "they go over the network without TLS", todo)]


def _plain_in_environment(environ: Mapping[str, str]) -> Iterator[str]:
    for part in environ.get(PREFIX + "CLIENT_KEYS", "").split(","):
        key = part.partition("=")[2].strip()
        if key and not key.startswith(HASHED):
            yield key


def _plain_in_file(config: str | None) -> Iterator[str]:
    """The settings were read from it before, so it is as it should be."""
    if config is None:
        return
    keys = loads(Path(config).read_text(encoding="utf-8")).get("client_keys", {})
    for one in keys.values():
        key = one["key"] if isinstance(one, dict) else one
        if not key.startswith(HASHED):
            yield key


def _of_file(config: str | None) -> list[Finding]:
    about = "config file"
    if config is None:
        return [ok(about, "none: settings are from the command line and the environment")]
    path = Path(config)
    told = loads(path.read_text(encoding="utf-8"))
    listed = [ok(about, f"{config}: {len(told)} settings")]
    mode = path.stat().st_mode
    if mode & stat.S_IWOTH:
        listed.append(fault(about, f"everybody on this machine may change {config}", f"chmod o-w {config}"))
    named = sorted(told.keys() & {"admin_keys", "redis_password", "engine_api_key"})
    if mode & stat.S_IROTH and (any(_plain_in_file(config)) or _has_plain(told, named)):
        listed.append(
            warning(
                about,
                f"everybody on this machine may read {config}, and keys stand in it",
                f"chmod 600 {config}, and give hashes of keys (scalesim keys hash)",
            )
        )
    return listed


def _has_plain(told: Mapping[str, object], named: list[str]) -> bool:
    for name in named:
        values = told[name] if isinstance(told[name], list) else str(told[name]).split(",")
        if any(not str(value).strip().startswith(HASHED) for value in values):  # type: ignore[attr-defined]
            return True
    return False


def _of_certificates(settings: Settings) -> list[Finding]:
    listed = []
    for setting, cert, key in (
        ("tls", settings.tls_cert, settings.tls_key),
        ("admin_tls", settings.admin_tls_cert, settings.admin_tls_key),
    ):
        if cert is None or key is None:
            continue
        try:
            Certificate(setting, Path(cert), Path(key)).context()
        except BadCertificate as exc:
            listed.append(fault(f"{setting}_cert", str(exc), "give files that go together"))
        else:
            listed.append(ok(f"{setting}_cert", f"{cert} can be used"))
    return listed
